"""Longer outputs: what a data set holds, what a training gave, how well it ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from neucf.cli import display
from neucf.data.dataset import Dataset
from neucf.data.joining import ticks_per_second
from neucf.evaluation.titles import metric_title, protocol_title
from neucf.fitting import Fitted
from neucf.models import MODELS
from neucf.models.config import tunables

if TYPE_CHECKING:
    from neucf.data.catalog import Entry
    from neucf.data.vocabulary import IntArray
    from neucf.evaluation.protocols import Evaluation
    from neucf.models.base import Model


# What a training is summed up by; `neucf evaluate` shows everything.
SUMMARISED = ("ndcg@", "recall@", "hit@")


def _dataset_line(dataset: Dataset) -> str:
    """Returns what was read, and what was dropped, in one line."""
    data, report = dataset.interactions, dataset.report
    dropped = {
        "merged duplicates": report.duplicates,
        "below the threshold": report.below_threshold,
        "below the k-core": report.below_k_core,
    }
    parts = [f"{count:,} {what}" for what, count in dropped.items() if count]
    rest = f" ({', '.join(parts)})" if parts else ""
    joined = f", {report.events:,} of them events" if report.events else ""
    unknown = f"; {report.events_unknown:,} events of unknown items left out" if report.events_unknown else ""
    return (
        f"{dataset.name}: {len(data):,} positives of {report.rows:,} rows{joined}{rest}{unknown}; "
        f"{data.num_users:,} users, {data.num_items:,} items"
    )


def reading_notes(dataset: Dataset, models: Iterable[str]) -> None:
    """Says on standard error what was read, and which of the models make nothing of its weights."""
    display.note(_dataset_line(dataset))
    if dataset.interactions.weights is None:
        return
    using = ", ".join(name for name, cls in MODELS.items() if cls.uses_weights)
    for model in dict.fromkeys(models):
        if not MODELS[model].uses_weights:
            display.note(f"{model} takes all positives alike: their weights play no part. They do in {using}.")


def plots(draw: Callable[[], list[Path]]) -> list[Path]:
    """Draws and returns the paths; says so where what it needs is not installed."""
    try:
        return draw()
    except ImportError:
        display.note("No plots were drawn: they need matplotlib. Install it by pip install 'neucf[plots]'.")
        return []


def catalogue(folders: Mapping[Entry, Path | None]) -> None:
    """Prints the named data sets and where each is."""
    made = display.table("name", "what", "where")
    for entry, folder in folders.items():
        absent = "local only: see `neucf data get`" if entry.local_only else "to be downloaded at first use"
        made.add_row(entry.name, escape(entry.about), escape(str(folder or absent)))
    display.show("Named data sets", made)


def dataset_summary(dataset: Dataset) -> None:
    """Prints what a data set holds."""
    data, report = dataset.interactions, dataset.report
    users, items = data.user_counts(), data.item_counts()
    threshold = dataset.settings.get("min_rating")
    rows = {
        "rows read": f"{report.rows:,}",
        "positives": f"{len(data):,}" + ("" if threshold is None else f" (rated {threshold:.15g} or more)"),
        "below the threshold": f"{report.below_threshold:,}",
        "merged duplicates": f"{report.duplicates:,}",
        "below the k-core": f"{report.below_k_core:,}",
        "users": f"{data.num_users:,}, {np.count_nonzero(users == 0):,} without a positive",
        "items": f"{data.num_items:,}, {np.count_nonzero(items == 0):,} without a positive",
        "filled": f"{len(data) / max(1, data.num_users * data.num_items):.2%} of all pairs",
    }
    if len(data):
        rows["positives a user"] = f"median {np.median(users):g}, at most {users.max():,}"
        rows["positives an item"] = f"median {np.median(items):g}, at most {items.max():,}"
    if data.timestamps is not None and len(data):
        rows["times"] = _span(data.timestamps)
    titles = None if dataset.items is None else dataset.items["title"]
    rows["titles"] = "no" if titles is None else f"of {titles.count():,} items"
    columns = {role: dataset.settings.get(f"{role}_col") for role in ("user", "item", "rating", "time", "weight")}
    rows["columns"] = ", ".join(f"{role} {name}" for role, name in columns.items() if name)
    if dataset.fixed is not None:
        rows["published split"] = "yes (--split fixed)"
    dropped = report.negatives_positive + report.negatives_repeated
    if dropped:
        rows["candidates dropped"] = f"{dropped:,} (positives of their user, or repeats)"
    optional = ("below the threshold", "merged duplicates", "below the k-core")
    display.heading(dataset.name)
    display.pairs({name: text for name, text in rows.items() if text and (text != "0" or name not in optional)})


def _span(timestamps: IntArray) -> str:
    """Returns the first and the last day where numbers can be Unix times, else the numbers."""
    least, largest = int(timestamps.min()), int(timestamps.max())
    ticks = ticks_per_second(timestamps)
    if least < 10**8 * ticks:
        return f"{least:,} to {largest:,}"
    first, last = (np.datetime64(time // ticks, "s").astype("datetime64[D]") for time in (least, largest))
    return f"{first} to {last}"


def training_summary(fitted: Fitted, run: Path) -> None:
    """Prints validation metrics, what was chosen, and what to do next."""
    model, split, fits = fitted.model, fitted.split, fitted.manifest["fits"]
    valid = fitted.manifest["metrics"]["valid"]
    if valid is not None:
        title = f"{model.name}: {protocol_title(valid['protocol'], valid['on'], valid['ties'])}"
        made = display.table("metric", "mean", "95 % interval", right=("mean", "95 % interval"))
        for key, value in valid["metrics"].items():
            if not key.startswith(SUMMARISED):
                continue
            made.add_row(metric_title(key), f"{value['mean']:.4f}", _interval(*value["ci95"]))
        display.show(title, made)
    sizes = [
        f"{len(part):,} {name}" for name in ("train", "valid", "test") if (part := getattr(split, name)) is not None
    ]
    rows = {"split": f"{fitted.manifest['split']}, seed {fitted.manifest['split_seed']}: {', '.join(sizes)}"}
    if fits[0]["epochs"]:
        rows["epoch kept"] = str(fits[0]["epochs"][0])
    rows["training"] = ", then ".join(
        f"{fit['seconds']:.1f} s on {fit['rows']:,} rows ({fit['engine']})" for fit in fits
    )
    rows["run folder"] = str(run)
    display.pairs(rows)
    for line in split.notes:
        display.say(line)
    steps = [f"neucf recommend {display.shown(run)} --user {display.quoted(next(iter(split.train.user_ids), ''))}"]
    if split.test is not None:
        steps.insert(0, f"neucf evaluate {display.shown(run)}")
    display.next_steps(steps)


def evaluation_table(evaluation: Evaluation, model: str, split: str, seed: int) -> None:
    """Prints each metric's mean over users and its 95 % interval, and the means over warm users and warm items."""
    columns = ("all users", "95 % interval", "warm users", "warm items")
    what = protocol_title(evaluation.protocol, evaluation.on, evaluation.ties)
    made = display.table("metric", *columns, right=columns)
    for key in evaluation.values:
        warm = (f"{evaluation.mean(key, among):.4f}" for among in ("warm_users", "warm_items"))
        made.add_row(
            metric_title(key),
            f"{evaluation.mean(key):.4f}",
            _interval(*evaluation.interval(key, seed)),
            *warm,
        )
    display.show(f"{model}: {what} ({split})", made)
    lines = [
        f"Means over the {evaluation.num_users:,} users with something relevant in the part. Nothing was known of "
        f"{evaluation.num_cold_users:,} of them, and {evaluation.num_cold_items:,} relevant items were new to training "
        f"({evaluation.num_cold_relevant:,} of {evaluation.num_relevant:,} pairs); the warm columns leave these out."
    ]
    if evaluation.num_dropped:
        lines.append(f"{evaluation.num_dropped:,} candidates were dropped: own positives, repeats and padding.")
    for line in lines:
        display.console().print(line, markup=False)


