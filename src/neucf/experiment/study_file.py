"""The SQLite file of a study: opened by one process, and refused to who asks for something else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neucf.artifacts import difference
from neucf.errors import ArtifactError, ConfigError
from neucf.experiment.runs import held
from neucf.experiment.studies import Study
from neucf.models.config import Config, Tunable

if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
# Trials that end before any is pruned, and the steps of a trial that pass before.
UNPRUNED, UNPRUNED_STEPS = 5, 3


@contextmanager
def open_study(
    folder: Path, asked: Mapping[str, Any], config: Config, space: Mapping[str, Tunable], seed: int
) -> Iterator[Study]:
    """Opens or begins the study of a folder, held against other processes.

    Args:
        folder: Exists.
        asked: JSON-able values by key that say what is tuned on what.
        config: The settings that stay, and the defaults of those looked for.
        space: Where to look.
        seed: Drives what is drawn.

    Raises:
        ConfigError: If the folder's study was asked for something else.
        ArtifactError: If another process holds it, or its file cannot be read.
    """
    require_optuna()
    import optuna
    from optuna.exceptions import StorageInternalError
    from optuna.pruners import MedianPruner
    from optuna.trial import TrialState
    from sqlalchemy.exc import SQLAlchemyError

    with held(folder), _quiet():
        storage = _storage(folder / STUDY)
        try:
            study = optuna.create_study(
                storage=storage,
                study_name="neucf",
                load_if_exists=True,
                direction="maximize",
                pruner=MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=UNPRUNED_STEPS),
            )
            _claim(study, folder, asked)
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
            yield Study(study, config, space, seed)
        except (SQLAlchemyError, StorageInternalError) as error:
            raise _unusable(folder / STUDY, error) from error
        finally:
            storage.remove_session()
            storage.engine.dispose()


@contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _storage(file: Path) -> optuna.storages.RDBStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import URL

    # SQLAlchemy escapes what would mean something in a URL.
    url = URL.create("sqlite", database=str(file.absolute())).render_as_string()
    try:
        return RDBStorage(url)
    except Exception as error:  # SQLAlchemy's, Alembic's, or Optuna's own about its version
        raise _unusable(file, error) from error


def _unusable(file: Path, error: Exception) -> ArtifactError:
    return ArtifactError(
        f"{file} must be a study of this neucf; it cannot be used ({str(error).splitlines()[0]}). "
        "Move it away, or choose another folder."
    )


def require_optuna() -> None:
    """Raises ConfigError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError(
            "Tuning needs Optuna, which is not installed. Install it: pip install 'neucf[tune]'."
        ) from None


def _claim(study: optuna.Study, folder: Path, asked: Mapping[str, Any]) -> None:
    wanted = json.loads(json.dumps(asked))
    found = study.user_attrs.get("asked")
    if found is None:
        study.set_user_attr("asked", wanted)
        return
    changed = difference(found, wanted)
    if changed:
        raise ConfigError(
            f"{folder} holds a study that was asked for something else: {changed}. "
            "Ask for the same again, or choose another folder."
        )
