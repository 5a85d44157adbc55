"""JudgedPart: the part being judged, and what training knows of its users and of the items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.data.filtering import among
from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.data.vocabulary import IntArray
from neucf.errors import ConfigError, DataError
from neucf.evaluation.ranking import top_k
from neucf.evaluation.report import Evaluation, Group
from neucf.recommender import Recommender


@dataclass(frozen=True, slots=True)
class JudgedPart:
    """The part being judged, and what training knows of its users and of the items."""

    model: Recommender
    split: Split
    on: str
    part: Interactions
    history: csr_array | None  # (U, I), for users held out
    activity: npt.NDArray[np.int64]  # (U,) rows known of each user
    popularity: npt.NDArray[np.int64]  # (I,) training rows of each item

    @classmethod
    def of(cls, model: Recommender, split: Split, on: str) -> JudgedPart:
        """Checks the part and counts training rows; raises ConfigError and DataError."""
        if isinstance(model, type) or not hasattr(model, "score"):
            what = model.__name__ if isinstance(model, type) else type(model).__name__
            raise ConfigError(f"`model` must be a fitted model; got {what}. Pass what `fit` or `load` returns.")
        if not isinstance(split, Split):
            raise DataError(f"`split` must be a Split; got {type(split).__name__}. Pass what `split` returns.")
        if on not in ("valid", "test"):
            raise ConfigError(f"`on` must be valid or test; got {on!r}.")
        part = split.valid if on == "valid" else split.test
        if part is None or not len(part):
            raise DataError(f"`split` must hold a {on} part with positives; got none. Split with a share for it.")
        if model.item_ids != part.item_ids or model.user_ids != part.user_ids:
            raise DataError("`split` must share the model's vocabularies; got others. Use the split it was trained on.")
        history = split.valid_history if on == "valid" else split.test_history
        # A model of ours says what it was trained on, which may be validation too
        own = getattr(model, "train", None)
        train = own if isinstance(own, Interactions) else split.train
        activity = train.user_counts()
        if history is not None:
            activity += history.user_counts()
        _check_unseen(train, split, part, on)
        popularity = train.item_counts()
        return cls(model, split, on, part, None if history is None else history.csr(), activity, popularity)

    @property
    def num_items(self) -> int:
        """I, the catalogue."""
        return self.part.num_items

    def evaluation(
        self,
        protocol: str,
        ties: str,
        ks: tuple[int, ...],
        *,
        pairs: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        everyone: Group,
        restricted: Callable[[npt.NDArray[np.bool_]], Group],
        listed: Callable[[], IntArray],
        num_dropped: int = 0,
    ) -> Evaluation:
        """Returns the values with their counts and groups; `pairs` are the relevant users and items (N,)."""
        users, values = everyone
        cold_items = pairs[1][self.popularity[pairs[1]] == 0]
        return Evaluation(
            protocol=protocol,
            on=self.on,
            ties=ties,
            ks=ks,
            users=users,
            values=values,
            num_cold_users=int((self.activity[users] == 0).sum()),
            num_relevant=len(pairs[0]),
            num_cold_relevant=len(cold_items),
            num_cold_items=len(np.unique(cold_items)),
            activity=self.activity,
            popularity=self.popularity,
            restricted=restricted,
            listed=listed,
            num_dropped=num_dropped,
        )

    def lists(self, users: npt.NDArray[np.int64], k: int, seed: int, threads: int | None) -> npt.NDArray[np.int32]:
        """Returns the first k of the catalogue for users (B,), (B, K); -1 where a list ends."""
        histories = None if self.history is None else self.history[users]
        return top_k(
            self.model,
            users,
            min(k, self.num_items),
            histories=histories,
            mask=_mask(self.split, self.on, users) if histories is None else histories,
            seed=seed,
            threads=threads,
        ).items


def pairs_of(part: Interactions) -> IntArray:
    """Returns user * I + item of each row (N,): a pair as one number, of half the bits where all fit."""
    kind = np.dtype(np.int32 if part.num_users * part.num_items < 2**31 else np.int64)
    pairs: IntArray = part.users.astype(kind) * kind.type(part.num_items) + part.items
    return pairs


def _check_unseen(train: Interactions, split: Split, part: Interactions, on: str) -> None:
    """Raises DataError where a model was trained on what it is to be judged by; parts of one split are disjoint."""
    if train is split.train:
        return
    seen = int(among(pairs_of(part).astype(np.int64), pairs_of(train).astype(np.int64)).sum())
    if seen:
        raise DataError(
            f"`split` must hold out what the model was not trained on; {seen:,} of the {len(part):,} {on} rows are "
            "among its training rows. Use the split it was trained on, and on valid the `first_model` of a run that "
            "was trained anew."
        )


def _mask(split: Split, on: str, asked: npt.NDArray[np.int64]) -> csr_array:
    """Returns (U, I) what is hidden from the users asked for: train, and on test valid too."""
    parts = [split.train] if on == "valid" or split.valid is None else [split.train, split.valid]
    num_users, num_items = split.train.num_users, split.train.num_items
    pairs = np.concatenate([pairs_of(part) for part in parts])
    # Picking out rows costs about as much as sorting them.
    if 2 * len(asked) < num_users:
        is_asked = np.zeros(num_users, np.bool_)
        is_asked[asked] = True
        pairs = pairs[np.concatenate([is_asked[part.users] for part in parts])]
    pairs.sort()
    mask = csr_array((num_users, num_items), dtype=np.bool_)
    firsts = np.arange(num_users + 1) * num_items
    # Assigned one by one: the constructor would shrink the offsets to int32.
    mask.indptr = np.searchsorted(pairs, firsts.astype(pairs.dtype))
    mask.indices = (pairs - np.repeat(firsts[:-1].astype(pairs.dtype), np.diff(mask.indptr))).astype(np.int32)
    mask.data = np.ones(len(pairs), np.bool_)
    mask.has_sorted_indices = True
    return mask
