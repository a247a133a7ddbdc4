"""What the HTTP interface counts, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Metrics:
    """Counters of one application.

    Args:
        uploads: Tells how many uploads are at work.
        upload_bytes: Tells how many bytes they have.
    """

    def __init__(self, uploads: Callable[[], float], upload_bytes: Callable[[], float]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        labels = ["endpoint", "status"]
        self._requests = Counter("audiotag_requests", "Requests that were answered", labels, registry=registry)
        self._seconds = Histogram(
            "audiotag_request_seconds", "How long they took", ["endpoint"], registry=registry, buckets=_BUCKETS
        )
        self._sound = Counter("audiotag_sound_seconds", "Sound that was heard", registry=registry)
        Gauge("audiotag_uploads", "Uploads at work", registry=registry).set_function(uploads)
        Gauge("audiotag_upload_bytes", "What they have on disk", registry=registry).set_function(upload_bytes)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def heard(self, seconds: float) -> None:
        """Count sound."""
        self._sound.inc(seconds)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
