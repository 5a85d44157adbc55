"""Weighted least squares, row by row: a half step of implicit alternating least squares.

Rows are independent, so the result is the same for any number of threads.
"""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import COMPILED, kernel

# Floats of gathered rows a call may hold, 16 MiB; longer lists are gathered anew by every pass.
_ROOM = 1 << 22
# Of the residual's first squared length, in the preconditioner's norm.
_CONVERGED = np.float32(1e-12)


@kernel
def gather(table, indices, start, stop, rows):
    """Copies the table's rows indices[start:stop] side by side, so that passes over them stay in cache."""
    size = table.shape[1]
    for x in range(start, stop):
        source, target = table[indices[x]], rows[x - start]
        for k in range(size):
            target[k] = source[k]


@kernel
def first_pass(rows, count, weights, x, gradient, curve):
    """Adds sum_i w_i (1 - <x, y_i>) y_i to gradient (D,), which points downhill, and sum_i w_i y_i^2 to curve (D,).

    Returns sum_i w_i (1 - <x, y_i>)^2. y_i are the first `count` of rows. Four at a time: gradient and curve are then
    read and written a quarter as often.
    """
    one, size = np.float32(1.0), len(x)
    loss = 0.0
    fours = count // 4 * 4
    for i in range(0, fours, 4):
        a, b, c, d = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        error_a, error_b, error_c, error_d = one, one, one, one
        for k in range(size):
            error_a -= a[k] * x[k]
            error_b -= b[k] * x[k]
            error_c -= c[k] * x[k]
            error_d -= d[k] * x[k]
        weight_a, weight_b, weight_c, weight_d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        pull_a, pull_b, pull_c, pull_d = weight_a * error_a, weight_b * error_b, weight_c * error_c, weight_d * error_d
        loss += pull_a * error_a + pull_b * error_b + pull_c * error_c + pull_d * error_d
        for k in range(size):
            gradient[k] += pull_a * a[k] + pull_b * b[k] + pull_c * c[k] + pull_d * d[k]
        for k in range(size):
            curve[k] += (
                weight_a * a[k] * a[k] + weight_b * b[k] * b[k] + weight_c * c[k] * c[k] + weight_d * d[k] * d[k]
            )
    for i in range(fours, count):
        a = rows[i]
        error_a = one
        for k in range(size):
            error_a -= a[k] * x[k]
        loss += weights[i] * error_a * error_a
        for k in range(size):
            gradient[k] += weights[i] * error_a * a[k]
            curve[k] += weights[i] * a[k] * a[k]
    return loss


@kernel
def product_pass(rows, count, weights, p, product):
    """Adds sum_i w_i <p, y_i> y_i to product (D,); y_i are the first `count` of rows, taken four at a time."""
    zero, size = np.float32(0.0), len(p)
    fours = count // 4 * 4
    for i in range(0, fours, 4):
        a, b, c, d = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        share_a, share_b, share_c, share_d = zero, zero, zero, zero
        for k in range(size):
            share_a += a[k] * p[k]
            share_b += b[k] * p[k]
            share_c += c[k] * p[k]
            share_d += d[k] * p[k]
        share_a *= weights[i]
        share_b *= weights[i + 1]
        share_c *= weights[i + 2]
        share_d *= weights[i + 3]
        for k in range(size):
            product[k] += share_a * a[k] + share_b * b[k] + share_c * c[k] + share_d * d[k]
    for i in range(fours, count):
        a = rows[i]
        share_a = zero
        for k in range(size):
            share_a += a[k] * p[k]
        for k in range(size):
            product[k] += weights[i] * share_a * a[k]


def _solve(first, last, indptr, indices, weights, table, shared, reg, out, steps):
    """Brings the rows first..last - 1 of `out` to, or towards, the minimum of each one's own objective, in place.

        f(x) = sum_i w_i (1 - <x, y_i>)^2 + sum_k (shared_k + reg) x_k^2

    by conjugate gradients, preconditioned by the diagonal, from where the rows stand. Each step lowers f, by a known
    amount; two or three come close to the minimum, where as many dimensions are known to reach it.

    Args:
        first: The first row.
        last: One more than the last row.
        indptr: (R+1,) where each row's positives start.
        indices: (nnz,) the rows y_i of the table.
        weights: (nnz,) w_i, not negative.
        table: (C, D) in a basis in which its Gram matrix is diagonal.
        shared: (D,) that diagonal times the weight of what is unobserved.
        reg: (R,) L2 strength of each row.
        out: (R, D).
        steps: At most this many conjugate gradient steps a row.

    Returns:
        The sum of f over the rows, as they are left.
    """
    size = table.shape[1]
    longest = 1
    for row in range(first, last):
        longest = max(longest, indptr[row + 1] - indptr[row])
    room = min(longest, max(_ROOM // size, 1))
    rows = np.empty((room, size), np.float32)
    ridge, gradient, curve = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    p, product = np.empty(size, np.float32), np.empty(size, np.float32)
    total = 0.0
    for row in range(first, last):
        start, stop, x = indptr[row], indptr[row + 1], out[row]
        if start == stop:
            # Exactly the minimum, so that who has nothing ties everything.
            x[:] = 0
            continue
        loss = 0.0
        for k in range(size):
            ridge[k] = shared[k] + reg[row]
            curve[k] = ridge[k]
            gradient[k] = -ridge[k] * x[k]
            loss += ridge[k] * x[k] * x[k]
        for at in range(start, stop, room):
            end = min(at + room, stop)
            gather(table, indices, at, end, rows)
            loss += first_pass(rows, end - at, weights[at:end], x, gradient, curve)
        residual = np.float32(0.0)
        for k in range(size):
            p[k] = gradient[k] / curve[k]
            residual += gradient[k] * p[k]
        enough = residual * _CONVERGED
        for _ in range(steps):
            if residual <= enough:
                break
            for k in range(size):
                product[k] = ridge[k] * p[k]
            for at in range(start, stop, room):
                end = min(at + room, stop)
                if stop - start > room:
                    gather(table, indices, at, end, rows)
                product_pass(rows, end - at, weights[at:end], p, product)
            curvature = np.float32(0.0)
            for k in range(size):
                curvature += p[k] * product[k]
            length, before = residual / curvature, residual
            loss -= float(length * residual)
            residual = np.float32(0.0)
            for k in range(size):
                x[k] += length * p[k]
                gradient[k] -= length * product[k]
                residual += gradient[k] * gradient[k] / curve[k]
            for k in range(size):
                p[k] = gradient[k] / curve[k] + residual / before * p[k]
        total += loss
    return total


def solve_numpy(first, last, indptr, indices, weights, table, shared, reg, out, steps):
    """The same by numpy, each row's normal equations solved at once whatever `steps`."""
    del steps
    total = 0.0
    for row in range(first, last):
        chosen = slice(indptr[row], indptr[row + 1])
        rows, confidence = table[indices[chosen]], weights[chosen]
        ridge = shared + reg[row]
        out[row] = np.linalg.solve((rows.T * confidence) @ rows + np.diag(ridge), confidence @ rows)
        errors = 1 - rows @ out[row]
        total += float(confidence @ errors**2 + ridge @ out[row] ** 2)
    return total


solve = kernel(_solve) if COMPILED else solve_numpy
