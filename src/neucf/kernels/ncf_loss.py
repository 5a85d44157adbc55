"""The losses of the NCF family and their gradients by logits, for kernels.ncf."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neucf.kernels.compile import kernel
from neucf.kernels.logistic import logistic

BPR, BCE, SOFTMAX = 0, 1, 2


class Terms(NamedTuple):
    """The loss: BPR, BCE or SOFTMAX; log_q (I,) and temperature of the last; its gradients' scale; penalty shares."""

    kind: int
    temperature: np.float32
    log_q: np.ndarray
    scale: np.float32
    user_share: np.float32
    positive_share: np.float32
    negative_share: np.float32


@kernel
def fill_gradients(first, last, items, terms, logits, gradients):
    """Fills gradients (B(1+N),) with those by the logits of positives first..last - 1, and returns the loss.

    Both are sums over each positive's own terms; see training.losses for the formulas.
    """
    count, loss = items.shape[1], np.float32(0.0)
    num_logits = (last - first) * count
    if terms.kind == SOFTMAX:
        for at in range(0, num_logits, count):
            own = gradients[at : at + count]
            loss += softmax_gradients(logits[at : at + count], items[first + at // count], terms, own)
        for lane in range(num_logits):
            gradients[lane] *= terms.scale
        return loss
    # The margins, which the loss wants large; a positive has none by BPR
    for at in range(0, num_logits, count):
        positive = logits[at]
        gradients[at] = positive if terms.kind == BCE else np.float32(np.inf)
        for k in range(at + 1, at + count):
            gradients[k] = (np.float32(0.0) if terms.kind == BCE else positive) - logits[k]
    for lane in range(num_logits):
        sigmoid, soft = logistic(gradients[lane])
        gradients[lane] = sigmoid * terms.scale
        loss += soft
    for at in range(0, num_logits, count):
        gradients[at] = -gradients[at]
        if terms.kind == BPR:
            gradients[at] = np.float32(0.0)
            for k in range(at + 1, at + count):
                gradients[at] -= gradients[k]
    return loss


@kernel
def softmax_gradients(logits, items, terms, gradients):
    """Fills gradients (1+N,) with the softmax loss's by each logit, positive first, and returns the loss."""
    one, largest = np.float32(1.0), np.float32(-np.inf)
    count, temperature = len(logits), terms.temperature
    for k in range(count):
        gradients[k] = logits[k] / temperature
        if k > 0:
            gradients[k] -= terms.log_q[items[k]]
        largest = max(largest, gradients[k])
    summed = np.float32(0.0)
    first = gradients[0]
    for k in range(count):
        gradients[k] = np.exp(gradients[k] - largest)
        summed += gradients[k]
    for k in range(count):
        gradients[k] /= summed * temperature
    gradients[0] -= one / temperature
    return np.log(summed) + largest - first
