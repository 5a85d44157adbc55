"""A training step recorded on CUDA: a replay costs one launch, where the step's own are some hundreds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from neucf.training.sampling import Negatives

Step: TypeAlias = Callable[[Tensor, Tensor, Negatives], Tensor]
Fixed: TypeAlias = Callable[[], Tensor]


class Recorder(Protocol):
    """Runs and records steps that always read and write the same memory."""

    def run(self, step: Fixed) -> Tensor:
        """Runs a step as it is, where a recording of it would run."""

    def record(self, step: Fixed) -> Fixed:
        """Returns what replays a step; recording it changes nothing."""


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
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
            loss = step()

        def replay() -> Tensor:
            with torch.cuda.device(self.device):
                graph.replay()
            return loss

        return replay


class RecordedStep:
    """Takes the first steps as they are, and replays a recording from then on.

    A batch of another shape than the first, such as an epoch's last one, is taken as it is. So are all, with a warning,
    where recording fails.

    Args:
        step: Takes one step on users (B,), positives (B,) and negatives, and returns the loss. It may not wait for the
            device nor draw random numbers.
        optimizers: Those it moves, whose rate becomes a tensor, as a recorded number could not change.
        recorder: Runs and records it.
        warm_up: Steps before it is recorded.
    """

    def __init__(
        self, step: Step, optimizers: Sequence[torch.optim.Optimizer], recorder: Recorder, warm_up: int = 3
    ) -> None:
        self.step, self.optimizers, self.recorder, self.warm_up = step, optimizers, recorder, warm_up
        self.able = True
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = torch.full((), float(group["lr"]), device=group["params"][0].device)
        self.forget()

    def forget(self) -> None:
        """Drops the recording: the optimisers' moments lie elsewhere now."""
        self.num_run = 0
        self.batch: tuple[Tensor, Tensor, Negatives] | None = None
        self.replay: Fixed | None = None

    def __call__(self, users: Tensor, positives: Tensor, negatives: Negatives) -> Tensor:
        """Takes one step; returns the loss, which the next step may overwrite."""
        if self.batch is None:
            self.batch = users.clone(), positives.clone(), negatives.clone()
        if not self.able or len(users) != len(self.batch[0]):
            return self.step(users, positives, negatives)
        self.batch[0].copy_(users)
        self.batch[1].copy_(positives)
        self.batch[2].copy_(negatives)
        if self.replay is None and self.num_run == self.warm_up:
            self._record()
        if self.replay is not None:
            return self.replay()
        self.num_run += 1
        return self.recorder.run(self._fixed)

    def _fixed(self) -> Tensor:
        assert self.batch is not None
        return self.step(*self.batch)

    def _record(self) -> None:
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        try:
            # Said only while recording: outside it Adam warns of it
            for group in groups:
                group["capturable"] = True
            self.replay = self.recorder.record(self._fixed)
        except RuntimeError as error:
            self.able = False
            warnings.warn(f"Training goes on without a CUDA graph, more slowly: {error}", RuntimeWarning, stacklevel=2)
        finally:
            for group in groups:
                group["capturable"] = False
