"""What the server has done, for Prometheus to read: counts and times, no names and no texts."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragformer.serve.worker import Worker

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """The server's own registry, so that two servers in one process do not share it."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "ragformer_requests", "Requests", ("path", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "ragformer_request_seconds",
            "Seconds to the end of the response",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.answers = Counter(
            "ragformer_answers", "Answers given", ("outcome",), registry=self._registry
        )
        self.first_piece = Histogram(
            "ragformer_first_piece_seconds",
            "Seconds from the request to the first words of an answer",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Queues(workers))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Queues(Collector):
    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._workers = workers

    def collect(self) -> list[Metric]:
        depth = GaugeMetricFamily(
            "ragformer_queue", "Jobs that wait or are worked on", labels=["worker"]
        )
        for name, worker in self._workers.items():
            depth.add_metric([name], worker.depth)
        return [depth]


class Counted:
    """ASGI around `app` that counts each request when it is over."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
