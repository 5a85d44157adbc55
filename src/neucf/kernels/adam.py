"""Adam on embedding tables: gradients of several threads summed, penalised, applied and cleared in one pass."""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import kernel


@kernel
def adam_rows(first, last, table, mean, square, gradients, counts, reg, lr, count, lazy):
    """Moves rows first..last - 1 of a table (R, D) by Adam (Kingma and Ba 2015, algorithm 1), and clears `gradients`.

    gradients (T, R, D), or (1, R, D) already summed, and counts (T, R) are each thread's, the latter its rows' shares
    of the penalty reg/2 |row|^2; `count` is the number of steps, this one included. With `lazy`, rows no thread
    touched stay as they are, moments too.
    """
    decay_1, decay_2, eps = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
    # 1 less a decay that is rounded already would be off by one in 80,000
    rest_1, rest_2 = np.float32(0.1), np.float32(0.001)
    rate = np.float32(lr / (1.0 - 0.9**count))
    root = np.float32(1.0 / np.sqrt(1.0 - 0.999**count))
    num_threads, size = gradients.shape[0], table.shape[1]
    gradient = np.empty(size, np.float32)
    for row in range(first, last):
        share = np.float32(0.0)
        for thread in range(counts.shape[0]):
            share += counts[thread, row]
        if share == np.float32(0.0):
            if lazy:
                continue
            for d in range(size):
                mean[row, d] *= decay_1
                square[row, d] *= decay_2
                table[row, d] -= rate * mean[row, d] / (np.sqrt(square[row, d]) * root + eps)
            continue
        for d in range(size):
            gradient[d] = reg * share * table[row, d]
        for thread in range(num_threads):
            if num_threads == 1 or counts[thread, row] != np.float32(0.0):
                for d in range(size):
                    gradient[d] += gradients[thread, row, d]
                    gradients[thread, row, d] = np.float32(0.0)
        for d in range(size):
            mean[row, d] = decay_1 * mean[row, d] + rest_1 * gradient[d]
            square[row, d] = decay_2 * square[row, d] + rest_2 * gradient[d] * gradient[d]
            table[row, d] -= rate * mean[row, d] / (np.sqrt(square[row, d]) * root + eps)
