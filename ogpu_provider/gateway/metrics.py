"""What an operator watches of the gateway, as Prometheus reads it, on a port of its own."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.units import COIN

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "ogpu_gateway_requests_total",
            "Answers of the Tasks API.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ogpu_gateway_request_seconds", "Time to answer.", ("route",), buckets=_BUCKETS, registry=self.registry
        )
        self.orders = Gauge("ogpu_gateway_orders", "Orders by state.", ("state",), registry=self.registry)
        self.balance = Gauge(
            "ogpu_gateway_vault_balance_coin", "What the client has in the Vault.", registry=self.registry
        )
        self.webhooks = Gauge(
            "ogpu_gateway_webhook_tries",
            "Webhooks told since the start, by outcome.",
            ("outcome",),
            registry=self.registry,
        )
        self.head = Gauge("ogpu_gateway_head_block", "Newest block that was read.", registry=self.registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. Looking children up by their labels takes the library longer than to count."""
        known = self._known.get((method, route, status))
        if known is None:
            children = (self.requests.labels(method, route, str(status)), self.seconds.labels(route))
            known = self._known[method, route, status] = children
        known[0].inc()
        known[1].observe(seconds)

    def take(self, told: Mapping[str, Any]) -> None:
        """What the half that publishes has measured."""
        for state, number in told["orders"].items():
            self.orders.labels(state).set(number)
        for outcome, number in told["webhooks"].items():
            self.webhooks.labels(outcome).set(number)
        self.head.set(told["head"])
        self.balance.set(int(told["balance"]) / COIN)

    def serve(self, host: str, port: int) -> None:
        """On a thread of its own, until the process ends. Raises ConfigError gateway.address."""
        try:
            start_http_server(port, host, registry=self.registry)
        except OSError as error:
            raise ConfigError(
                f"metrics cannot be served on {host} port {port}: {error.strerror or error}",
                code="gateway.address",
                remedy="set gateway.metrics_port to what is free on this host, or to 0 for none",
            ) from error
