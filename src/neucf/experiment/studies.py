"""Study: the trials of one model's settings, in an SQLite file that any number of sittings may add to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neucf.models.config import Config, Tunable, as_typed

if TYPE_CHECKING:
    import optuna

# A trial reports at each tenth of its epochs, so that trials of unlike length meet.
STEPS = 10
# Importances of fewer trials say nothing, and are about what tells this share of them from the rest.
FEWEST, BEST_SHARE = 10, 0.25
# How the reason of a trial begins that the budget's minutes cut.
TIME_UP = "Time was up"


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of settings, tried.

    Attributes:
        number: From 0, the defaults.
        state: `complete`, `pruned` before its end, or `failed`.
        settings: Those that were looked for.
        value: The metric on validation; None unless complete.
        epochs: The epochs kept; empty for models without epochs.
        seconds: Of training and validation.
        reason: Why it did not complete.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    settings: dict[str, Any]
    value: float | None
    epochs: list[int]
    seconds: float
    reason: str | None

    @property
    def cut(self) -> bool:
        """Whether it ended because time was up, and would have gone on with more."""
        return _is_cut(self.reason)

    def to_json(self) -> dict[str, Any]:
        """Returns the entry that `neucf tune --json` prints."""
        return asdict(self)


class Study:
    """Gives settings to try, and keeps what came of them. Made by `open_study`."""

    def __init__(self, study: optuna.Study, config: Config, space: Mapping[str, Tunable], seed: int) -> None:
        self._study, self._config, self._space, self._seed = study, config, space, seed

    @property
    def trials(self) -> list[Trial]:
        """The trials that ended, in order; an interrupted one did not, and is drawn again.

        Nor did one that time cut, once another was begun after it: a larger budget then tried it again.
        """
        every = self._study.get_trials(deepcopy=False)
        ended = [
            trial
            for trial in every
            if _ended(trial) and (trial is every[-1] or not _is_cut(trial.user_attrs.get("reason")))
        ]
        return [_read(number, trial) for number, trial in enumerate(ended)]

    def ask(self, number: int) -> tuple[optuna.Trial, dict[str, Any]]:
        """Returns a trial and its settings: first the defaults, then what TPE draws from the trials before.

        Drawn by the seed and the number of the trial, so that a study gives the same whatever interrupts it.
        """
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        seed = np.random.SeedSequence([self._seed, number]).generate_state(1)[0]
        self._study.sampler = TPESampler(seed=int(seed))
        if number == 0 and not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.enqueue_trial({name: as_typed(getattr(self._config, name)) for name in self._space})
        trial = self._study.ask()
        settings: dict[str, Any] = {}
        for name, tunable in self._space.items():
            if tunable.matters(self._config, settings):
                settings[name] = _drawn(trial, name, tunable)
        return trial, settings

    def tell(
        self,
        trial: optuna.Trial,
        seconds: float,
        value: float | None = None,
        *,
        reason: str | None = None,
        pruned: bool = False,
        **more: Any,
    ) -> None:
        """Keeps how a trial ended: with a value, or the reason why it was pruned or failed; `more` is kept with it."""
        from optuna.trial import TrialState

        for name, kept in {"seconds": seconds, "reason": reason, **more}.items():
            trial.set_user_attr(name, kept)
        state = None if value is not None else TrialState.PRUNED if pruned else TrialState.FAIL
        self._study.tell(trial, value, state)

    def importances(self) -> dict[str, float]:
        """Returns how much each setting told the best quarter of the trials from the rest; nothing for few trials.

        By PED-ANOVA (Watanabe, Bansal and Hutter 2023); they sum to 1.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        values = {trial.value for trial in self.trials if trial.state == "complete"}
        if len(values) < FEWEST:
            return {}
        evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
        return dict(get_param_importances(self._study, evaluator=evaluator))


def _drawn(trial: optuna.Trial, name: str, tunable: Tunable) -> Any:
    if tunable.choices:
        return trial.suggest_categorical(name, [as_typed(choice) for choice in tunable.choices])
    low, high = tunable.low, tunable.high
    assert low is not None
    assert high is not None
    if isinstance(low, int):
        return trial.suggest_int(name, low, int(high), log=tunable.log)
    return trial.suggest_float(name, low, high, log=tunable.log)


def _ended(trial: optuna.trial.FrozenTrial) -> bool:
    """Returns whether a trial ended by itself: one that was interrupted failed without a reason."""
    return trial.state.is_finished() and (trial.state.name != "FAIL" or trial.user_attrs.get("reason") is not None)


def _is_cut(reason: str | None) -> bool:
    return reason is not None and reason.startswith(TIME_UP)


def _read(number: int, trial: optuna.trial.FrozenTrial) -> Trial:
    kept = trial.user_attrs
    state: Any = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
    if _is_cut(kept.get("reason")):
        state = "pruned"
    return Trial(
        number=number,
        state=state,
        settings=dict(trial.params),
        value=trial.value if state == "complete" else None,
        epochs=kept.get("epochs", []),
        seconds=kept["seconds"],
        reason=kept.get("reason"),
    )
