"""`neucf quickstart`: from nothing to recommendations with titles, by one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neucf.cli import options

if TYPE_CHECKING:
    from neucf.data.dataset import Dataset

NAMED_SETS = ("ml-latest-small", "ml-100k")
SYNTHETIC = "synthetic data, made up"
SYNTHETIC_SIZE = {"num_users": 600, "num_items": 1_000, "num_interactions": 40_000}
MIN_RATING = 4.0
MODELS_SHOWN = ("popularity", "bpr-mf", "gmf", "mlp", "neumf")
METRICS = ("ndcg@20", "recall@20")
USER = "30"


def quickstart(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the run folders go.")] = Path("runs/quickstart"),
    threads: options.Threads = None,
) -> None:
    """Fetch a small data set, train models on it, compare them, and recommend to somebody."""
    from neucf.artifacts import open_run, writing
    from neucf.cli import display, reports
    from neucf.cli.progress import TrainingBar
    from neucf.data.splitting import split
    from neucf.evaluation import evaluate
    from neucf.fitting import fit_into
    from neucf.plan import DEFAULT_SPLIT, KS, Plan
    from neucf.serving import Service

    dataset, name = find_data()
    if name == SYNTHETIC:
        display.heading("SYNTHETIC DATA: no real data set could be reached, so all that follows is made up")
    reports.dataset_summary(dataset)

    parts = split(dataset, DEFAULT_SPLIT)
    results, valid_means = {}, {}
    for model in MODELS_SHOWN:
        plan = Plan(model, threads=threads)
        with writing(out / model, force=True) as partial, TrainingBar(model, plan.metric) as bar:
            fitted = fit_into(partial, plan, dataset, parts, watch=bar)
        evaluation = evaluate(fitted.model, parts, "test", "full", KS, threads=threads)
        results[model] = (evaluation, fitted.seconds)
        valid_means[model] = fitted.manifest["metrics"]["valid"]["metrics"][METRICS[0]]["mean"]
    reports.results_table(results, METRICS)

    best = max(valid_means, key=lambda model: valid_means[model])
    run = out / best
    service = Service(open_run(run))
    known = dataset.interactions.user_ids
    user = known.parse(USER) if USER in map(str, known) else known[0]
    display.history_table(f"user {user}", service.history(user, 5))
    display.suggestions_table(
        f"What {best} suggests to user {user}, being the best on validation",
        service.recommend([user], threads=threads)[0],
    )
    display.say("\n  ".join(["Run folders", *(display.shown(out / model) for model in MODELS_SHOWN)]))
    display.next_steps(
        [
            f"neucf recommend {display.shown(run)} --user {display.quoted(known[len(known) // 2])}",
            f"neucf evaluate {display.shown(run)} --on valid",
            "neucf train YOUR_FILE.csv --model bpr-mf --out runs/mine",
            "neucf models bpr-mf",
        ]
    )
    display.say(f"\nData used: {name}")


def find_data() -> tuple[Dataset, str]:
    """Returns the first data set that can be had, and its name."""
    from neucf.cli import display
    from neucf.cli.reading import read
    from neucf.data.synthetic import synthetic
    from neucf.errors import DownloadError

    for name in NAMED_SETS:
        try:
            return read(name, min_rating=MIN_RATING), name
        except DownloadError as error:
            display.note(str(error))
    return synthetic(**SYNTHETIC_SIZE, seed=0).dataset, SYNTHETIC
