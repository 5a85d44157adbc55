"""Stochastic gradient descent for inner-product models: one positive and its own negatives a step.

Random access to memory is what costs. Users are visited in shuffled blocks, pairs shuffled inside a block, so that
a block's user rows and positives stay in cache; negatives are drawn some pairs ahead, so that their rows are on the
way when they are needed. Several threads update shared tables without locks (Niu et al. 2011, Hogwild): the result
then varies from run to run; one thread is bit-reproducible.

Kernels take a table and a row, not the row: a view counts references, which threads would fight over.
"""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import inlined, kernel, prefetch
from neucf.kernels.logistic import logistic
from neucf.kernels.random import below, stream
from neucf.kernels.sampling import uniform_negative

BPR, BCE = 0, 1
# Pairs whose rows are asked for before they are needed.
AHEAD = 4
# Floats of a row that are asked for; the processor itself fetches what follows them.
FETCHED, LINE = 128, 16


@inlined
def score(user_factors, user, item_factors, item_bias, item):
    """Returns a pair's logit."""
    total = np.float32(0.0)
    for d in range(item_factors.shape[1]):
        total += user_factors[user, d] * item_factors[item, d]
    return total + item_bias[item]


@inlined
def best_of(user_factors, user, item_factors, item_bias, drawn, slot, first, last):
    """Returns the best scored of drawn[slot, first:last], the last of equals.

    Four are scored in one pass, so that the user's row is loaded once for them and their sums overlap; the last item
    fills up the last four.
    """
    best, highest = drawn[slot, first], np.float32(-np.inf)
    for draw in range(first, last, 4):
        a, b = drawn[slot, draw], drawn[slot, min(draw + 1, last - 1)]
        c, d = drawn[slot, min(draw + 2, last - 1)], drawn[slot, min(draw + 3, last - 1)]
        of_a, of_b, of_c, of_d = item_bias[a], item_bias[b], item_bias[c], item_bias[d]
        for k in range(item_factors.shape[1]):
            value = user_factors[user, k]
            of_a += value * item_factors[a, k]
            of_b += value * item_factors[b, k]
            of_c += value * item_factors[c, k]
            of_d += value * item_factors[d, k]
        # Comparing sends a NaN on into the loss
        if not of_b <= of_a:
            a, of_a = b, of_b
        if not of_d <= of_c:
            c, of_c = d, of_d
        if not of_c <= of_a:
            a, of_a = c, of_c
        if not of_a <= highest:
            best, highest = a, of_a
    return best


@inlined
def bpr_step(user_factors, user, item_factors, item_bias, use_bias, positive, negative, lr, reg):
    """One step of SGD on one triple, in one pass over its rows; returns the loss before it, penalty excluded.

    Minimises -ln s(x_i - x_j) + reg/2 (|p|^2 + |q_i|^2 + |q_j|^2) (Rendle et al. 2009, eq. 4).
    """
    size = item_factors.shape[1]
    margin = np.float32(0.0)
    for d in range(size):
        margin += user_factors[user, d] * (item_factors[positive, d] - item_factors[negative, d])
    if use_bias:
        margin += item_bias[positive] - item_bias[negative]
    sigmoid, loss = logistic(margin)
    move, keep = lr * sigmoid, np.float32(1.0) - lr * reg
    for d in range(size):
        p, q, r = user_factors[user, d], item_factors[positive, d], item_factors[negative, d]
        user_factors[user, d] = keep * p + move * (q - r)
        item_factors[positive, d] = keep * q + move * p
        item_factors[negative, d] = keep * r - move * p
    if use_bias:
        item_bias[positive] = keep * item_bias[positive] + move
        item_bias[negative] = keep * item_bias[negative] - move
    return loss


@kernel
def step(user_factors, user, item_factors, item_bias, use_bias, items, gradients, shift, loss_kind, lr, reg):
    """One step of SGD on one positive and its N negatives; returns the loss before it, penalty excluded.

    items (1+N,) holds the positive first; gradients (1+N,) and shift (D,) are scratch. Minimises, with M = N for BPR
    and 1 + N for BCE,
        BPR: 1/M sum_j [-ln s(x_i - x_j) + reg/2 (|p|^2 + |q_i|^2 + |q_j|^2)]   (Rendle et al. 2009, eq. 4)
        BCE: 1/M sum_k [-ln s(+-x_k) + reg/2 (|p|^2 + |q_k|^2)]                 (He et al. 2017, eq. 7)
    A negative that stands there twice is moved twice, and the user by both rows that this gives: off from the gradient
    by a part of the rate, which looking for repeats would not be worth.
    """
    num_terms, size = len(items), item_factors.shape[1]
    total = np.float32(0.0)
    # Logits first; in their place the gradients by them, turned downhill
    for k in range(num_terms):
        gradients[k] = score(user_factors, user, item_factors, item_bias, items[k])
    if loss_kind == BPR:
        share = np.float32(1.0) / np.float32(num_terms - 1)
        positive = gradients[0]
        gradients[0] = np.float32(0.0)
        for k in range(1, num_terms):
            sigmoid, loss = logistic(positive - gradients[k])
            gradients[k] = -share * sigmoid
            gradients[0] += share * sigmoid
            total += share * loss
    else:
        share = np.float32(1.0) / np.float32(num_terms)
        for k in range(num_terms):
            sign = np.float32(1.0) if k == 0 else np.float32(-1.0)
            sigmoid, loss = logistic(sign * gradients[k])
            gradients[k] = sign * share * sigmoid
            total += share * loss
    for d in range(size):
        shift[d] = -reg * user_factors[user, d]
    for k in range(num_terms):
        item, gradient = items[k], gradients[k]
        decay = reg if (k == 0 and loss_kind == BPR) else reg * share
        for d in range(size):
            value = item_factors[item, d]
            shift[d] += gradient * value
            item_factors[item, d] = value + lr * (gradient * user_factors[user, d] - decay * value)
        if use_bias:
            item_bias[item] += lr * (gradient - decay * item_bias[item])
    for d in range(size):
        user_factors[user, d] += lr * shift[d]
    return total


