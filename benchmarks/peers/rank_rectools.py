"""RecTools' evaluation or lists by given factors, in RecTools' environment: `python -m peers.rank_rectools FOLDER`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rectools import Columns  # type: ignore[import-not-found]
from rectools.dataset import Dataset, IdMap, Interactions  # type: ignore[import-not-found]
from rectools.metrics import NDCG, Recall, calc_metrics  # type: ignore[import-not-found]
from rectools.models import PureSVDModel  # type: ignore[import-not-found]
from rectools.models.rank import Distance, ImplicitRanker  # type: ignore[import-not-found]
from scipy.sparse import csr_matrix

from peers.ranking import arrays, done, folder, num_items, num_users, settings, threads, timed


def frame(part: str) -> pd.DataFrame:
    """Returns a part as the table that RecTools reads."""
    found = pd.DataFrame(arrays[part], columns=Columns.UserItem)
    return found.assign(**{Columns.Weight: 1.0, Columns.Datetime: "2000-01-01"})


k = settings["k"]


def evaluate() -> None:
    train, valid = frame("train"), frame("valid")
    # The whole catalogue, in our order.
    ids = [IdMap.from_values(np.arange(count)) for count in (num_users, num_items)]
    data = Dataset(*ids, Interactions.from_raw(train, *ids))
    # Every vector model of RecTools recommends alike; this one does so by its factors alone.
    model = PureSVDModel(factors=arrays["users"].shape[1], recommend_n_threads=threads)
    model.user_factors, model.item_factors, model.is_fitted = arrays["users"], arrays["items"], True
    # By default its nDCG divides by the gain of k relevant items for those too who have fewer.
    metrics = {f"recall@{k}": Recall(k=k), f"ndcg@{k}": NDCG(k=k, divide_by_achievable=True)}
    users = valid[Columns.User].unique()

    def once() -> dict[str, float]:
        lists = model.recommend(users, data, k=k, filter_viewed=True)
        return dict(calc_metrics(metrics, lists, valid))

    found, seconds = timed(once, settings["times"])
    done(seconds=seconds, metrics={name: float(value) for name, value in found.items()})


def recommend() -> None:
    users, items = arrays["train"].T
    train = csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=(num_users, num_items))
    ranker = ImplicitRanker(Distance.DOT, arrays["users"], arrays["items"], num_threads=threads)
    everyone = np.arange(num_users)
    (_, found, _), seconds = timed(lambda: ranker.rank(everyone, k, filter_pairs_csr=train), settings["times"])
    np.savez(folder / "lists.npz", items=np.reshape(found, (num_users, k)))
    done(seconds=seconds)


evaluate() if "valid" in arrays else recommend()
