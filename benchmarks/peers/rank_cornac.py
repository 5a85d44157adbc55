"""Cornac's full-ranking evaluation by given factors, in Cornac's environment: `python -m peers.rank_cornac FOLDER`."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from cornac.data import Dataset  # type: ignore[import-not-found]
from cornac.eval_methods.base_method import ranking_eval  # type: ignore[import-not-found]
from cornac.metrics import NDCG, Recall  # type: ignore[import-not-found]
from cornac.models import BPR  # type: ignore[import-not-found]

from peers.ranking import arrays, done, num_items, num_users, settings, threads, timed


def dataset(part: str) -> Dataset:
    """Returns a part, with the whole catalogue in our order."""
    found = Dataset.build(
        [(user, item, 1.0) for user, item in arrays[part].tolist()],
        global_uid_map=OrderedDict((user, user) for user in range(num_users)),
        global_iid_map=OrderedDict((item, item) for item in range(num_items)),
    )
    # Cached at first use
    _ = found.csr_matrix
    return found


train, valid = dataset("train"), dataset("valid")
model = BPR(k=arrays["users"].shape[1], max_iter=1, num_threads=threads, verbose=False).fit(train)
model.u_factors, model.i_factors = arrays["users"], arrays["items"]
model.i_biases = np.zeros(num_items, np.float32)
metrics = [Recall(k=20), NDCG(k=20)]
(found, _), seconds = timed(lambda: ranking_eval(model, metrics, train, valid), settings["times"])
done(seconds=seconds, metrics={"recall@20": found[0], "ndcg@20": found[1]})
