"""`neucf tune`: a model's settings, looked for on validation; the best, trained and tested once."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neucf.cli import options

if TYPE_CHECKING:
    from neucf.experiment.studies import Trial
    from neucf.experiment.tuning import Tuned
    from neucf.plan import Plan

SHOWN = 10  # trials in the table


def tune(
    data: options.Data,
    model: options.Model,
    trials: Annotated[int | None, typer.Option(min=1, metavar="N", help="Try N sets of settings in all.")] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="Try for M minutes in all; together with --trials, until either.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The study's folder.", show_default="runs/, DATA, the model and -tune"),
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="METRIC", help="What to maximise on validation; chooses epochs too.")
    ] = "ndcg@20",
    protocol: Annotated[
        Literal["full", "sampled"], typer.Option(help="How the metric is taken, on validation and on test.")
    ] = "full",
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Judge the best run on the test part once tuning ends.")
    ] = True,
    settings: options.Settings = None,
    split: options.Split = "random:0.8/0.1/0.1",
    split_seed: options.SplitSeed = 1,
    valid: options.Valid = None,
    seed: options.Seed = 0,
    refit: options.Refit = None,
    min_rating: options.MinRating = None,
    k_core: options.KCore = None,
    items: options.Items = None,
    user_col: options.UserCol = None,
    item_col: options.ItemCol = None,
    rating_col: options.RatingCol = None,
    time_col: options.TimeCol = None,
    weight_col: options.WeightCol = None,
    weight: options.Weight = None,
    sep: options.Sep = None,
    format: options.Format = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Look for the settings of a model that are best on validation, and train it with them.

    Settings given by --set stay. The study is kept in DIR: the same command goes on where it was, and a larger budget
    adds to it. The best run is DIR/best, a run folder as `neucf train` writes it.
    """
    from neucf.artifacts.writer import write_json
    from neucf.cli import display, reports
    from neucf.cli.progress import TrainingBar, TuningBar
    from neucf.cli.reading import read, reading_of, reading_options
    from neucf.data.splitting import split as cut
    from neucf.experiment import tuning
    from neucf.experiment.budget import Budget
    from neucf.experiment.selection import choosing, ks_of
    from neucf.experiment.tuning_plots import draw
    from neucf.models.config import parse_settings
    from neucf.plan import Plan

    reading = reading_of(locals())
    budget = Budget(trials, minutes)
    ks = ks_of(metric, protocol)
    plan = Plan(
        model=model,
        settings={**choosing(model, metric, protocol), **parse_settings(settings or [])},
        split=split,
        split_seed=split_seed,
        valid=valid,
        seed=seed,
        device=device,
        threads=threads,
        refit=refit,
        protocol=protocol,
        ks=ks,
    )
    tuning.check(plan)
    folder = out or Path("runs") / f"{Path(data).stem}-{model}-tune"
    dataset = read(data, **reading)
    reports.reading_notes(dataset, [model])
    parts = cut(dataset, split, split_seed, valid=valid)
    try:
        with TuningBar(model, metric, budget) as bar:
            tuned = tuning.tune(plan, dataset, parts, folder, budget, metric, watcher=bar)
        best = tuning.train_best(plan, dataset, parts, folder, tuned, on_test=test, training=TrainingBar)
    except KeyboardInterrupt:
        display.note("Interrupted. The same command goes on from here.")
        raise
    times = tuning.times_on_test(folder)
    if test and times > 1:
        display.note(f"This study has met test {times} times: a budget chosen by what test said is chosen on test.")
    found = _document(tuned, best, folder / tuning.BEST)
    write_json(folder / "tune.json", found)
    files = [folder / "tune.json", *reports.plots(lambda: draw(tuned, model, folder))]
    if json:
        display.document(found)
    else:
        _show(tuned, best, plan)
        user = next(iter(parts.train.user_ids), "")
        display.next_steps(
            [
                f"neucf recommend {display.shown(folder / tuning.BEST)} --user {display.quoted(user)}",
                f"neucf train {reading_options(data, reading)} {_asked(plan, tuned)} --out RUN",
            ]
        )
        display.say(f"Written: {', '.join(display.shown(file) for file in files)}")


def _asked(plan: Plan, tuned: Tuned) -> str:
    """Returns the options of `neucf train` that give the best run again."""
    from neucf.models import MODELS
    from neucf.models.config import as_typed
    from neucf.plan import Plan

    usual, default = Plan(plan.model), MODELS[plan.model]().config.model_dump()
    wanted = {**plan.settings, **tuned.best.settings}
    changed = {name: as_typed(value) for name, value in wanted.items() if str(value) != str(default.get(name))}
    words = ["--model", plan.model]
    for name, value in changed.items():
        words += ["--set", f"{name}={value}"]
    for name in ("split", "split_seed", "valid", "seed", "device", "threads"):
        if getattr(plan, name) != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", str(getattr(plan, name))]
    if plan.refit is not None:
        words.append("--refit" if plan.refit else "--no-refit")
    return shlex.join(words)


def _document(tuned: Tuned, best: dict[str, Any], run: Path) -> dict[str, Any]:
    trial = tuned.best
    return {
        "best": {
            "trial": trial.number,
            "settings": trial.settings,
            "metric": tuned.metric,
            "value": trial.value,
            "valid_metrics": best["valid_metrics"],
            "metrics": best["metrics"],
        },
        "trials": [each.to_json() for each in tuned.trials],
        "run": str(run),
    }


def _show(tuned: Tuned, best: dict[str, Any], plan: Plan) -> None:
    """Prints the best trials, why others did not complete, what mattered, and how the best run did."""
    from rich.markup import escape

    from neucf.cli import display, reports
    from neucf.evaluation.titles import metric_title, protocol_title
    from neucf.experiment.selection import k_of

    complete = sorted((trial for trial in tuned.trials if trial.value is not None), key=lambda each: -(each.value or 0))
    value = f"{metric_title(tuned.metric)}\nvalidation"
    made = display.table("trial", value, "seconds", "settings", right=("trial", value, "seconds"))
    for trial in complete[:SHOWN]:
        name = f"{trial.number}{' (defaults)' if trial.number == 0 else ''}"
        made.add_row(name, f"{trial.value:.4f}", f"{trial.seconds:.1f}", escape(" ".join(_typed(trial))))
    states = [trial.state for trial in tuned.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    display.show(f"{plan.model}: the best of {len(states)} trials ({counts})", made)
    for trial in tuned.trials:
        if trial.state == "failed":
            display.say(f"Trial {trial.number} failed: {trial.reason} Settings: {' '.join(_typed(trial))}")
    if tuned.importances:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in tuned.importances.items())
        display.say(f"What mattered (PED-ANOVA): {shares}")
    k = k_of(tuned.metric)
    for part in ("valid_metrics", "metrics"):
        if best[part] is not None:
            means = "  ".join(
                f"{metric_title(name)} {best[part]['metrics'][name]['mean']:.4f}"
                for name in dict.fromkeys([tuned.metric, *best[part]["metrics"]])
                if name == tuned.metric or (name.startswith(reports.SUMMARISED) and name.endswith(f"@{k}"))
            )
            display.say(f"Best run, {protocol_title(plan.protocol, best[part]['on'], best[part]['ties'])}: {means}")


def _typed(trial: Trial) -> list[str]:
    """Returns a trial's settings as --set takes them, rates to three digits."""
    return [
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in trial.settings.items()
    ]
