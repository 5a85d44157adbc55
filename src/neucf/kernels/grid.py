"""Scores of people with the whole catalogue, ranked while they are still in the cache.

score(u, i) = p_u . q_i + b_i + k . tower(a_u + c_i), where a and c are the halves of a tower's first layer. Inner loops
run over panels of PANEL items, laid out a column an item; widths are padded to whole fours with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.kernels.compile import kernel
from neucf.kernels.product import PANEL, multiply
from neucf.kernels.ranking import push
from neucf.kernels.tower import zeros_aligned

Floats = npt.NDArray[np.float32]

# Panels scored before their items are offered to the lists, and rows at a time: 16 x 64 x 64 floats are 256 KiB.
_PANELS, _ROWS = 16, 64


@dataclass(frozen=True, slots=True)
class Factors:
    """What a model's scores of B people are made of; what it lacks has no columns, or is None.

    Attributes:
        users: p (B, D).
        items: q (I, D).
        item_bias: b (I,); None for zeros.
        user_half: a (B, D1), the bias included.
        item_vectors: q' (I, D'), which the tower takes.
        first: The first layer's weight for them (D1, D'): c = first q'.
        layers: Weight (D_l, D_l-1) and bias (D_l,) of each layer after the first.
        top: k (D_last,).
    """

    users: Floats
    items: Floats
    item_bias: Floats | None
    user_half: Floats | None = None
    item_vectors: Floats | None = None
    first: Floats | None = None
    layers: tuple[tuple[Floats, Floats], ...] = ()
    top: Floats | None = None

    def catalogue(self) -> tuple[Any, ...]:
        """Returns the arguments of `rank_rows` that don't depend on the people: a copy of the item tables, laid out."""
        bias = np.zeros(0, np.float32) if self.item_bias is None else self.item_bias
        vectors = np.zeros((len(self.items), 0), np.float32) if self.item_vectors is None else self.item_vectors
        first = np.zeros((0, 0), np.float32) if self.first is None else self.first
        widths = [len(first), *(len(each) for _, each in self.layers)]
        padded = [(pad(weight), pad(each)) for weight, each in self.layers]
        nothing = [np.zeros(0, np.float32)]
        items, bias, vectors = (np.ascontiguousarray(each, np.float32) for each in (self.items, bias, vectors))
        return (
            lay_out(items, bias, fours(items.shape[1] + (self.item_bias is not None))),
            multiply_panels(pad(first), lay_out(vectors, nothing[0], fours(vectors.shape[1]))),
            np.concatenate([weight.ravel() for weight, _ in padded] or nothing),
            np.concatenate([each for _, each in padded] or nothing),
            np.array([fours(width) for width in widths], np.int64),
        )

    def of_items(self) -> list[Floats]:
        """Returns the arrays that `catalogue` is made of."""
        of_layers = [each for layer in self.layers for each in layer]
        arrays = [self.items, self.item_bias, self.item_vectors, self.first, *of_layers]
        return [each for each in arrays if each is not None]

    def people(self, rows: slice) -> tuple[Floats, Floats, Floats]:
        """Returns the rest: p, a one for b after it, and a of some people, padded, their number too; k."""
        users, size = self.users[rows], self.users.shape[1]
        shape = fours(len(users)), fours(size + (self.item_bias is not None))
        with_bias: Floats = zeros_aligned(shape[0] * shape[1]).reshape(shape)
        with_bias[: len(users), :size] = users
        if self.item_bias is not None:
            with_bias[: len(users), size] = 1
        half = np.zeros((len(users), 0), np.float32) if self.user_half is None else self.user_half[rows]
        return with_bias, pad(half), pad(np.zeros(0, np.float32) if self.top is None else self.top)


