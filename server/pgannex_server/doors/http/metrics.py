"""GET /metrics: the server's counters in Prometheus's text form.

The numbers are the service's telemetry, the registry's state and the door's own traffic;
nothing is counted here. They are read when asked for, so that counting costs the hot path
no label look-up. docs/reference/metrics.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from pgannex_server import __version__
from pgannex_server.doors.http.traffic import Traffic
from pgannex_server.telemetry import BUCKETS_S, Histogram

if TYPE_CHECKING:
    from pgannex_server.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PER_MODEL_COUNTERS = (
    ("requests", "pgannex_model_requests", "requests for the model"),
    ("texts", "pgannex_model_texts", "texts embedded"),
    ("tokens", "pgannex_model_tokens", "tokens computed"),
    ("batches", "pgannex_model_batches", "batches computed"),
    ("compute_seconds", "pgannex_model_compute_seconds", "time spent computing batches"),
    ("queue_seconds", "pgannex_model_queue_seconds", "time that requests waited in the queue"),
    ("errors", "pgannex_model_errors", "requests that failed"),
    ("restarts", "pgannex_model_restarts", "times that a worker was started again"),
)


class Numbers(Collector):
    """Reads the numbers at each scrape."""

    def __init__(self, service: Service, traffic: Traffic) -> None:
        self._service = service
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("pgannex_build", "version of the server", value={"version": __version__})
        yield from self._server()
        yield from self._http()
        yield from self._models()

    def _server(self) -> Iterator[Metric]:
        numbers = self._service.telemetry
        yield GaugeMetricFamily("pgannex_start_time_seconds", "when the server started", numbers.started)
        yield GaugeMetricFamily("pgannex_requests_in_flight", "requests that run now", numbers.in_flight)
        yield GaugeMetricFamily(
            "pgannex_connections", "connections on the frames socket", numbers.connections
        )
        yield CounterMetricFamily(
            "pgannex_connections_accepted", "connections that came", numbers.connections_total
        )
        yield CounterMetricFamily("pgannex_rows", "result rows given back", numbers.rows)
        yield _counter("pgannex_requests", "requests begun", "verb", numbers.requests)
        yield _counter("pgannex_errors", "requests that failed", "code", numbers.errors)

    def _http(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "pgannex_http_requests", "HTTP requests answered", labels=("handler", "status")
        )
        for handler, status, count in self._traffic.counts():
            family.add_metric((handler, str(status)), count)
        yield family

    def _models(self) -> Iterator[Metric]:
        models = self._service.registry.models.values()
        gauges = {
            name: GaugeMetricFamily(f"pgannex_model_{name}", text, labels=("model_name",))
            for name, text in (
                ("instances", "worker processes configured"),
                ("instances_ready", "worker processes that are ready"),
                ("memory_bytes", "memory of the loaded instances"),
                ("queue_requests", "requests that wait or run"),
                ("queue_bytes", "bytes of text that wait"),
            )
        }
        latency = HistogramMetricFamily(
            "pgannex_model_request_duration_seconds", "time from request to answer", labels=("model_name",)
        )
        for model in models:
            label = (model.name,)
            gauges["instances"].add_metric(label, len(model.slots))
            gauges["instances_ready"].add_metric(label, sum(s.state == "ready" for s in model.slots))
            gauges["memory_bytes"].add_metric(label, model.memory())
            gauges["queue_requests"].add_metric(label, model.admission.requests)
            gauges["queue_bytes"].add_metric(label, model.admission.bytes)
            latency.add_metric(label, _buckets(model.counters.latency), model.counters.latency.sum)
        yield from gauges.values()
        yield latency
        refused = {model.name: model.admission.refused for model in models}
        yield _counter(
            "pgannex_model_refused", "requests refused because the queue was full", "model_name", refused
        )
        for field, name, text in _PER_MODEL_COUNTERS:
            yield _counter(name, text, "model_name", {m.name: getattr(m.counters, field) for m in models})


def _counter(name: str, text: str, label: str, values: dict[str, float] | dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them."""
    total = 0
    buckets = []
    for bound, count in zip((*BUCKETS_S, "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((str(bound), float(total)))
    return buckets


def router(service: Service, traffic: Traffic) -> APIRouter:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Numbers(service, traffic))
    routes = APIRouter()

    @routes.get("/metrics", summary="counters and gauges for Prometheus")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE)

    return routes