@kernel
def pairs_of(order, indptr, block, block_size, num_items):
    """Returns how many pairs a block has; users who have every item are skipped."""
    total = 0
    for x in range(block * block_size, min((block + 1) * block_size, len(order))):
        count = indptr[order[x] + 1] - indptr[order[x]]
        total += count if count < num_items else 0
    return total


@kernel
def sweep(
    order, block_size, first, last, known, user_factors, item_factors, item_bias, use_bias, num_negatives,
    hardness, loss_kind, lr_from, lr_to, reg, seed, epoch,
):  # fmt: skip
    """Visits every pair of the blocks first..last - 1 once; returns (summed loss, pairs visited).

    order (U,) holds the users in visiting order, known the training matrix; user_factors (U, D), item_factors (I, D)
    and item_bias (I,) are updated in place. The rate goes from lr_from to lr_to over all blocks of the epoch. Each
    negative is the best scored of `hardness` uniform draws that avoid the user's positives; users who have every item
    are skipped.
    """
    indptr, positives, bits = known
    num_items, size = item_factors.shape
    num_blocks = (len(order) + block_size - 1) // block_size
    most = 0
    for block in range(first, last):
        most = max(most, pairs_of(order, indptr, block, block_size, num_items))
    # Unsigned, so that no index is checked for counting from the end
    pair_users, pair_items = np.empty(most, np.uint32), np.empty(most, np.uint32)
    drawn = np.empty((AHEAD, num_negatives * hardness), np.uint32)
    items, gradients = np.empty(1 + num_negatives, np.uint32), np.empty(1 + num_negatives, np.float32)
    shift = np.empty(size, np.float32)
    reg = np.float32(reg)
    summed, visited = 0.0, 0
    for block in range(first, last):
        state = stream(seed, epoch, block)
        lr = np.float32(lr_from + (lr_to - lr_from) * (block / num_blocks))
        num_pairs = 0
        for x in range(block * block_size, min((block + 1) * block_size, len(order))):
            user = order[x]
            if indptr[user + 1] - indptr[user] >= num_items:
                continue
            for row in range(indptr[user], indptr[user + 1]):
                # Fisher-Yates, inside out: shuffled while it is filled.
                state, at = below(state, num_pairs + 1)
                pair_users[num_pairs], pair_items[num_pairs] = pair_users[at], pair_items[at]
                pair_users[at], pair_items[at] = user, positives[row]
                num_pairs += 1
        for x in range(-AHEAD, num_pairs):
            if x >= 0:
                user, slot = pair_users[x], x % AHEAD
                items[0] = pair_items[x]
                for k in range(num_negatives):
                    first_draw = k * hardness
                    items[1 + k] = drawn[slot, first_draw]
                    if hardness > 1:
                        items[1 + k] = best_of(
                            user_factors, user, item_factors, item_bias, drawn, slot, first_draw, first_draw + hardness
                        )
                if loss_kind == BPR and num_negatives == 1:
                    summed += bpr_step(
                        user_factors, user, item_factors, item_bias, use_bias, items[0], items[1], lr, reg
                    )
                else:
                    summed += step(
                        user_factors, user, item_factors, item_bias, use_bias, items, gradients, shift, loss_kind, lr,
                        reg,
                    )  # fmt: skip
            ahead = x + AHEAD
            if ahead < num_pairs:
                slot = ahead % AHEAD
                first_row, last_row = indptr[pair_users[ahead]], indptr[pair_users[ahead] + 1]
                for d in range(0, min(size, FETCHED), LINE):
                    prefetch(item_factors, pair_items[ahead], d)
                for draw in range(num_negatives * hardness):
                    state, item = uniform_negative(state, num_items, positives, bits, first_row, last_row)
                    drawn[slot, draw] = item
                    for d in range(0, min(size, FETCHED), LINE):
                        prefetch(item_factors, item, d)
        visited += num_pairs
    return summed, visited
