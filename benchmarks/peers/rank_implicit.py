"""Top-20 of every user by implicit's `recommend`, in implicit's environment: `python -m peers.rank_implicit FOLDER`."""

from __future__ import annotations

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-not-found]
from scipy.sparse import csr_matrix

from peers.ranking import arrays, done, folder, num_items, num_users, settings, threads, timed

users, items = arrays["train"].T
train = csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=(num_users, num_items))
model = AlternatingLeastSquares(factors=arrays["users"].shape[1], num_threads=threads)
# Every matrix factorisation of implicit's ranks by these two.
model.user_factors, model.item_factors = arrays["users"], arrays["items"]
everyone = np.arange(num_users)
(found, _), seconds = timed(lambda: model.recommend(everyone, train, N=settings["k"]), settings["times"])
np.savez(folder / "lists.npz", items=found)
done(seconds=seconds)
