"""One side's half of a propagation over the graph of users and items: a sparse matrix times a table, row by row."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from neucf.kernels.compile import COMPILED, kernel


def _spread_rows(first, last, indptr, indices, left, right, table, out):
    """Sets out[r] = left[r] * sum_c right[c] table[c] for rows first..last - 1, c over indices[indptr[r]:indptr[r+1]].

    left (R,), right (C,), table (C, D), out (R, D). Rows are independent: threads change no bit.
    """
    size = table.shape[1]
    for row in range(first, last):
        target = out[row]
        for d in range(size):
            target[d] = np.float32(0.0)
        for x in range(indptr[row], indptr[row + 1]):
            scale, source = right[indices[x]], table[indices[x]]
            for d in range(size):
                target[d] += scale * source[d]
        for d in range(size):
            target[d] *= left[row]


def spread_rows_scipy(first, last, indptr, indices, left, right, table, out):
    """The same by scipy, where numba is absent."""
    chosen = slice(indptr[first], indptr[last])
    columns = indices[chosen]
    part = csr_array((right[columns], columns, indptr[first : last + 1] - indptr[first]), (last - first, len(table)))
    out[first:last] = left[first:last, None] * (part @ table)


spread_rows = kernel(_spread_rows) if COMPILED else spread_rows_scipy
