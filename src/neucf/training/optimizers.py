"""Optimisers by name, and lazy Adam, which moves only the rows a batch touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

OptimizerName: TypeAlias = Literal["adam", "lazy-adam", "adamw", "sgd", "adagrad"]


class LazyAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1) on the rows of a sparse gradient; all other rows stay, moments too.

    The step count that corrects the bias is the table's, so a first touch moves a row as standard Adam would.

    Args:
        tables: Embedding tables (rows, D) with sparse gradients.
        lr: Learning rate.
        betas: Decay of the two moments.
        eps: Keeps the division finite.
    """

    def __init__(
        self, tables: Sequence[Tensor], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(tables, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves the rows that have a gradient."""
        del closure
        for group in self.param_groups:
            first_decay, second_decay = group["betas"]
            for table in group["params"]:
                if table.grad is None:
                    continue
                state = self.state[table]
                if not state:
                    state["step"] = torch.zeros(())
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
                state["step"] += 1
                gradient = table.grad.coalesce()
                # (R,) touched rows and their gradients (R, D)
                rows, values = gradient.indices()[0], gradient.values()
                mean = state["exp_avg"][rows].lerp_(values, 1 - first_decay)
                square = state["exp_avg_sq"][rows].mul_(second_decay).addcmul_(values, values, value=1 - second_decay)
                state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
                count = float(state["step"])
                scale = (square / (1 - second_decay**count)).sqrt_().add_(group["eps"])
                table[rows] -= (group["lr"] / (1 - first_decay**count)) * mean / scale


def make_optimizers(
    name: OptimizerName, tables: Sequence[Tensor], weights: Sequence[Tensor]
) -> list[torch.optim.Optimizer]:
    """Returns the optimisers of embedding tables and of all other weights."""
    if name == "lazy-adam":
        dense: list[torch.optim.Optimizer] = [torch.optim.Adam(weights, fused=True)] if weights else []
        return [LazyAdam(tables), *dense]
    parameters = [*tables, *weights]
    if name == "adam":
        return [torch.optim.Adam(parameters, fused=True)]
    if name == "adamw":
        return [torch.optim.AdamW(parameters, fused=True)]
    return [torch.optim.SGD(parameters) if name == "sgd" else torch.optim.Adagrad(parameters)]


def set_rate(optimizers: Sequence[torch.optim.Optimizer], lr: float) -> None:
    """Sets the learning rate of all; one that is a tensor stays the same tensor."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> None:
    """Scales all gradients together to a norm of at most `most`; sparse ones count as the dense ones that they are."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            # A row that a batch touches twice stands there twice
            parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad.values())
        elif parameter.grad is not None:
            gradients.append(parameter.grad)
    scale = (most / (nn.utils.get_total_norm(gradients) + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(scale)


def portable(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Returns copies of an optimiser's moments under text keys, fit for a checkpoint file."""
    moments = optimizer.state_dict()["state"]
    return {
        "state": {
            str(index): {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()}
            for index, state in moments.items()
        }
    }


def state_of(net: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """Returns copies of all that training changes: parameters and moments."""
    parameters = {name: value.detach().clone() for name, value in net.state_dict().items()}
    return {"net": parameters, "optimizers": [portable(optimizer) for optimizer in optimizers]}


def load_state(net: nn.Module, optimizers: Sequence[torch.optim.Optimizer], state: Mapping[str, Any]) -> None:
    """Takes back what `state_of` gave."""
    net.load_state_dict(state["net"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        load_portable(optimizer, saved)


def load_portable(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Gives an optimiser the moments that `portable` returned."""
    state = {int(index): dict(moments) for index, moments in saved["state"].items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
