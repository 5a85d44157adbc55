"""What an experiment chooses by: the metrics of a protocol, and one of them for epochs and settings alike."""

from __future__ import annotations

from collections.abc import Iterable

from neucf.evaluation.metrics import METRICS, SAMPLED
from neucf.models import MODELS
from neucf.models.config import unknown_name
from neucf.plan import KS


def metric_names(protocol: str, ks: Iterable[int]) -> list[str]:
    """Returns the names of the metrics that a protocol gives at these ks."""
    if protocol == "sampled":
        return [*(f"{name}@{k}" for k in sorted(ks) for name in SAMPLED), "mrr"]
    return [f"{name}@{k}" for k in sorted(ks) for name in METRICS]


def k_of(metric: str) -> int:
    """Returns the length of the lists that a metric such as ndcg@20 is of."""
    return int(metric.partition("@")[2])


def at_k(names: Iterable[str]) -> list[str]:
    """Returns the metrics of lists of some length, by which alone anything is chosen: all but the mrr of candidates."""
    return [name for name in names if "@" in name]


def choosing(model: str, select: str, protocol: str) -> dict[str, str]:
    """Returns the settings by which a model chooses its epoch as the experiment chooses; none without epochs."""
    fields = MODELS[model].config_class.model_fields
    return {"metric": select, "metric_protocol": protocol} if "metric" in fields else {}


def ks_of(metric: str, protocol: str) -> tuple[int, ...]:
    """Returns the ks to report where a metric chooses; raises ConfigError unless the protocol gives it."""
    k = metric.partition("@")[2]
    ks = tuple(sorted({*KS, int(k)} if k.isdecimal() else KS))
    known = at_k(metric_names(protocol, ks))
    if metric not in known or metric.endswith("@0"):
        raise unknown_name("metric", metric, known, f"metric of the {protocol} protocol at a k of at least 1")
    return ks
