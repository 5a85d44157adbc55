"""Hashes of users and items, by which ties are ordered: the same in every process, on every machine."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


def mix(values: Any) -> Any:
    """Returns the splitmix64 step of uint64 values: a bijection whose output bits all look random."""
    values = values + _STEP
    values = (values ^ (values >> _30)) * _FIRST
    values = (values ^ (values >> _27)) * _SECOND
    return values ^ (values >> _31)


def hash_ids(ids: pl.Series) -> Hashes:
    """Returns stable 64-bit hashes (N,) of external ids: the same in every process, on every machine."""
    if ids.dtype != pl.String:
        hashes: Hashes = mix(ids.to_numpy().astype(np.int64).view(np.uint64))
        return hashes
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in ids.to_list())
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def hash_people(seed: int, ids: Hashes) -> Hashes:
    """Returns (B,) hashes of (seed, id): what an item's hash is combined with to break that person's ties."""
    hashes: Hashes = mix(ids ^ mix(np.array([seed & 0xFFFF_FFFF_FFFF_FFFF], np.uint64)))
    return hashes
