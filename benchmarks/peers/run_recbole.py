"""Runs one fit of RecBole's NeuMF or BPR in RecBole's environment: `python -m peers.run_recbole FOLDER`."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from peers.exchange import Arrays, Job, open_job

job, started = open_job()

import torch  # noqa: E402

# RecBole predates torch's refusal to unpickle its own checkpoints.
_load = torch.load
torch.load = lambda *args, **named: _load(*args, **({"weights_only": False} | named))

from recbole.config import Config  # type: ignore[import-not-found]  # noqa: E402
from recbole.data import create_dataset, data_preparation  # type: ignore[import-not-found]  # noqa: E402
from recbole.trainer import Trainer  # type: ignore[import-not-found]  # noqa: E402
from recbole.utils import get_model, init_seed  # type: ignore[import-not-found]  # noqa: E402

job.beside("import", time.perf_counter() - started)
NAMES = {"neumf": "NeuMF", "bpr": "BPR"}
# Users scored at once when exporting.
BLOCK = 64


class TimedTrainer(Trainer):  # type: ignore[misc]
    """RecBole's trainer, which reports each epoch of training."""

    def __init__(self, config: Any, model: Any, job: Job, samples: int, tokens: tuple[Any, Any]) -> None:
        super().__init__(config, model)
        self.job, self.samples, self.tokens = job, samples, tokens

    def _train_epoch(self, *args: Any, **named: Any) -> Any:
        start = time.perf_counter()
        loss = super()._train_epoch(*args, **named)
        self.job.epoch(time.perf_counter() - start, self.samples, self.export)
        return loss

    @torch.no_grad()
    def export(self) -> Arrays:
        """Returns the scores (U, I) of all pairs; what RecBole was never told of scores below everything else."""
        self.model.eval()
        users, items = self.tokens
        scores = np.full((self.job.num_users, self.job.num_items), np.nan, np.float32)
        every = torch.arange(1, len(items) + 1)
        for first in range(0, len(users), BLOCK):
            block = torch.arange(first + 1, min(first + BLOCK, len(users)) + 1)
            found = self.model.predict(
                {"user_id": block.repeat_interleave(len(every)), "item_id": every.repeat(len(block))}
            )
            scores[users[first : first + BLOCK, None], items] = found.reshape(len(block), -1).numpy()
        return {"scores": np.where(np.isnan(scores), np.nanmin(scores) - 1, scores)}


def write_files(job: Job) -> None:
    """Writes the split as RecBole's own files; it learns from train alone, the rest completes its catalogue."""
    folder = job.folder / "data"
    folder.mkdir()
    for part, pairs in job.split.items():
        rows = "".join(f"{user}\t{item}\n" for user, item in pairs.tolist())
        (folder / f"data.{part}.inter").write_text("user_id:token\titem_id:token\n" + rows)


def prepare(job: Job) -> tuple[Any, Any, Any]:
    """Returns the config, RecBole's data set and its loader of the training part."""
    settings = {
        "data_path": str(job.folder),
        "checkpoint_dir": str(job.folder),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "use_gpu": False,
        "epochs": job.epochs,
        "seed": job.seed,
        "state": "ERROR",
        "show_progress": False,
    }
    config = Config(model=NAMES[job.model], dataset="data", config_dict=settings | job.settings)
    init_seed(config["seed"], config["reproducibility"])
    data = create_dataset(config)
    loader, _, _ = data_preparation(config, data)
    return config, data, loader


# Dozens of deprecations of what RecBole calls in torch and pandas.
warnings.simplefilter("ignore")
start = time.perf_counter()
write_files(job)
torch.set_num_threads(job.threads)
config, data, loader = prepare(job)
# Index 0 is padding.
tokens = tuple(data.id2token(field, np.arange(1, data.num(field))).astype(np.int64) for field in ("user_id", "item_id"))
model = get_model(config["model"])(config, loader.dataset)
negatives = config["train_neg_sample_args"]["sample_num"]
samples = len(job.split["train"]) * (1 + negatives if job.model == "neumf" else negatives)
trainer = TimedTrainer(config, model, job, samples, tokens)
job.beside("load", time.perf_counter() - start)
trainer.fit(loader, valid_data=None, verbose=False, saved=False)
job.done("recbole", "torch", "numpy")
