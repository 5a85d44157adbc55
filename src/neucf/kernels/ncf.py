"""A mini-batch of the NCF family: logits, losses and gradients of some of its positives, in one pass.

logit(u, i) = h . (p_u * q_i) + b_i + k . tower(a_u + c_i) + b, where a = P' W_u and c = Q' W_i are the first layer's
halves, computed once a batch for each of its users and items. A part a net lacks has no columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neucf.kernels.compile import kernel
from neucf.kernels.ncf_loss import fill_gradients
from neucf.kernels.tower import ROWS, layer_of, padded, tower_backward, tower_forward, tower_of, zeros_aligned
from neucf.kernels.vectors import WIDTH, load, madd, store, total, where_positive, zeros


class Places(NamedTuple):
    """Where a batch's rows lie: users (B,) and their slots in a; items (B, 1+N), positive first, and theirs in c."""

    users: np.ndarray
    user_slots: np.ndarray
    items: np.ndarray
    item_slots: np.ndarray


class Values(NamedTuple):
    """What a batch reads: p (U, D), q (I, D), h (D,), item_bias (I,); a, c (S, D1) by slot; the tower; bias.

    a, c and top have zeros up to whole vectors.
    """

    p: np.ndarray
    q: np.ndarray
    h: np.ndarray
    item_bias: np.ndarray
    a: np.ndarray
    c: np.ndarray
    # The layers after the first, as `tower_of` takes them; widths begins with D1
    weights: np.ndarray
    biases: np.ndarray
    widths: np.ndarray
    top: np.ndarray
    bias: np.float32


class Gradients(NamedTuple):
    """What a batch adds up, shapes as in Values; counts (U,), (I,) hold the rows' shares of the penalty; bias (1,).

    weights and biases are laid out as those of kernels.tower.Tower.
    """

    p: np.ndarray
    q: np.ndarray
    h: np.ndarray
    item_bias: np.ndarray
    a: np.ndarray
    c: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    top: np.ndarray
    bias: np.ndarray
    user_counts: np.ndarray
    item_counts: np.ndarray


@kernel
def gather(first, last, places, values, logits, hidden):
    """Fills logits (B(1+N),) of positives first..last - 1, and hidden (B(1+N), D1) with their first hidden layer."""
    users, user_slots, items, item_slots = places
    p, q, h, item_bias, a, c = values.p, values.q, values.h, values.item_bias, values.a, values.c
    size, count = p.shape[1], items.shape[1]
    one = np.float32(1.0)
    scaled = np.empty(size, np.float32)
    for x in range(first, last):
        user, slot, row = users[x], user_slots[x], (x - first) * count
        for d in range(size):
            scaled[d] = h[d] * p[user, d]
        for k in range(count):
            item = items[x, k]
            logit = values.bias
            for d in range(size):
                logit += scaled[d] * q[item, d]
            if len(item_bias):
                logit += item_bias[item]
            logits[row + k] = logit
        for column in range(0, hidden.shape[1], WIDTH):
            half = load(a, slot, column)
            for k in range(count):
                y = madd(one, half, load(c, item_slots[x, k], column))
                store(hidden, row + k, column, where_positive(y, y))


@kernel
def add_tops(top, out, logits):
    """Adds k . out, the last layer (B(1+N), D_last) of the tower, to the logits; k is top (1, D_last)."""
    for row in range(len(out)):
        summed = zeros()
        for column in range(0, out.shape[1], WIDTH):
            summed = madd(load(out, row, column), load(top, 0, column), summed)
        logits[row] += total(summed)


@kernel
def top_gradients(top, out, gradients, out_gradients, sums):
    """Fills out_gradients, shaped as out, from gradients (B(1+N),) by logit; adds those by k to sums (1, D_last)."""
    for column in range(0, out.shape[1], WIDTH):
        weights, summed, nothing = load(top, 0, column), load(sums, 0, column), zeros()
        for row in range(len(out)):
            x = load(out, row, column)
            summed = madd(gradients[row], x, summed)
            store(out_gradients, row, column, where_positive(x, madd(gradients[row], weights, nothing)))
        store(sums, 0, column, summed)


