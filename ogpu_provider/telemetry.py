"""What the daemon says about itself: structured log lines and Prometheus metrics.

A line has a machine name (the event) and fields: `log.info("task_submitted", task=..., tx=...)`. Times are ISO 8601
in UTC. Lines of libraries (the `logging` module) come out the same way.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from structlog.typing import EventDict, Processor

REDACTED = "[redacted]"
_SECRET_FIELD = re.compile(
    r"private|secret|password|passphrase|mnemonic|credential|authorization|(^|_)(key|token|seed)$"
)
"""By name, not by look: a transaction hash has as many digits as a key. Intent keys are `intent_key`, spared below."""
_OPEN_FIELDS = frozenset({"intent_key", "public_key"})
_NOISY = ("web3", "urllib3", "httpx", "httpcore", "docker", "asyncio", "uvicorn.access", "websockets")


class Redaction:
    """Takes secrets out of log lines: fields with a telling name, and any text that was registered."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def register(self, secret: str) -> None:
        """Never let this text out, in whatever field or traceback, with or without 0x, in either case."""
        bare = secret.removeprefix("0x")
        if len(bare) >= 8:
            self._known |= {bare, bare.lower(), bare.upper()}

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        return {name: REDACTED if self._telling(name) else self._clean(value) for name, value in event.items()}

    @staticmethod
    def _telling(name: object) -> bool:
        text = str(name).lower()
        return text not in _OPEN_FIELDS and bool(_SECRET_FIELD.search(text))

    def _clean(self, value: object) -> object:
        if isinstance(value, str):
            return self._strip(value)
        if isinstance(value, bytes | bytearray):
            return self._strip(value.hex())
        if isinstance(value, Mapping):
            return {k: REDACTED if self._telling(k) else self._clean(v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self._strip(str(value)) if self._known else value

    def _strip(self, text: str) -> str:
        for secret in self._known:
            if secret in text:
                text = text.replace("0x" + secret, REDACTED).replace(secret, REDACTED)
        return text


redaction = Redaction()
"""The one of this process: whoever opens a key registers it here through the daemon."""


def configure(
    *, level: str = "info", format: str = "auto", stream: TextIO | None = None, secrets: Iterable[str] = ()
) -> None:
    """Send log lines to `stream` (standard error): JSON, or text for people if `format` is text or on a terminal."""
    out = stream or sys.stderr
    for secret in secrets:
        redaction.register(secret)
    text = format == "text" or (format == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    # tracebacks become text before redaction, so that a key in an exception's message does not pass; no locals
    finish: list[Processor] = [structlog.processors.format_exc_info, redaction]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if text
        else structlog.processors.JSONRenderer(default=str)
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=False,
    )


class Metrics:
    """Figures of one daemon, in a registry of their own. Durations in seconds."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.task_transitions = Counter("task_transitions", "Transitions of tasks", ["state"], "ogpu", registry=r)
        self.tasks_live = Gauge("tasks_live", "Tasks that are not over", namespace="ogpu", registry=r)
        self.stage_seconds = Histogram("stage_seconds", "Seconds in a stage", ["stage"], "ogpu", registry=r)
        self.rpc_calls = Counter("rpc_calls", "Calls of the RPC endpoint", ["method"], "ogpu", registry=r)
        self.rpc_errors = Counter("rpc_errors", "Failed calls of it", ["method", "code"], "ogpu", registry=r)
        self.source_bytes = Gauge(
            "source_bytes", "Bytes of a source's containers", ["source", "direction"], "ogpu", registry=r
        )
        self.cards_cordoned = Gauge("cards_cordoned", "Cards out of use for their health", namespace="ogpu", registry=r)
        self.transactions = Counter("transactions", "Transactions", ["effect", "outcome"], "ogpu", registry=r)
        self.head_block = Gauge("head_block", "Newest block heard of", namespace="ogpu", registry=r)

    def text(self) -> str:
        """The Prometheus exposition format."""
        return generate_latest(self.registry).decode()
