"""Metrics for Prometheus, in a registry of their own; labels never name a user or an item."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What the service counts."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._registry = registry
        self.requests = Counter(
            "neucf_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "neucf_http_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=registry
        )
        self.in_flight = Gauge("neucf_http_requests_in_flight", "Requests under way.", registry=registry)
        self.shed = Counter("neucf_http_requests_shed", "Requests told to come back later.", registry=registry)
        self.batch = Histogram(
            "neucf_batch_size", "Requests ranked together.", ("lane",), buckets=_SIZES, registry=registry
        )
        self.events = Counter("neucf_events", "Events posted, by what became of them.", ("result",), registry=registry)
        self.reloads = Counter("neucf_model_reloads", "Reloads of the run.", ("result",), registry=registry)
        self.loaded = Gauge("neucf_model_loaded_timestamp_seconds", "When the run was loaded.", registry=registry)

    def text(self) -> bytes:
        """Returns all of it in Prometheus' text format."""
        return generate_latest(self._registry)