@kernel
def scatter(first, last, places, values, sums, terms, gradients, half_gradients):
    """Adds the gradients of all that is by user or item, and the rows' shares of the penalty.

    gradients (B(1+N),) are by logit, half_gradients (B(1+N), D1) by the first layer.
    """
    users, user_slots, items, item_slots = places
    p, q, h = values.p, values.q, values.h
    p_gradients, q_gradients, h_gradients, item_bias, a, c = sums.p, sums.q, sums.h, sums.item_bias, sums.a, sums.c
    size, count = p.shape[1], items.shape[1]
    one, bias = np.float32(1.0), np.float32(0.0)
    scaled, gathered = np.empty(size, np.float32), np.empty(size, np.float32)
    for x in range(first, last):
        user, slot, row = users[x], user_slots[x], (x - first) * count
        sums.user_counts[user] += terms.user_share
        for d in range(size):
            scaled[d] = h[d] * p[user, d]
            gathered[d] = np.float32(0.0)
        for k in range(count):
            item, gradient = items[x, k], gradients[row + k]
            sums.item_counts[item] += terms.positive_share if k == 0 else terms.negative_share
            bias += gradient
            for d in range(size):
                gathered[d] += gradient * q[item, d]
            for d in range(size):
                q_gradients[item, d] += gradient * scaled[d]
            if len(item_bias):
                item_bias[item] += gradient
        for d in range(size):
            p_gradients[user, d] += h[d] * gathered[d]
            h_gradients[d] += p[user, d] * gathered[d]
        for column in range(0, half_gradients.shape[1], WIDTH):
            summed = load(a, slot, column)
            for k in range(count):
                other, own = item_slots[x, k], load(half_gradients, row + k, column)
                summed = madd(one, own, summed)
                store(c, other, column, madd(one, own, load(c, other, column)))
            store(a, slot, column, summed)
    sums.bias[0] += bias


@kernel
def visit(first, last, chunk, places, values, sums, terms):
    """Adds what positives first..last - 1 bring to the sums, `chunk` at a time; returns their loss, unscaled.

    Calls that run at once must not share a user; all else in `sums` is each one's own.
    """
    count, height = places.items.shape[1], 0
    for width in values.widths:
        height += padded(width)
    width, last_width = values.a.shape[1], len(values.top)
    num_rows = (chunk * count + ROWS - 1) // ROWS * ROWS
    logits, gradients = zeros_aligned(num_rows), zeros_aligned(num_rows)
    # A layer after the other, (num_rows, D_l) each
    hidden, hidden_gradients = zeros_aligned(num_rows * height), zeros_aligned(num_rows * height)
    tower = tower_of(values.weights, values.biases, values.widths)
    top, top_sums = values.top.reshape(1, last_width), sums.top.reshape(1, last_width)
    loss = 0.0
    for start in range(first, last, chunk):
        stop = min(start + chunk, last)
        num_logits = (stop - start) * count
        # Rows past the last hold an earlier chunk's numbers, which a gradient of zero switches off
        rows = (num_logits + ROWS - 1) // ROWS * ROWS
        bottom = layer_of(hidden, num_rows, 0, width, rows)
        gather(start, stop, places, values, logits, bottom)
        out = layer_of(hidden, num_rows, height - last_width, last_width, rows)
        out_gradients = layer_of(hidden_gradients, num_rows, height - last_width, last_width, rows)
        if height:
            tower_forward(tower, hidden, num_rows, rows)
            add_tops(top, out, logits)
        loss += fill_gradients(start, stop, places.items, terms, logits, gradients)
        gradients[num_logits:] = np.float32(0.0)
        if height:
            top_gradients(top, out, gradients, out_gradients, top_sums)
            tower_backward(tower, hidden, hidden_gradients, num_rows, rows, sums.weights, sums.biases)
        scatter(
            start, stop, places, values, sums, terms, gradients, layer_of(hidden_gradients, num_rows, 0, width, rows)
        )
    return loss
