"""Judging a model: rankings, metrics, protocols, statistics."""

from __future__ import annotations

from collections.abc import Sequence

from neucf.checks import checked_seed
from neucf.data.splits import Split
from neucf.errors import ConfigError
from neucf.evaluation.protocols import Evaluation, full_ranking, sampled_candidates
from neucf.recommender import Recommender


def evaluate(
    model: Recommender,
    split: Split,
    on: str = "test",
    protocol: str = "full",
    ks: Sequence[int] = (20,),
    *,
    seed: int = 0,
    threads: int | None = None,
    ties: str = "average",
) -> Evaluation:
    """Judges a fitted model on one part of its split.

    Args:
        model: The model.
        split: The split it was trained on.
        on: `valid` or `test`.
        protocol: `full`, the whole catalogue ranked, or `sampled`, each held-out item among sampled candidates.
        ks: List lengths.
        seed: Orders ties in full ranking, draws candidates in the sampled protocol.
        threads: Thread count; None for every core.
        ties: The rank of tied candidates in the sampled protocol: `average`, `pessimistic` or `optimistic`.

    Raises:
        ConfigError: If an argument is out of range.
        DataError: If the split has no such part.
        TrainingError: If a score is not finite.
    """
    seed = checked_seed(seed)
    if protocol == "full":
        return full_ranking(model, split, on=on, ks=ks, seed=seed, threads=threads)
    if protocol == "sampled":
        return sampled_candidates(model, split, on=on, ks=ks, ties=ties, seed=seed, threads=threads)
    raise ConfigError(f"`protocol` must be full or sampled; got {protocol!r}.")


__all__ = ["Evaluation", "evaluate", "full_ranking", "sampled_candidates"]
