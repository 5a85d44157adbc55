"""L2 penalties: on the rows a batch touches, and on all other weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neucf.training.losses import LossName


def penalty_shares(loss: LossName, num_positives: int, num_negatives: int) -> tuple[float, float, float]:
    """Returns what share of reg/2 |row|^2 each user, positive and own negative of a batch brings.

    A user's row counts once a positive. BCE has B(1+N) equal terms; the others weigh a positive as much as all its
    negatives together.
    """
    if loss == "bce":
        share = 1 / (num_positives * (1 + num_negatives))
        return 1 / num_positives, share, share
    return 1 / num_positives, 1 / num_positives, 1 / (num_positives * num_negatives)


def add_row_penalty(weight: Tensor, rows: list[tuple[Tensor, float]], reg: float, sparse: bool) -> None:
    """Adds to a table's gradient that of reg/2 |row|^2, for every row of `rows` by its share.

    Args:
        weight: The table (R, D).
        rows: Indices (N,) of rows, and what share each time one is there brings.
        reg: L2 strength.
        sparse: Whether the gradient is one of the touched rows alone.
    """
    if sparse:
        touched = torch.cat([indices for indices, _ in rows])
        shares = torch.cat([weight.new_full((len(indices), 1), share * reg) for indices, share in rows])
        values = weight[touched] * shares
        added = torch.sparse_coo_tensor(touched.unsqueeze(0), values, weight.shape, check_invariants=False)
        weight.grad = added if weight.grad is None else weight.grad + added
        return
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    shares = weight.new_zeros(len(weight))
    for indices, share in rows:
        # (R,) how often each row was touched; bincount would wait for the device to say how many there are
        counts = weight.new_zeros(len(weight)).scatter_add_(0, indices, weight.new_ones(len(indices)))
        shares.add_(counts, alpha=share)
    weight.grad.addcmul_(weight, shares.unsqueeze(-1), value=reg)


def add_weight_penalty(weights: Sequence[Tensor], reg: float) -> None:
    """Adds the gradient of reg/2 |weight|^2 to each of the weights that belong to no table."""
    for weight in weights:
        if weight.grad is not None and reg > 0:
            weight.grad.add_(weight, alpha=reg)
