"""What a mini-batch of the NCF family does that is no matrix product: gather, loss, scatter.

logit(u, i) = h . (p_u * q_i) + b_i + k . tower(a_u + c_i) + b, where a = P' W_u and c = Q' W_i are the first layer's
halves, computed once a batch for each of its users and items. A part a net lacks has no columns.
B here counts the positives a thread holds at once.
"""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import kernel

BPR, BCE, SOFTMAX = 0, 1, 2


@kernel
def slopes_of(logits, slopes, items, log_q, loss_kind, temperature):
    """Fills slopes (1+N,) with the loss's derivative by each logit, positive first; returns the loss.

    Both are sums over the positive's own terms; see training.losses for the formulas.
    """
    one, loss = np.float32(1.0), np.float32(0.0)
    count = len(logits)
    if loss_kind == BPR:
        slopes[0] = np.float32(0.0)
        for k in range(1, count):
            margin = logits[0] - logits[k]
            slope = one / (one + np.exp(margin))
            slopes[k] = slope
            slopes[0] -= slope
            loss += np.log1p(np.exp(-abs(margin))) + max(-margin, np.float32(0.0))
    elif loss_kind == BCE:
        for k in range(count):
            x = logits[k] if k == 0 else -logits[k]
            slope = one / (one + np.exp(x))
            slopes[k] = -slope if k == 0 else slope
            loss += np.log1p(np.exp(-abs(x))) + max(-x, np.float32(0.0))
    else:
        largest = np.float32(-np.inf)
        for k in range(count):
            slopes[k] = logits[k] / temperature
            if k > 0:
                slopes[k] -= log_q[items[k]]
            largest = max(largest, slopes[k])
        total = np.float32(0.0)
        first = slopes[0]
        for k in range(count):
            slopes[k] = np.exp(slopes[k] - largest)
            total += slopes[k]
        loss = np.log(total) + largest - first
        for k in range(count):
            slopes[k] /= total * temperature
        slopes[0] -= one / temperature
    return loss


@kernel
def gather(rows, users, user_slots, items, item_slots, p, q, h, item_bias, use_bias, a, c, bias, logits, first):
    """Fills logits (B, 1+N), the tower's share excluded, and first (B, 1+N, D1), the first hidden layer after its relu.

    rows (B,) are places in users and items (., 1+N), the positive first, and in their slots. p (U, D), q (I, D),
    h (D,), item_bias (I,); a and c (S, D1) by slot: one for each user, and each item, the batch holds.
    """
    size, width = p.shape[1], a.shape[1]
    scaled = np.empty(size, np.float32)
    for x in range(len(rows)):
        user = users[rows[x]]
        own, user_half = items[rows[x]], a[user_slots[rows[x]]]
        for d in range(size):
            scaled[d] = h[d] * p[user, d]
        for k in range(len(own)):
            logit = bias
            factors = q[own[k]]
            for d in range(size):
                logit += scaled[d] * factors[d]
            if use_bias:
                logit += item_bias[own[k]]
            logits[x, k] = logit
            item_half, out = c[item_slots[rows[x], k]], first[x, k]
            for d in range(width):
                out[d] = max(user_half[d] + item_half[d], np.float32(0.0))


@kernel
def losses(rows, items, log_q, loss_kind, temperature, scale, logits, slopes):
    """Fills slopes (B, 1+N) with the scaled loss's derivative by each logit; returns the summed loss, unscaled."""
    summed = 0.0
    for x in range(len(rows)):
        summed += slopes_of(logits[x], slopes[x], items[rows[x]], log_q, loss_kind, temperature)
        for k in range(slopes.shape[1]):
            slopes[x, k] *= scale
    return summed


@kernel
def scatter(
    rows, users, user_slots, items, item_slots, slopes, first, first_slopes, user_share, positive_share, negative_share,
    p, q, h, use_bias, p_slopes, a_slopes, user_counts, q_slopes, c_slopes, item_bias_slopes, item_counts, h_slopes,
):  # fmt: skip
    """Adds the gradients of positives `rows` to the tables' slopes, and each row's share of the penalty to the counts.

    slopes (B, 1+N) by logit, first_slopes (B, 1+N, D1) by first hidden layer after its relu. Rows given to threads
    that run at once must not share a user; all that is by item, and h_slopes, is each thread's own.
    """
    size, width = p.shape[1], first.shape[2]
    scaled, gathered = np.empty(size, np.float32), np.empty(size, np.float32)
    for x in range(len(rows)):
        user = users[rows[x]]
        own, user_half = items[rows[x]], a_slopes[user_slots[rows[x]]]
        user_counts[user] += user_share
        for d in range(size):
            scaled[d] = h[d] * p[user, d]
            gathered[d] = np.float32(0.0)
        for k in range(len(own)):
            item, slope = own[k], slopes[x, k]
            item_counts[item] += positive_share if k == 0 else negative_share
            factors, factor_slopes = q[item], q_slopes[item]
            for d in range(size):
                gathered[d] += slope * factors[d]
                factor_slopes[d] += slope * scaled[d]
            if use_bias:
                item_bias_slopes[item] += slope
            active, delta, item_half = first[x, k], first_slopes[x, k], c_slopes[item_slots[rows[x], k]]
            for d in range(width):
                passed = delta[d] if active[d] > np.float32(0.0) else np.float32(0.0)
                user_half[d] += passed
                item_half[d] += passed
        user_slopes = p_slopes[user]
        for d in range(size):
            user_slopes[d] += h[d] * gathered[d]
            h_slopes[d] += p[user, d] * gathered[d]
