"""Negatives: items that stand for what a user did not choose. Vectorised or compiled, never a loop per sample."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.kernels.compile import COMPILED
from neucf.kernels.sampling import Known, alias_table, draw_negatives, known_items

log = logging.getLogger("neucf")

SamplerName: TypeAlias = Literal["auto", "uniform", "popularity", "shared", "in-batch", "all"]


@dataclass(frozen=True, slots=True)
class Negatives:
    """One batch's negatives.

    Attributes:
        items: (B, N), or (1, N) where the whole batch shares them.
        log_q_positive: (B,) or None; see `softmax`.
        log_q_negative: (B, N), (1, N) or None.
        mask: (B, N) bool, true at accidental positives, or None where there are none.
    """

    items: Tensor
    log_q_positive: Tensor | None
    log_q_negative: Tensor | None
    mask: Tensor | None

    def of(self, some: slice) -> Negatives:
        """Returns the negatives of some positives."""
        return self._each(lambda tensor: tensor[some])

    def clone(self) -> Negatives:
        """Returns a copy."""
        return self._each(Tensor.clone)

    def copy_(self, other: Negatives) -> None:
        """Takes over the values of others, of the same shapes."""
        for mine, new in zip(self._tensors(), other._tensors(), strict=True):
            if mine is not None and new is not None:
                mine.copy_(new)

    def _tensors(self) -> tuple[Tensor | None, ...]:
        return self.items, self.log_q_positive, self.log_q_negative, self.mask

    def _each(self, change: Callable[[Tensor], Tensor]) -> Negatives:
        rest = (None if tensor is None else change(tensor) for tensor in self._tensors()[1:])
        return Negatives(change(self.items), *rest)


class NegativeSampler:
    """Draws negatives that avoid the user's train positives, and nothing else: to avoid more would leak.

    Args:
        train: The training interactions.
        kind: `uniform` and `popularity` give each positive its own negatives, `shared` gives the batch one uniform
            set, `in-batch` takes the other positives of the batch.
        count: N.
        power: `popularity` draws in proportion to an item's training count to this power.
        seed: Keys the streams, with the epoch and the batch.
        device: Where the draws are needed.

    Attributes:
        is_full: (U,) whether a user has chosen every item that is ever drawn: there is no negative for such a user.
        eligible: (E,) rows of train whose user has not chosen every item; only these can be trained on.
    """

    def __init__(
        self, train: Interactions, kind: SamplerName, count: int, *, power: float, seed: int, device: torch.device
    ) -> None:
        matrix = train.csr()
        self.kind, self.count, self.seed, self.device = kind, count, seed, device
        self.num_items = train.num_items
        compiled = COMPILED and device.type == "cpu" and kind in ("uniform", "popularity")
        self._known_items = known_items(matrix.indptr, matrix.indices) if compiled else None
        # (I,) train positives of each item
        counts = train.item_counts().astype(np.float64)
        accept, alias, num_offered = np.empty(0), np.empty(0, np.int64), train.num_items
        # (I,) how likely an item is drawn
        if kind == "popularity":
            chances = counts**power / (counts**power).sum()
            accept, alias = alias_table(chances)
            num_offered = int((chances > 0).sum())
        elif kind == "in-batch":
            # Validation may hold items that train never offers
            chances = np.maximum(counts, 1) / max(len(train), 1)
            num_offered = int((counts > 0).sum())
        else:
            chances = np.full(train.num_items, 1.0 / train.num_items)
        # What is never drawn is no negative either
        self.is_full = np.diff(matrix.indptr) >= num_offered
        self.eligible = np.flatnonzero(~self.is_full[train.users])
        self.num_skipped_users = int(self.is_full.sum())
        if self.num_skipped_users:
            log.warning("Users who chose every item that is drawn, and are left out: %d.", self.num_skipped_users)
        self._accept, self._alias = torch.from_numpy(accept).to(device), torch.from_numpy(alias).to(device)
        with np.errstate(divide="ignore"):
            self._log_q = torch.from_numpy(np.log(chances).astype(np.float32)).to(device)
        # (nnz,) sorted user * I + item, for membership tests on the device
        self._keys = torch.empty(0, dtype=torch.int64)
        if not compiled:
            rows = np.repeat(np.arange(train.num_users, dtype=np.int64), np.diff(matrix.indptr))
            self._keys = torch.from_numpy(rows * train.num_items + matrix.indices).to(device)

    @property
    def known(self) -> Known:
        """The train positives, for the compiled kernels' membership tests."""
        assert self._known_items is not None
        return self._known_items

    def draw(self, users: Tensor, positives: Tensor, epoch: int, first: int, count: int | None = None) -> Negatives:
        """Returns negatives for a batch.

        Args:
            users: (B,).
            positives: (B,).
            epoch: From 1.
            first: The batch's first positive's place in the epoch; with seed and epoch it keys the stream.
            count: Draws a positive, N by default.
        """
        count = self.count if count is None else count
        if self.kind == "in-batch":
            # (1, B)
            items = positives.unsqueeze(0)
            return Negatives(items, self._log_q[positives], self._log_q[items], self._known(users, items))
        generator = torch.Generator(self.device).manual_seed(_key(self.seed, epoch, first))
        if self.kind == "shared":
            items = torch.randint(self.num_items, (1, count), generator=generator, device=self.device)
            log_q = torch.full((1, count), float(np.log(count / self.num_items)), device=self.device)
            return Negatives(items, None, log_q, self._known(users, items))
        if self._known_items is not None:
            drawn = np.empty((len(users), count), np.int64)
            self.fill(users.numpy(), np.arange(first, first + len(users)), epoch, drawn)
            items = torch.from_numpy(drawn)
        else:
            items = self._rejection(users, count, generator)
        return Negatives(items, None, self.log_q(count)[items], None)

    def fill(
        self, users: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], epoch: int, out: npt.NDArray[np.int64]
    ) -> None:
        """Fills out (B, N) with the negatives of positives at `rows` (B,) of the epoch; on the CPU, any thread may."""
        tables = (self._accept.numpy(), self._alias.numpy())
        draw_negatives(users, rows, self.known, self.num_items, *tables, self.seed, epoch, out)

    def log_q(self, count: int) -> Tensor:
        """Returns log(N q) of each item (I,): what the softmax correction subtracts from explicit negatives."""
        return self._log_q + float(np.log(count))

    def _rejection(self, users: Tensor, count: int, generator: torch.Generator) -> Tensor:
        # (B, N)
        items = self._propose((len(users), count), generator)
        while (hits := self._known(users, items)).any():
            items[hits] = self._propose((int(hits.sum()),), generator)
        return items

    def _propose(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        items = torch.randint(self.num_items, shape, generator=generator, device=self.device)
        if self.kind != "popularity":
            return items
        chance = torch.rand(shape, generator=generator, device=self.device, dtype=torch.float64)
        return torch.where(chance < self._accept[items], items, self._alias[items])

    def _known(self, users: Tensor, items: Tensor) -> Tensor:
        # (B, N)
        keys = users.unsqueeze(-1) * self.num_items + items
        places = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        return self._keys[places] == keys


def hardness_for(hardness: int, num_items: int) -> int:
    """Returns `hardness`, or for 0 what suits a catalogue: 8, from 10,000 items on growing with their root, to 32."""
    return hardness or int(np.clip(round(8 * (num_items / 10_000) ** 0.5), 8, 32))


def _key(seed: int, epoch: int, first: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, first]).generate_state(1, np.uint64)[0] >> np.uint64(1))
