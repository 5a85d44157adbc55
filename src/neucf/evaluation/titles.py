"""How metrics and protocols are called in the titles of tables and plots."""

from __future__ import annotations

_METRICS = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP"}
# By protocol, what summaries show, at one k; files hold every metric.
SUMMARISED = {"full": ("ndcg", "recall"), "sampled": ("ndcg", "hit")}


def metric_title(key: str) -> str:
    """Returns nDCG@20 for ndcg@20."""
    name, at, k = key.partition("@")
    return f"{_METRICS.get(name, name.capitalize())}{at}{k}"


def part_title(part: str) -> str:
    """Returns what tables and plots call a part of a split."""
    return "validation" if part == "valid" else part


def protocol_title(protocol: str, on: str, ties: str | None) -> str:
    """Returns what every table of metrics says of itself; `ties` is None where nothing was measured."""
    broken = f" ({ties} ties)" if ties and protocol == "sampled" else ""
    return f"{'full ranking' if protocol == 'full' else 'sampled candidates'}{broken}, {part_title(on)} part"
