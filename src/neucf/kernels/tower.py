"""A tower of hidden layers and its gradients, a row a sample and whole vectors of units: sums stay in registers.

Layer l of m units over n has weights (m, n). Rows are padded with zeros to whole vectors of units, which stay zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neucf.kernels.compile import kernel
from neucf.kernels.vectors import WIDTH, load, madd, store, where_positive, zeros

# Rows of sums that are held in registers at once
ROWS = 8


class Tower(NamedTuple):
    """The layers after the first, one after the other, and as widths (L,) all layers' widths.

    turned holds (n, m padded) a layer, weights (m, n padded), biases (m padded).
    """

    turned: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    widths: np.ndarray


@kernel
def padded(size):
    """Returns the size, rounded up to whole vectors."""
    return (size + WIDTH - 1) // WIDTH * WIDTH


@kernel
def zeros_aligned(size):
    """Returns zeros (size,) that begin at a cache line: a vector that straddles two takes twice the time to load."""
    raw = np.zeros(size + 16, np.float32)
    skip = (-(raw.ctypes.data // 4)) % 16
    return raw[skip : skip + size]


@kernel
def tower_of(weights, biases, widths):
    """Returns the tower of weights (m n + ...,), row after row of each layer in turn, and biases (m + ...,)."""
    num_turned, num_weights, num_biases = 0, 0, 0
    for layer in range(len(widths) - 1):
        size, rows = widths[layer], widths[layer + 1]
        num_turned += size * padded(rows)
        num_weights += rows * padded(size)
        num_biases += padded(rows)
    tower = Tower(zeros_aligned(num_turned), zeros_aligned(num_weights), zeros_aligned(num_biases), widths)
    turned_at, weight_at, bias_at, at, first = 0, 0, 0, 0, 0
    for layer in range(len(widths) - 1):
        size, rows = widths[layer], widths[layer + 1]
        for o in range(rows):
            tower.biases[bias_at + o] = biases[first + o]
            for i in range(size):
                weight = weights[at + o * size + i]
                tower.turned[turned_at + i * padded(rows) + o] = weight
                tower.weights[weight_at + o * padded(size) + i] = weight
        at, first = at + rows * size, first + rows
        turned_at, weight_at = turned_at + size * padded(rows), weight_at + rows * padded(size)
        bias_at += padded(rows)
    return tower


@kernel
def add_product(a, b, out):
    """Adds a (R, S), the corner of a larger array perhaps, times b (S, C) to out (R, C); C is whole vectors."""
    size, (rows, width) = len(b), out.shape
    whole = rows - rows % ROWS
    for column in range(0, width, WIDTH):
        for r in range(0, whole, ROWS):
            s0, s1, s2, s3 = load(out, r, column), load(out, r + 1, column), load(out, r + 2, column), load(out, r + 3, column)
            s4, s5, s6, s7 = load(out, r + 4, column), load(out, r + 5, column), load(out, r + 6, column), load(out, r + 7, column)
            for s in range(size):
                x = load(b, s, column)
                s0, s1 = madd(a[r, s], x, s0), madd(a[r + 1, s], x, s1)
                s2, s3 = madd(a[r + 2, s], x, s2), madd(a[r + 3, s], x, s3)
                s4, s5 = madd(a[r + 4, s], x, s4), madd(a[r + 5, s], x, s5)
                s6, s7 = madd(a[r + 6, s], x, s6), madd(a[r + 7, s], x, s7)
            store(out, r, column, s0)
            store(out, r + 1, column, s1)
            store(out, r + 2, column, s2)
            store(out, r + 3, column, s3)
            store(out, r + 4, column, s4)
            store(out, r + 5, column, s5)
            store(out, r + 6, column, s6)
            store(out, r + 7, column, s7)
        for r in range(whole, rows):
            one = load(out, r, column)
            for s in range(size):
                one = madd(a[r, s], load(b, s, column), one)
            store(out, r, column, one)


@kernel
def layer_of(flat, num_rows, at, width, count):
    """Returns the first `count` rows of a layer (num_rows, width), before which `at` units a row lie in flat."""
    return flat[num_rows * at : num_rows * (at + width)].reshape(num_rows, width)[:count]


@kernel
def tower_forward(tower, hidden, num_rows, count):
    """Fills the layers of hidden (num_rows H,) from the second on, of its first `count` rows; the first is there."""
    at, weight_at, bias_at = 0, 0, 0
    for layer in range(len(tower.widths) - 1):
        size, width, above = tower.widths[layer], padded(tower.widths[layer]), padded(tower.widths[layer + 1])
        x = layer_of(hidden, num_rows, at, width, count)
        out = layer_of(hidden, num_rows, at + width, above, count)
        for r in range(count):
            for o in range(above):
                out[r, o] = tower.biases[bias_at + o]
        add_product(x, tower.turned[weight_at : weight_at + size * above].reshape(size, above), out)
        for r in range(count):
            for column in range(0, above, WIDTH):
                y = load(out, r, column)
                store(out, r, column, where_positive(y, y))
        at, weight_at, bias_at = at + width, weight_at + size * above, bias_at + above


@kernel
def tower_backward(tower, hidden, slopes, num_rows, count, weight_slopes, bias_slopes):
    """Fills slopes, shaped as hidden, from the last layer's down, and adds the gradients of weights and biases.

    Slopes are derivatives by a layer's sums, before its relu; gradients are laid out as the tower's weights, biases.
    """
    at, weight_at, bias_at = len(hidden) // num_rows, len(tower.weights), len(tower.biases)
    at -= padded(tower.widths[-1])
    one = np.float32(1.0)
    for layer in range(len(tower.widths) - 2, -1, -1):
        rows, width, height = tower.widths[layer + 1], padded(tower.widths[layer]), padded(tower.widths[layer + 1])
        above = layer_of(slopes, num_rows, at, height, count)
        at, weight_at, bias_at = at - width, weight_at - rows * width, bias_at - height
        x, below = layer_of(hidden, num_rows, at, width, count), layer_of(slopes, num_rows, at, width, count)
        add_product(above.T, x, weight_slopes[weight_at : weight_at + rows * width].reshape(rows, width))
        biases = bias_slopes[bias_at : bias_at + height].reshape(1, height)
        for column in range(0, height, WIDTH):
            even, odd = load(biases, 0, column), zeros()
            for r in range(0, count, 2):
                even, odd = madd(one, load(above, r, column), even), madd(one, load(above, r + 1, column), odd)
            store(biases, 0, column, madd(one, odd, even))
        below[:] = np.float32(0.0)
        add_product(above, tower.weights[weight_at : weight_at + rows * width].reshape(rows, width), below)
        for r in range(count):
            for column in range(0, width, WIDTH):
                store(below, r, column, where_positive(load(x, r, column), load(below, r, column)))
