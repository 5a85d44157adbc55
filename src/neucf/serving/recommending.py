"""recommend: suggestions for known users or new people, in one call."""

from __future__ import annotations

from typing import Any

from scipy.sparse import csr_array

from neucf.artifacts import Run
from neucf.data.dataset import Dataset
from neucf.data.splits import Split
from neucf.models import Model
from neucf.serving.answers import Recommendations
from neucf.serving.filters import EVERYTHING, Filters
from neucf.serving.known import Mask
from neucf.serving.people import are_histories, in_a_row
from neucf.serving.service import Service


def recommend(
    model: Model | Run,
    people: Any,
    k: int = 10,
    *,
    split: Split | None = None,
    dataset: Dataset | None = None,
    mask: Mask = "default",
    filters: Filters = EVERYTHING,
    diversity: float = 0.0,
    threads: int | None = None,
) -> list[Recommendations]:
    """Recommends to known users, or to new people by their histories.

    Args:
        model: A fitted model, which hides what it was trained on, or an opened run, which knows more (see Service).
        people: External user ids; or histories: sequences of external item ids, or a csr matrix (B, I) in the
            catalogue's order.
        k: How many items each.
        split: Of a model: the validation part is hidden too.
        dataset: Of a model: gives titles, and what was rated low or left out, which is hidden too.
        mask: What is never suggested: see Service.
        filters: Which items may be suggested at all.
        diversity: In 0..1: how much each item should differ from those above it; 0 ranks by score alone.
        threads: Thread count; None for every core.

    Returns:
        One answer a person, in the order asked.

    Raises:
        UnknownIdError: At an unknown user or item; names the nearest.
        ConfigError: If `k`, `mask`, `filters` or `diversity` is out of range.
        DataError: If `people` is neither, or `split` or `dataset` has other vocabularies than the model.
    """
    service = Service(model, split=split, dataset=dataset)
    options: dict[str, Any] = {"mask": mask, "filters": filters, "diversity": diversity, "threads": threads}
    people = in_a_row(people, len(service.model.item_ids))
    if isinstance(people, csr_array):
        return service.recommend_histories(people, k, **options)
    if are_histories(people):
        return service.recommend_histories(service.histories(people), k, **options)
    return service.recommend(people, k, **options)
