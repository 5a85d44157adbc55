"""RunMonitor: what a run folder keeps of a training while it goes on."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeAlias

from neucf.artifacts.checkpoint import load_checkpoint, save_checkpoint
from neucf.artifacts.folder import Partial, sync
from neucf.artifacts.log import json_lines
from neucf.artifacts.manifest import LOG
from neucf.artifacts.writer import finite
from neucf.recommender import EpochRecord

# Least seconds between two checkpoints, and how many times as long as one takes: large ones are rarer.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 10.0, 30

Watch: TypeAlias = Callable[[EpochRecord], None]


class RunMonitor:
    """Logs epochs and keeps checkpoints; a stage's checkpoint never serves another stage.

    Args:
        partial: The folder in the making.
        stage: What the log calls the fit.
        watch: Called after each epoch.

    Attributes:
        seconds_before: What earlier sittings took to come to the checkpoint that the fit goes on from.
    """

    def __init__(self, partial: Partial, stage: str, watch: Watch | None) -> None:
        self._partial, self._stage, self._watch = partial, stage, watch
        self._offered: Mapping[str, Any] | None = None
        self.seconds_before, self._start = 0.0, time.monotonic()
        self._due = self._start + CHECKPOINT_SECONDS
        self._log_checked = not partial.resumed

    def __enter__(self) -> Self:
        if self._partial.resumed:
            # Even where no epoch is left to run, what is published must be whole lines.
            self._drop_from(float("inf"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._offered is not None:
            # What stopped the training may be a full disk: its own error matters more.
            with contextlib.suppress(OSError):
                self._save(self._offered)

    def epoch(self, record: EpochRecord) -> None:
        """Writes a line of the log, and shows the epoch."""
        if not self._log_checked:
            self._drop_from(record.epoch)
            self._log_checked = True
        line = {"stage": self._stage, **{name: getattr(record, name) for name in record.__slots__}}
        with (self._partial.folder / LOG).open("a") as file:
            print(json.dumps(finite(line), allow_nan=False), file=file)
        if self._watch is not None:
            self._watch(record)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keeps a checkpoint now and then, and the last one offered if training stops."""
        seconds = self.seconds_before + time.monotonic() - self._start
        self._offered = {"stage": self._stage, "seconds": seconds, "state": state}
        if time.monotonic() > self._due:
            self._save(self._offered)

    def resume(self) -> Mapping[str, Any] | None:
        """Returns this stage's checkpoint in a resumed folder."""
        saved = load_checkpoint(self._partial.folder) if self._partial.resumed else None
        if saved is None or saved["stage"] != self._stage:
            return None
        self.seconds_before = saved.get("seconds", 0.0)
        state: Mapping[str, Any] = saved["state"]
        return state

    def _save(self, offered: Mapping[str, Any]) -> None:
        start = time.monotonic()
        save_checkpoint(self._partial.folder, offered)
        taken = time.monotonic() - start
        self._offered, self._due = None, start + taken + max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * taken)

    def _drop_from(self, epoch: float) -> None:
        """Drops the lines of epochs that are about to be run again, and what a crash cut."""
        log = self._partial.folder / LOG
        if not log.exists():
            return
        lines = json_lines(log.read_text(encoding="utf-8", errors="replace"))
        kept = [line for line in lines if line["stage"] != self._stage or line["epoch"] < epoch]
        new = log.with_name(f"{LOG}.new")
        new.write_text("".join(json.dumps(line) + "\n" for line in kept))
        sync(new)
        os.replace(new, log)