def results_table(results: Mapping[str, tuple[Evaluation, float]], keys: Sequence[str]) -> None:
    """Prints models judged alike beside each other: metrics with 95 % intervals, and seconds of training."""
    first, _ = next(iter(results.values()))
    title = f"Results: {protocol_title(first.protocol, first.on, first.ties)}"
    columns = [column for key in keys for column in (metric_title(key), "95 % interval")]
    made = display.table("model", *columns, "training", right=(*columns, "training"))
    for name, (evaluation, seconds) in results.items():
        cells = []
        for key in keys:
            low, high = evaluation.interval(key)
            cells += [f"{evaluation.mean(key):.4f}", f"{low:.3f} to {high:.3f}"]
        made.add_row(escape(name), *cells, f"{seconds:.1f} s")
    display.show(title, made)


def model_names(classes: Mapping[str, type[Model]]) -> None:
    """Prints registry names with what each is."""
    made = display.table("name", "what")
    for name, cls in classes.items():
        made.add_row(name, escape((cls.__doc__ or "").strip().split("\n")[0]))
    display.show("Models", made)


def model_settings(cls: type[Model]) -> None:
    """Prints the settings of a model, from its config class."""
    properties: dict[str, dict[str, Any]] = cls.config_class.model_json_schema()["properties"]
    if not properties:
        display.say(f"{cls.name} has no settings.")
        return
    looked_for = tunables(cls.config_class)
    made = display.table("key", "default", "takes", "tuned over", "what")
    for key, schema in properties.items():
        tuned = str(looked_for.get(key, ""))
        what = schema.get("description", "")
        made.add_row(key, escape(str(schema["default"])), _takes(schema), escape(tuned), escape(what))
    display.show(f"Settings of {cls.name}, for --set key=value", made)


def _takes(schema: Mapping[str, Any]) -> str:
    """Returns the values a setting takes, from its JSON schema."""
    if "enum" in schema:
        return ", ".join(schema["enum"])
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[bound]:g}" for bound, sign in bounds.items() if bound in schema]
    return " ".join([str(schema.get("type", "")), ", ".join(limits)]).strip()


def _interval(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}"
