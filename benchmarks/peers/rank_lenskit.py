"""LensKit's evaluation or lists by given factors, in LensKit's environment: `python -m peers.rank_lenskit FOLDER`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from lenskit.als import ImplicitMFScorer  # type: ignore[import-not-found]
from lenskit.batch import recommend  # type: ignore[import-not-found]
from lenskit.data import DatasetBuilder, ItemListCollection, UserIDKey  # type: ignore[import-not-found]
from lenskit.metrics import NDCG, LogRankWeight, Recall, RunAnalysis  # type: ignore[import-not-found]
from lenskit.parallel import initialize  # type: ignore[import-not-found]
from lenskit.pipeline import topn_pipeline  # type: ignore[import-not-found]
from lenskit.training import TrainingOptions  # type: ignore[import-not-found]


def main() -> None:
    # Not above: LensKit's worker processes import this file, and need none of the arrays.
    from peers.ranking import arrays, done, folder, num_items, num_users, settings, threads, timed

    def frame(part: str) -> pd.DataFrame:
        return pd.DataFrame(arrays[part], columns=["user_id", "item_id"])

    k = settings["k"]
    initialize(processes=settings["processes"], threads=threads)
    builder = DatasetBuilder()
    # The whole catalogue, in our order.
    builder.add_entities("user", np.arange(num_users))
    builder.add_entities("item", np.arange(num_items))
    builder.add_interactions("click", frame("train"), entities=["user", "item"])
    data = builder.build()
    # Otherwise it would compute everybody's vector anew from their history.
    scorer = ImplicitMFScorer(user_embeddings="prefer")
    scorer.users, scorer.items = data.users, data.items
    scorer.user_embeddings, scorer.item_embeddings = arrays["users"], arrays["items"]
    scorer.trained_epochs = 1
    pipeline = topn_pipeline(scorer, n=k)
    pipeline.train(data, TrainingOptions(retrain=False))
    if "valid" not in arrays:
        lists, seconds = timed(lambda: recommend(pipeline, range(num_users)), settings["times"])
        found = {key.user_id: items.ids() for key, items in lists.items()}
        np.savez(folder / "lists.npz", items=np.stack([found[user] for user in range(num_users)]))
        done(seconds=seconds)
        return
    valid = ItemListCollection.from_df(frame("valid"), UserIDKey)
    # By default its nDCG doesn't discount the second rank, and its Recall of `n` items divides by `n` at most; this
    # Recall takes the whole list, which has k.
    analysis = partial(RunAnalysis, NDCG(k, weight=LogRankWeight(offset=1)), Recall())

    def once() -> Any:
        return analysis().measure(recommend(pipeline, list(valid.keys())), valid).list_summary()["mean"]

    means, seconds = timed(once, settings["times"])
    done(seconds=seconds, metrics={f"recall@{k}": means["Recall"], f"ndcg@{k}": means[f"NDCG@{k}"]})


if __name__ == "__main__":
    main()
