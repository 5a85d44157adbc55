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
# What is done with a product
ADD, RELU, WHERE_POSITIVE = 0, 1, 2


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
def finish(rule, value, other, out, row, column):
    """Stores WIDTH sums of a product, as the rule says; see `multiply`."""
    one = np.float32(1.0)
    if rule == ADD:
        store(out, row, column, madd(one, value, load(out, row, column)))
    elif rule == RELU:
        shifted = madd(one, value, load(other, 0, column))
        store(out, row, column, where_positive(shifted, shifted))
    else:
        store(out, row, column, where_positive(load(other, row, column), value))


@kernel
def multiply(rule, a, b, other, out):
    """Multiplies a (R, S), the corner of a larger array perhaps, by b (S, C), whole vectors of columns.

    ADD adds it to out (R, C); RELU sets out to relu(the product + other (1, C)); WHERE_POSITIVE to the product where
    other (R, C) is positive.
    """
    size, (rows, width) = len(b), out.shape
    whole = rows - rows % ROWS
    for r in range(0, whole, ROWS):
        # Slices, since a row's number known beforehand needs no multiplication
        left, others, block = a[r : r + ROWS], other[0 if rule == RELU else r :], out[r : r + ROWS]
        for column in range(0, width, WIDTH):
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zeros()
            for s in range(size):
                x = load(b, s, column)
                s0, s1 = madd(left[0, s], x, s0), madd(left[1, s], x, s1)
                s2, s3 = madd(left[2, s], x, s2), madd(left[3, s], x, s3)
                s4, s5 = madd(left[4, s], x, s4), madd(left[5, s], x, s5)
                s6, s7 = madd(left[6, s], x, s6), madd(left[7, s], x, s7)
            finish(rule, s0, others, block, 0, column)
            finish(rule, s1, others, block, 1, column)
            finish(rule, s2, others, block, 2, column)
            finish(rule, s3, others, block, 3, column)
            finish(rule, s4, others, block, 4, column)
            finish(rule, s5, others, block, 5, column)
            finish(rule, s6, others, block, 6, column)
            finish(rule, s7, others, block, 7, column)
    for r in range(whole, rows):
        for column in range(0, width, WIDTH):
            value = zeros()
            for s in range(size):
                value = madd(a[r, s], load(b, s, column), value)
            finish(rule, value, other, out, r, column)


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
        biases = tower.biases[bias_at : bias_at + above].reshape(1, above)
        multiply(RELU, x, tower.turned[weight_at : weight_at + size * above].reshape(size, above), biases, out)
        at, weight_at, bias_at = at + width, weight_at + size * above, bias_at + above


@kernel
def tower_backward(tower, hidden, gradients, num_rows, count, weight_gradients, bias_gradients):
    """Fills gradients, shaped as hidden, from the last layer's down, and adds those of weights and biases.

    A layer's are by its sums, before its relu; those of weights and biases are laid out as the tower's.
    """
    at, weight_at, bias_at = len(hidden) // num_rows, len(tower.weights), len(tower.biases)
    at -= padded(tower.widths[-1])
    one = np.float32(1.0)
    for layer in range(len(tower.widths) - 2, -1, -1):
        rows, width, height = tower.widths[layer + 1], padded(tower.widths[layer]), padded(tower.widths[layer + 1])
        above = layer_of(gradients, num_rows, at, height, count)
        at, weight_at, bias_at = at - width, weight_at - rows * width, bias_at - height
        x, below = layer_of(hidden, num_rows, at, width, count), layer_of(gradients, num_rows, at, width, count)
        own_gradients = weight_gradients[weight_at : weight_at + rows * width].reshape(rows, width)
        multiply(ADD, above.T, x, own_gradients, own_gradients)
        biases = bias_gradients[bias_at : bias_at + height].reshape(1, height)
        for column in range(0, height, WIDTH):
            even, odd = load(biases, 0, column), zeros()
            for r in range(0, count, 2):
                even, odd = madd(one, load(above, r, column), even), madd(one, load(above, r + 1, column), odd)
            store(biases, 0, column, madd(one, odd, even))
        weights = tower.weights[weight_at : weight_at + rows * width].reshape(rows, width)
        multiply(WHERE_POSITIVE, above, weights, x, below)
