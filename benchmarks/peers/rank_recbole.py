"""RecBole's full-ranking evaluation by given factors, in its environment: `python -m peers.rank_recbole FOLDER`."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from recbole.config import Config  # type: ignore[import-not-found]
from recbole.data import create_dataset, data_preparation  # type: ignore[import-not-found]
from recbole.trainer import Trainer  # type: ignore[import-not-found]
from recbole.utils import get_model  # type: ignore[import-not-found]

from peers.ranking import arrays, done, folder, settings, threads, timed

warnings.simplefilter("ignore")
torch.set_num_threads(threads)
(folder / "data").mkdir()
for part in ("train", "valid", "test"):
    rows = "".join(f"{user}\t{item}\n" for user, item in arrays[part].tolist())
    (folder / "data" / f"data.{part}.inter").write_text("user_id:token\titem_id:token\n" + rows)
config = Config(
    model="BPR",
    dataset="data",
    config_dict={
        "data_path": str(folder),
        "checkpoint_dir": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "use_gpu": False,
        "state": "ERROR",
        "embedding_size": arrays["users"].shape[1],
        "metrics": ["Recall", "NDCG"],
        "topk": [20],
        "valid_metric": "NDCG@20",
        "metric_decimal_place": 6,
        "eval_batch_size": settings["eval_batch_size"],
    },
)
data = create_dataset(config)
loader, valid, _ = data_preparation(config, data)
model = get_model("BPR")(config, loader.dataset)
with torch.no_grad():
    for field, table, side in (
        ("user_id", model.user_embedding, "users"),
        ("item_id", model.item_embedding, "items"),
    ):
        # Index 0 is padding.
        ours = data.id2token(field, np.arange(1, data.num(field))).astype(np.int64)
        table.weight[1:] = torch.from_numpy(arrays[side][ours])
trainer = Trainer(config, model)
found, seconds = timed(lambda: trainer.evaluate(valid, load_best_model=False), settings["times"])
done(seconds=seconds, metrics={name: float(value) for name, value in found.items()})
