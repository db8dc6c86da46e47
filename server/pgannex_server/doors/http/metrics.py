"""GET /metrics: the server's counters in Prometheus's text form.

The numbers are the service's telemetry and the door's own traffic; nothing is counted
here. They are read when asked for, so that counting costs the hot path no label look-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from pgannex_server import __version__
from pgannex_server.doors.http.traffic import Traffic

if TYPE_CHECKING:
    from pgannex_server.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Numbers(Collector):
    """Reads the service's numbers at each scrape."""

    def __init__(self, service: Service, traffic: Traffic) -> None:
        self._service = service
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("pgannex_build", "version of the server", value={"version": __version__})
        requests = CounterMetricFamily(
            "pgannex_http_requests", "HTTP requests answered", labels=("handler", "status")
        )
        for handler, status, count in self._traffic.counts():
            requests.add_metric((handler, str(status)), count)
        yield requests


def router(service: Service, traffic: Traffic) -> APIRouter:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(service, traffic))
    routes = APIRouter()

    @routes.get("/metrics", summary="counters and gauges for Prometheus")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE)

    return routes
