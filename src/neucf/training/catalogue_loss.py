"""The softmax loss over a whole catalogue; where logits are inner products, tile by tile."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from neucf.data.interactions import Interactions

Precision: TypeAlias = Literal["auto", "float32", "bf16"]
# What tuning looks among, 0 going by the catalogue's size (`temperature_for`).
TEMPERATURES = (0.0, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.6, 1.0, 2.0)
# What a user's other positives count among a positive's competitors: at 1, as in the plain softmax, they hold each
# other down; at 0 training overfits. Half was the best on validation (docs/results.md).
OTHERS = 0.5
# Items whose logits are worked on at once, while they are in the processor's cache.
_TILE = 2048
# Logits within this need no maximum taken off: exp of them, summed over any catalogue, is within float32 and bfloat16.
LARGEST = 60.0


class _GridSoftmax(torch.autograd.Function):
    """The mean over P positives of -ln of their shares, from logits; its gradient is worked out on the way forward."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, rows: Tensor, items: Tensor) -> Tensor:
        # (B, I), and (B,) their sums
        logits = logits - logits.amax(1, keepdim=True)
        powers = logits.exp()
        whole, scale = _settled(powers, powers.sum(1), powers[rows, items], rows, items)
        ctx.save_for_backward(powers.mul_(scale.unsqueeze(1)))
        return (whole.log() - logits[rows, items]).sum() / max(len(rows), 1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        return ctx.saved_tensors[0] * upstream[0], None, None


class _ProductSoftmax(torch.autograd.Function):
    """The same from x y^T / T; both gradients are worked out on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, rows: Tensor, items: Tensor, temperature: float, dtype: torch.dtype,
        log_weights: Tensor | None,
    ) -> Tensor:  # fmt: skip
        right = y.to(dtype)
        powers, sums = exp_products((x / temperature).to(dtype), right, log_weights)
        own = powers[rows, items].float()
        whole, scale = _settled(powers, sums, own, rows, items)
        loss = (whole.log() - own.log()).sum() / max(len(rows), 1)
        if not any(ctx.needs_input_grad):
            return loss
        ctx.save_for_backward(*product_gradients(powers, x, right, scale / temperature))
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None, None, None, None, None]:
        of_x, of_y = ctx.saved_tensors
        return of_x.mul_(upstream[0]), of_y.mul_(upstream[0]), None, None, None, None, None


def exp_products(left: Tensor, right: Tensor, log_weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns exp of left (B, D) times right (I, D), (B, I), and its sums (B,), which are float32.

    Each item's is weighted where there are weights (I,).
    """
    weights = None if log_weights is None else log_weights.exp().to(left.dtype)
    powers = torch.empty(len(left), len(right), dtype=left.dtype, device=left.device)
    sums = torch.zeros(len(left), device=left.device)
    for some in _tiles(right):
        part = torch.exp(left @ right[some].T)
        if weights is not None:
            part *= weights[some]
        powers[:, some] = part
        sums += part.sum(1, dtype=torch.float32)
    return powers, sums


def product_gradients(powers: Tensor, x: Tensor, right: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients by x (B, D) and y (I, D), where that by x y^T is `scale` (B,) times `powers` (B, I).

    `right` is y in the type of the powers; the gradients are in that of x.
    """
    scale = scale.unsqueeze(1)
    # The smaller matrices are given the scale
    scaled = (x * scale).to(powers.dtype)
    of_x, of_y = torch.zeros_like(x), torch.empty_like(right, dtype=x.dtype)
    for some in _tiles(right):
        of_x += powers[:, some] @ right[some]
        of_y[some] = powers[:, some].T @ scaled
    return of_x.mul_(scale), of_y


def _tiles(right: Tensor) -> list[slice]:
    tile = _TILE if right.device.type == "cpu" else len(right)
    return [slice(start, start + tile) for start in range(0, len(right), tile)]


def _settled(powers: Tensor, sums: Tensor, own: Tensor, rows: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what each positive has its share of (P,), and what the gradient of the mean is scaled by (B,).

    That is everything, the user's other positives at `OTHERS`. The gradient by logits is the scale times what `powers`
    then holds.

    Args:
        powers: exp(logit) (B, I), up to a factor a row; becomes the gradient over the scale.
        sums: Its sums (B,).
        own: Its values (P,) at the positives.
        rows: The row of each positive (P,), no pair twice.
        items: Its item (P,).
    """
    sums = sums.index_add(0, rows, own, alpha=OTHERS - 1)
    whole = sums[rows] + (1 - OTHERS) * own
    scale = torch.zeros_like(sums).index_add_(0, rows, 1 / whole)
    of_own = OTHERS * own + ((1 - OTHERS) * own / whole - 1) / scale[rows]
    powers.index_put_((rows, items), of_own.to(powers.dtype))
    return whole, scale / max(len(rows), 1)


def product_softmax(
    x: Tensor, y: Tensor, rows: Tensor, items: Tensor, *, temperature: float, dtype: torch.dtype = torch.float32,
    log_weights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Returns the mean over P positives of -ln softmax(x y^T / T) over all I items, as a scalar.

    In the sum, what a user's other positives add is halved (`OTHERS`).

    Args:
        x: Vectors of the batch's users (B, D).
        y: Vectors of all items (I, D).
        rows: The row of `x` of each positive (P,).
        items: Its item (P,).
        temperature: T.
        dtype: In which the products over the catalogue are taken; sums are float32.
        log_weights: What is added to the logits of each item (I,): see `item_log_weights`.
    """
    if not torch.is_grad_enabled():
        # Leaves that require gradients say so all the same, and would have them worked out
        x, y = x.detach(), y.detach()
    if bound(x, y) <= LARGEST * temperature:
        loss: Tensor = _ProductSoftmax.apply(x, y, rows, items, temperature, dtype, log_weights)
        return loss
    logits = x @ y.T / temperature
    return grid_softmax(logits if log_weights is None else logits + log_weights, rows, items)


def grid_softmax(logits: Tensor, rows: Tensor, items: Tensor) -> Tensor:
    """Returns the same mean from logits (B, I), already over the temperature, as a scalar."""
    loss: Tensor = _GridSoftmax.apply(logits, rows, items)
    return loss


def item_log_weights(train: Interactions, power: float, device: torch.device) -> Tensor | None:
    """Returns power ln(1 + n) of each item's positives n in train (I,), up to a constant; None where power is 0.

    Added to the logits in training and nowhere else, it is what the logits make up for: below 0 they lean to the
    popular, above 0 away from them (logit adjustment, Menon et al. 2021, equation 10).
    """
    if power == 0:
        return None
    logs = power * torch.from_numpy(train.item_counts()).to(device, torch.float32).log1p()
    # Not above 0, so that no sum of powers overflows
    return logs - logs.max()


def temperature_for(asked: float, num_items: int) -> float:
    """Returns the temperature asked for; where that is 0, the one that suits cosines with a catalogue of I items.

    The best on validation was .2 with 1,682 items, .12 with 9,742 and .08 with 40,981, which lie on this line
    (docs/results.md): among more items, a positive must stand out more.
    """
    return asked or 1.66 * max(num_items, 1) ** -0.286


def catalogue_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Returns the type of products over the catalogue; `auto` is bfloat16 where the device is faster by it."""
    if precision == "auto":
        faster = bf16_is_faster() if device.type == "cpu" else torch.cuda.is_bf16_supported()
        return torch.bfloat16 if faster else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def bf16_is_faster() -> bool:
    """Returns whether this processor multiplies matrices of bfloat16 faster than of float32.

    AMX does, and AVX-512 of AMD; by Intel's AVX-512 without AMX, products took 1.8 times as long (docs/results.md).
    """
    if torch.cpu._is_amx_tile_supported():
        return True
    # Absent from older versions of torch
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    is_intel = "intel" in str(capabilities.get("cpu_name", "")).lower()
    return torch.cpu._is_avx512_bf16_supported() and not is_intel


@torch.no_grad()
def bound(x: Tensor, y: Tensor) -> float:
    """Returns what no |<x, y>| of vectors (B, D) and (I, D) exceeds: the product of the largest lengths."""
    return float(x.norm(dim=1).max() * y.norm(dim=1).max())