def fours(size: int) -> int:
    """Returns the size, rounded up to whole fours."""
    return -(-size // 4) * 4


def pad(array: Floats) -> Floats:
    """Returns a copy whose axes are whole fours long, filled up with zeros."""
    shape = tuple(fours(size) for size in array.shape)
    padded: Floats = zeros_aligned(int(np.prod(shape))).reshape(shape)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded


class Shelf:
    """Keeps a model's catalogue laid out, which takes as much memory as its item tables, for as long as it's the same.

    A model fitted again or restored has other arrays, and is laid out anew; one changed in place goes unnoticed.
    """

    def __init__(self) -> None:
        self._kept: tuple[list[Floats], tuple[Any, ...]] | None = None

    def catalogue(self, factors: Factors) -> tuple[Any, ...]:
        """Returns what `factors.catalogue()` does."""
        arrays, kept = factors.of_items(), self._kept
        # Those of the last time are held, so that nothing else can lie where they do.
        if kept is None or [_place(each) for each in kept[0]] != [_place(each) for each in arrays]:
            kept = self._kept = arrays, factors.catalogue()
        return kept[1]


def _place(array: Floats) -> tuple[Any, ...]:
    return array.ctypes.data, array.shape, array.strides


@kernel
def lay_out(table, bias, height):
    """Returns a table (I, D) in panels (P, height, PANEL), a column an item; the bias (I,), or (0,), below; then zeros.

    A cache line of each row at a time: what it is written to are lines far apart, of which a cache holds few at once.
    """
    num_items, size = table.shape
    num_panels = (num_items + PANEL - 1) // PANEL
    panels = zeros_aligned(num_panels * height * PANEL).reshape((num_panels, height, PANEL))
    for at in range(num_panels):
        first, out = at * PANEL, panels[at]
        count = min(PANEL, num_items - first)
        for line in range(0, size, 16):
            for t in range(count):
                for d in range(line, min(line + 16, size)):
                    out[d, t] = table[first + t, d]
        if len(bias):
            for t in range(count):
                out[size, t] = bias[first + t]
    return panels


@kernel
def multiply_panels(weights, panels):
    """Returns weights (M, N) times each of panels (P, N, PANEL): (P, M, PANEL)."""
    rows, num_panels = len(weights), len(panels)
    out = zeros_aligned(num_panels * rows * PANEL).reshape((num_panels, rows, PANEL))
    zeros = np.zeros(rows, np.float32)
    for at in range(num_panels):
        multiply(weights, zeros, panels[at], out[at].reshape((rows, 1, PANEL)), 0)
    return out


@kernel
def relu(x):
    """Returns max(x, 0), and NaN for NaN, which `max` may lose."""
    return np.float32(0.0) if x < np.float32(0.0) else x


@kernel
def add_tower(half, turned, weights, biases, widths, top, hidden, line):
    """Adds k . tower(a + c) of one person, a (D1,), with PANEL items, c turned (D1, PANEL), to line (PANEL,).

    `hidden` (2, max(widths), PANEL) holds a layer and the next.
    """
    tallest = hidden.shape[1]
    for d in range(widths[0]):
        shift = half[d]
        for t in range(PANEL):
            hidden[0, d, t] = relu(shift + turned[d, t])
    at, weight_at, bias_at = 0, 0, 0
    for layer in range(len(widths) - 1):
        size, rows = widths[layer], widths[layer + 1]
        multiply(
            weights[weight_at : weight_at + rows * size].reshape(rows, size),
            biases[bias_at : bias_at + rows],
            hidden[at],
            hidden[1 - at].reshape(tallest, 1, PANEL),
            0,
        )
        at, weight_at, bias_at = 1 - at, weight_at + rows * size, bias_at + rows
        for o in range(rows):
            for t in range(PANEL):
                hidden[at, o, t] = relu(hidden[at, o, t])
    for d in range(widths[-1]):
        weight = top[d]
        for t in range(PANEL):
            line[t] += weight * hidden[at, d, t]


@kernel
def rank_rows(
    users, halves, top, panels, half_panels, weights, biases, widths,
    cursors, stops, hidden, allowed, people, item_hashes, best_scores, best_items,
):  # fmt: skip
    """Ranks the catalogue for B people; see Factors for the first eight arguments, kernels.ranking.push for the rest.

    Returns:
        A row that holds a score which is not finite, or -1.
    """
    num_people, num_items = len(people), len(item_hashes)
    tallest = widths.max()
    layers = zeros_aligned(2 * tallest * PANEL).reshape((2, tallest, PANEL))
    height = min(_ROWS, len(users))
    scores = zeros_aligned(height * _PANELS * PANEL).reshape((height, _PANELS, PANEL))
    zeros = np.zeros(_ROWS, np.float32)
    # Every person of the block meets a few panels before the next ones, which thus come from memory but once.
    for panel in range(0, len(panels), _PANELS):
        num_panels, first = min(_PANELS, len(panels) - panel), panel * PANEL
        count = min(num_panels * PANEL, num_items - first)
        for row in range(0, num_people, _ROWS):
            stop = min(row + _ROWS, num_people)
            for at in range(num_panels):
                multiply(users[row : min(row + _ROWS, len(users))], zeros, panels[panel + at], scores, at)
                if halves.shape[1]:
                    for one in range(row, stop):
                        line = scores[one - row, at]
                        add_tower(halves[one], half_panels[panel + at], weights, biases, widths, top, layers, line)
            wrong = push(
                scores.reshape(height, _PANELS * PANEL)[: stop - row], count, first, cursors[row:stop], stops[row:stop],
                hidden, allowed, people[row:stop], item_hashes, best_scores[row:stop], best_items[row:stop],
            )  # fmt: skip
            if wrong >= 0:
                return row + wrong
    return -1
