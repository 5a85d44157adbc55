"""Scores of people with the whole catalogue, ranked while they are still in the cache.

score(u, i) = p_u . q_i + b_i + k . tower(a_u + c_i), where a and c are the halves of a tower's first layer. Inner loops
run over PANEL items, each of them the same sum in the same order wherever it stands: items alike tie exactly, which
a BLAS that treats edges by another kernel does not give. Widths are padded to whole fours with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.kernels.compile import kernel
from neucf.kernels.ranking import push
from neucf.kernels.tower import zeros_aligned

Floats = npt.NDArray[np.float32]

PANEL = 256
# Panels scored before their items are offered to the lists, and rows at a time: 4 x 256 x 64 floats are 256 KiB.
_PANELS, _ROWS = 4, 64


@dataclass(frozen=True, slots=True)
class Factors:
    """What a model's scores of B people are made of; what it lacks has no columns, or is None.

    Attributes:
        users: p (B, D).
        items: q (I, D).
        item_bias: b (I,); None for zeros.
        user_half: a (B, D1), the bias included.
        item_half: c (I, D1).
        layers: Weight (D_l, D_l-1) and bias (D_l,) of each layer after the first.
        top: k (D_last,).
    """

    users: Floats
    items: Floats
    item_bias: Floats | None
    user_half: Floats | None = None
    item_half: Floats | None = None
    layers: tuple[tuple[Floats, Floats], ...] = ()
    top: Floats | None = None

    def catalogue(self) -> tuple[Any, ...]:
        """Returns the arguments of `rank_rows` that don't depend on the people, as contiguous float32."""
        bias = np.zeros(0, np.float32) if self.item_bias is None else self.item_bias
        half = np.zeros((len(self.items), 0), np.float32) if self.item_half is None else self.item_half
        top = np.zeros(0, np.float32) if self.top is None else self.top
        widths = [half.shape[1], *(len(each) for _, each in self.layers)]
        padded = [(pad(weight), pad(each)) for weight, each in self.layers]
        nothing = [np.zeros(0, np.float32)]
        return (
            np.ascontiguousarray(self.items, np.float32),
            np.ascontiguousarray(bias, np.float32),
            np.ascontiguousarray(half, np.float32),
            np.concatenate([weight.ravel() for weight, _ in padded] or nothing),
            np.concatenate([each for _, each in padded] or nothing),
            np.array([fours(width) for width in widths], np.int64),
            pad(top),
        )

    def people(self, rows: slice) -> tuple[Floats, Floats]:
        """Returns p, a one for b after it, and a of some people, padded, their number too."""
        users = np.asarray(self.users[rows], np.float32)
        with_bias = np.zeros((len(users), users.shape[1] + (self.item_bias is not None)), np.float32)
        with_bias[:, : users.shape[1]] = users
        with_bias[:, users.shape[1] :] = 1
        half = np.zeros((len(users), 0), np.float32) if self.user_half is None else self.user_half[rows]
        return pad(with_bias), pad(half)


