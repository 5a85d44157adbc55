"""A training step recorded on CUDA: a replay costs one launch, where the step's own are some hundreds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from neucf.training.sampling import Negatives

Step: TypeAlias = Callable[[Tensor, Tensor, Negatives], Tensor]
Fixed: TypeAlias = Callable[[], Tensor]
# Steps taken before one is recorded, as PyTorch asks for.
_WARM_UP = 3


class Recorder(Protocol):
    """Runs and records steps that always read and write the same memory."""

    def run(self, step: Fixed) -> Tensor:
        """Runs a step as it is, where a recording of it would run."""

    def record(self, step: Fixed) -> Fixed:
        """Returns what replays a step; recording it moves nothing."""


class CudaRecorder:
    """Records CUDA graphs.

    Args:
        device: Where the step's tensors lie.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)

    def run(self, step: Fixed) -> Tensor:
        """Runs a step on the stream that recording uses, as PyTorch asks of the steps before it."""
        with torch.cuda.device(self.device):
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                loss = step()
            torch.cuda.current_stream().wait_stream(self.stream)
        return loss

    def record(self, step: Fixed) -> Fixed:
        """Returns what replays a step; its loss is the same tensor each time."""
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        try:
            with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
                loss = step()
        finally:
            # A recording that fails does not come back to the stream it left
            torch.cuda.set_stream(before)

        def replay() -> Tensor:
            with torch.cuda.device(self.device):
                graph.replay()
            return loss

        return replay


class RecordedStep:
    """Takes the first steps as they are, and replays a recording from then on.

    A batch of another shape than the first, such as an epoch's last one, is taken as it is. So are all, with a warning,
    where recording fails. The step is given at each call, so that no engine holds itself by what it keeps.

    Args:
        optimizers: Those that steps move, whose rate becomes a tensor, as a recorded number could not change.
        recorder: Runs and records steps.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], recorder: Recorder) -> None:
        self.optimizers, self.recorder, self.able = optimizers, recorder, True
        for group in self._groups():
            group["lr"] = torch.full((), float(group["lr"]), device=group["params"][0].device)
        self.forget()

    def forget(self) -> None:
        """Drops the recording: the optimisers' moments lie elsewhere now."""
        self.num_run = 0
        self.batch: tuple[Tensor, Tensor, Negatives] | None = None
        self.replay: Fixed | None = None

    def __call__(self, step: Step, users: Tensor, positives: Tensor, negatives: Negatives) -> Tensor:
        """Takes one step on users (B,), positives (B,) and negatives.

        Args:
            step: Always the same; it may not wait for the device nor draw random numbers.
            users: Of the positives.
            positives: What they chose.
            negatives: What they did not.

        Returns:
            The loss, which the next step may overwrite.
        """
        if self.batch is None:
            self.batch = users.clone(), positives.clone(), negatives.clone()
        batch = self.batch
        if not self.able or len(users) != len(batch[0]):
            return step(users, positives, negatives)
        batch[0].copy_(users)
        batch[1].copy_(positives)
        batch[2].copy_(negatives)
        if self.replay is None and self.num_run == _WARM_UP:
            self._record(lambda: step(*batch))
        if self.replay is not None:
            return self.replay()
        self.num_run += 1
        return self.recorder.run(lambda: step(*batch))

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _record(self, step: Fixed) -> None:
        try:
            # Said only while recording: outside it Adam warns of it
            for group in self._groups():
                group["capturable"] = True
            self.replay = self.recorder.record(step)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.able = False
            warnings.warn(f"Training goes on without a CUDA graph, more slowly: {error}", RuntimeWarning, stacklevel=2)
        finally:
            for group in self._groups():
                group["capturable"] = False
