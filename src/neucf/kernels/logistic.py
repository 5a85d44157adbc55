"""The logistic loss and its gradient by polynomials, inline: a call into the C library would spill every register."""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import kernel

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_LOG2_E = np.float32(1.4426950408889634)
# exp(-87) is the least normal power
_FAR = np.float32(87.0)
# 2^f = sum_k E_k f^k within 3e-9 for |f| <= 1/2, and ln(1+t) = t sum_k L_k t^k within 2e-8 for 0 <= t <= 1: both
# interpolated at Chebyshev's points
_E1, _E2, _E3 = np.float32(6.93147207e-1), np.float32(2.40226509e-1), np.float32(5.55032723e-2)
_E4, _E5, _E6 = np.float32(9.61805668e-3), np.float32(1.34004282e-3), np.float32(1.54614447e-4)
_L0, _L1, _L2 = np.float32(9.99999940e-1), np.float32(-4.99994457e-1), np.float32(3.33181202e-1)
_L3, _L4, _L5 = np.float32(-2.48353988e-1), np.float32(1.90768808e-1), np.float32(-1.36022478e-1)
_L6, _L7, _L8 = np.float32(7.75160864e-2), np.float32(-2.90740654e-2), np.float32(5.12610190e-3)


@kernel
def logistic(x):
    """Returns (sigmoid(-x), log(1 + exp(-x))) of a float32, within 2e-7 of 1 and of the larger of 1 and -x."""
    power = max(-abs(x), -_FAR) * _LOG2_E
    whole = np.floor(power + _HALF)
    f = power - whole
    fraction = _ONE + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    # A float32 whose exponent is `whole` and whose other bits are 0
    t = fraction * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    log = t * (_L0 + t * (_L1 + t * (_L2 + t * (_L3 + t * (_L4 + t * (_L5 + t * (_L6 + t * (_L7 + t * _L8))))))))
    # Comparing sends a NaN on into the loss
    return (t if x >= _ZERO else _ONE) / (_ONE + t), log + (_ZERO if x >= _ZERO else -x)