def fours(size: int) -> int:
    """Returns the size, rounded up to whole fours."""
    return -(-size // 4) * 4


def pad(array: Floats) -> Floats:
    """Returns a copy whose axes are whole fours long, filled up with zeros."""
    shape = tuple(fours(size) for size in array.shape)
    padded: Floats = zeros_aligned(int(np.prod(shape))).reshape(shape)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded


@kernel
def multiply(weights, start, x, out, at):
    """Sets panel `at` of out (M, S, PANEL) to start (M,) plus weights (M, N) times x (N, PANEL); M, N are whole fours.

    Four rows by four units of x a pass: 16 products for 4 + 4 loads and 4 stores, so arithmetic is what it waits for.
    """
    for o in range(0, weights.shape[0], 4):
        for t in range(PANEL):
            out[o, at, t], out[o + 1, at, t] = start[o], start[o + 1]
            out[o + 2, at, t], out[o + 3, at, t] = start[o + 2], start[o + 3]
        for i in range(0, weights.shape[1], 4):
            a0, a1, a2, a3 = weights[o, i], weights[o, i + 1], weights[o, i + 2], weights[o, i + 3]
            b0, b1, b2, b3 = weights[o + 1, i], weights[o + 1, i + 1], weights[o + 1, i + 2], weights[o + 1, i + 3]
            c0, c1, c2, c3 = weights[o + 2, i], weights[o + 2, i + 1], weights[o + 2, i + 2], weights[o + 2, i + 3]
            d0, d1, d2, d3 = weights[o + 3, i], weights[o + 3, i + 1], weights[o + 3, i + 2], weights[o + 3, i + 3]
            for t in range(PANEL):
                x0, x1, x2, x3 = x[i, t], x[i + 1, t], x[i + 2, t], x[i + 3, t]
                out[o, at, t] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                out[o + 1, at, t] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                out[o + 2, at, t] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
                out[o + 3, at, t] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@kernel
def turn_items(table, first, out):
    """Writes rows first.. of a table (I, D), turned, to the first D rows of out (., PANEL); zeros past the last one.

    A cache line of each row at a time: what it is written to are lines 1 KiB apart, of which a cache holds few at once.
    """
    count, size = min(PANEL, table.shape[0] - first), table.shape[1]
    for line in range(0, size, 16):
        for t in range(count):
            for d in range(line, min(line + 16, size)):
                out[d, t] = table[first + t, d]
    for d in range(size):
        for t in range(count, PANEL):
            out[d, t] = np.float32(0.0)


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
    users, halves, item_table, item_bias, item_half, weights, biases, widths, top,
    cursors, stops, hidden, allowed, people, item_hashes, best_scores, best_items,
):  # fmt: skip
    """Ranks the catalogue for B people; see Factors for the first nine arguments, kernels.ranking.push for the rest.

    Returns:
        A row that holds a score which is not finite, or -1.
    """
    num_people, (num_items, size) = len(people), item_table.shape
    dim, width = users.shape[1], halves.shape[1]
    tallest = widths.max()
    # (_PANELS, D, PANEL) and (_PANELS, D1, PANEL): every person of the block meets them before the next ones
    turned = zeros_aligned(_PANELS * dim * PANEL).reshape((_PANELS, dim, PANEL))
    turned_half = zeros_aligned(_PANELS * width * PANEL).reshape((_PANELS, width, PANEL))
    layers = zeros_aligned(2 * tallest * PANEL).reshape((2, tallest, PANEL))
    scores = zeros_aligned(_ROWS * _PANELS * PANEL).reshape((_ROWS, _PANELS, PANEL))
    zeros = np.zeros(_ROWS, np.float32)
    for first in range(0, num_items, _PANELS * PANEL):
        count = min(_PANELS * PANEL, num_items - first)
        num_panels = (count + PANEL - 1) // PANEL
        for at in range(num_panels):
            start = first + at * PANEL
            turn_items(item_table, start, turned[at])
            turn_items(item_half, start, turned_half[at])
            if len(item_bias):
                for t in range(min(PANEL, num_items - start)):
                    turned[at, size, t] = item_bias[start + t]
        for row in range(0, num_people, _ROWS):
            stop = min(row + _ROWS, num_people)
            for at in range(num_panels):
                multiply(users[row : min(row + _ROWS, len(users))], zeros, turned[at], scores, at)
                if width:
                    for one in range(row, stop):
                        line = scores[one - row, at]
                        add_tower(halves[one], turned_half[at], weights, biases, widths, top, layers, line)
            wrong = push(
                scores.reshape(_ROWS, _PANELS * PANEL)[: stop - row], count, first, cursors[row:stop], stops[row:stop],
                hidden, allowed, people[row:stop], item_hashes, best_scores[row:stop], best_items[row:stop],
            )  # fmt: skip
            if wrong >= 0:
                return row + wrong
    return -1
