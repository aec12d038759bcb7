"""What the daemon answers on its control socket."""

import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ogpu_provider import __version__
from ogpu_provider.chain.contracts import checksummed
from ogpu_provider.chain.endpoint import EndpointHealth
from ogpu_provider.control import report
from ogpu_provider.control.account import AccountWatch
from ogpu_provider.control.server import Verb
from ogpu_provider.domain.approval import ImageOffer
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import ControlError
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.path import TaskPath
from ogpu_provider.runtime.compose.rules import WAIVABLE
from ogpu_provider.runtime.egress.table import Traffic
from ogpu_provider.runtime.pull import Pulling
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.telemetry import Metrics


async def _nothing() -> None:
    """Nothing is counted."""


@dataclass
class Desk:
    """`heard_at` (monotonic) is when the last block came in; `endpoints` says how each of them is; `traffic` is counted
    by the egress rules when `count` is called, `pulls` are images under way, `offers` other content under tags;
    `cordons` stand now; `alerts` were told, None: nobody is; `more` are verbs of other parts.
    """

    network: str
    path: TaskPath
    scheduler: HostScheduler
    account: AccountWatch
    endpoints: Callable[[], Sequence[EndpointHealth]]
    metrics: Metrics
    started_at: float
    traffic: Callable[[], Mapping[Address, Traffic]] = dict
    experience: Callable[[], Mapping[str, Any]] = dict
    count: Callable[[], Awaitable[None]] = _nothing
    pulls: Callable[[], Mapping[Address, tuple[Pulling, ...]]] = dict
    offers: Callable[[], Mapping[Address, tuple[ImageOffer, ...]]] = dict
    cordons: Callable[[], Sequence[Cordon]] = tuple
    alerts: Callable[[], Mapping[str, Any] | None] = lambda: None
    more: Mapping[str, Verb] = field(default_factory=dict)
    heard_at: float | None = None
    verbs: Mapping[str, Verb] = field(init=False)

    def __post_init__(self) -> None:
        self.verbs = {
            "status": self._status,
            "metrics": self._metrics,
            "pause": self._pause,
            "resume": self._resume,
            "drain": self._drain,
            "sources.add": self._add,
            "sources.remove": self._remove,
            "sources.retry": self._retry,
            "sources.approve": self._approve,
            **self.more,
        }

    def heard(self) -> None:
        """A block came in."""
        self.heard_at = self.path.ports.clock.monotonic()

    async def _status(self, _: Mapping[str, Any]) -> dict[str, Any]:
        waits = self.path.conductor.waits()
        self.account.want()
        await self.count()
        live = await self.path.ports.journal.live()
        self.metrics.tasks_live.set(len(live))
        return {
            "pid": os.getpid(),
            "version": __version__,
            "boot": self.path.ports.boot,
            "started_at": self.started_at,
            **self.standing(),
            "live": [report.task_document(task, waits.get(task.address, "")) for task in live],
            "open_transactions": [report.intent_document(row) for row in await self.path.ports.journal.open_intents()],
            **await self._orders(),
        }

    def standing(self) -> dict[str, Any]:
        """The part of `status` that is in memory: nobody is asked for it, and nothing is read anew because of it."""
        return {
            "network": self.network,
            "paired": self.path.ports.book.paired,
            "paused_since": self.path.orders.paused_since,
            "draining": self.path.orders.draining_since,
            "head": self._head(),
            "rpc": report.rpc_document(self.account, self.endpoints()),
            "account": report.account_document(self.account),
            "capacity": report.capacity_document(self.scheduler.snapshot(), self.scheduler.host),
            "cordons": [report.cordon_document(cordon) for cordon in self.cordons()],
            "sources": self._sources(),
            **self.experience(),
            "alerts": self.alerts(),
        }

    def _sources(self) -> list[dict[str, Any]]:
        traffic, pulls, offers = self.traffic(), self.pulls(), self.offers()
        return [
            report.source_document(
                row, traffic.get(row.address), pulls.get(row.address, ()), offers.get(row.address, ())
            )
            for row in self.path.ports.book.all()
        ]

    def _head(self) -> dict[str, Any] | None:
        block = self.path.ports.head.block
        if block is None:
            return None
        silent = None if self.heard_at is None else self.path.ports.clock.monotonic() - self.heard_at
        return {
            "block": block.number,
            "timestamp": block.timestamp,
            "age_s": max(0.0, self.path.ports.clock.now() - block.timestamp),
            "silent_s": silent,
        }

    async def _orders(self) -> dict[str, Any]:
        since = self.path.orders.draining_since
        draining = None
        if since is not None:
            left = await self.path.orders.left()
            draining = {"since": since, **asdict(left)}
        return {"paused_since": self.path.orders.paused_since, "draining": draining}

    async def _metrics(self, _: Mapping[str, Any]) -> str:
        self.metrics.tasks_live.set(len(await self.path.ports.journal.live()))
        for source, seen in self.traffic().items():
            self.metrics.source_bytes.labels(source, "sent").set(seen.sent)
            self.metrics.source_bytes.labels(source, "received").set(seen.received)
        return self.metrics.text()

    async def _pause(self, _: Mapping[str, Any]) -> dict[str, Any]:
        await self.path.orders.pause()
        return await self._orders()

    async def _resume(self, _: Mapping[str, Any]) -> dict[str, Any]:
        await self.path.orders.resume()
        return await self._orders()

    async def _drain(self, _: Mapping[str, Any]) -> dict[str, Any]:
        await self.path.orders.drain()
        return await self._orders()

    async def _add(self, args: Mapping[str, Any]) -> dict[str, Any]:
        address = _address(args)
        await self.path.keeper.add(address)
        return self._source(address)

    async def _remove(self, args: Mapping[str, Any]) -> dict[str, Any]:
        address = _address(args)
        await self.path.keeper.leave(address, unregister=args.get("unregister") is True)
        return self._source(address)

    async def _retry(self, args: Mapping[str, Any]) -> dict[str, Any]:
        address = _address(args)
        self.path.keeper.retry(address)
        return self._source(address)

    async def _approve(self, args: Mapping[str, Any]) -> dict[str, Any]:
        waive = args.get("waive", [])
        if not isinstance(waive, list) or not all(isinstance(code, str) for code in waive):
            raise ControlError("waive is a list of codes", code="control.bad_request")
        address, digest = _address(args), str(args.get("digest", ""))
        if digest and digest not in {offer.offered for offer in self.offers().get(address, ())}:
            text = f"no image of {address} is offered as {digest[:80]}"
            raise ControlError(text, code="approve.other_image", remedy="look at `ogpu-provider sources` again")
        approval, images = await self.path.keeper.approve(
            address,
            waivable=WAIVABLE,
            waive=waive,
            reason=str(args.get("reason", "")),
            sha256=str(args.get("sha256", "")),
            digest=digest,
        )
        return report.approval_document(approval) | {"images_accepted": list(images)}

    def _source(self, address: Address) -> dict[str, Any]:
        row = self.path.ports.book.get(address)
        assert row is not None, "every verb about a source leaves it in the book"
        return report.source_document(row)


def _address(args: Mapping[str, Any]) -> Address:
    """Raises ControlError (`control.bad_request`)."""
    text = args.get("source")
    if not isinstance(text, str) or not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise ControlError("the request names no source", code="control.bad_request", remedy="0x and 40 hex digits")
    return checksummed(text)
