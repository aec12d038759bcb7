"""Keeps each source's rules in the firewall for as long as its containers are there.

Rules are written before a source's containers are made, looked at again every minute and whenever the engine comes
back, and removed after its containers. They stay when the daemon ends: the containers do, too.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from ogpu_provider.domain.errors import ConfigError, EngineError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.egress import rules
from ogpu_provider.runtime.egress.firewall import REMEDY, Firewall, Iptables, name_servers
from ogpu_provider.runtime.egress.rules import Endpoint, Family, Grant, Policy
from ogpu_provider.runtime.egress.table import Traffic, change, held, traffic

log = structlog.get_logger()


ELSEWHERE = "the engine's networks are not on this host: it runs without root, or on another machine"


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """`unfiltered`: run sources of the policy `internet` where no rules can be set. The other policies never are."""

    policy: Policy = Policy.INTERNET
    overrides: Mapping[Address, Policy] = field(default_factory=dict)
    unfiltered: bool = False

    def of(self, source: Address) -> Policy:
        return self.overrides.get(source, self.policy)


def _interfaces() -> frozenset[str]:
    """Of this host."""
    return frozenset(name for _, name in socket.if_nameindex())


class Guard:
    """The rules of one instance."""

    def __init__(
        self,
        instance: str,
        settings: EgressSettings,
        firewall: Firewall | None = None,
        *,
        resolvers: Callable[[], tuple[str, ...]] = name_servers,
        bridges: Callable[[], frozenset[str]] = _interfaces,
    ) -> None:
        self._instance = instance
        self._settings = settings
        self._firewall = firewall or Iptables()
        self._resolvers = resolvers
        self._bridges = bridges
        self._grants: dict[Address, Grant] = {}
        self._written: dict[Family, dict[str, tuple[str, ...]]] = {}
        self._flushed: dict[Address, Traffic] = {}
        self._counted: dict[tuple[Family, Address], Traffic] = {}
        self._trouble = ""
        self._lock = asyncio.Lock()

    async def admit(self, source: Address, callback_url: str, published: Iterable[Endpoint]) -> None:
        """Put the rules of a source in place. Nothing of it may be started if this raises.

        Raises EngineError `engine.unfiltered` if they cannot be, and the operator has not waived them.
        """
        async with self._lock:
            self._grants[source] = self._grant(source, callback_url, published)
            self._flushed.setdefault(source, Traffic())
            try:
                await self._apply()
            except EngineError as error:
                self._refuse_unless_waived(source, error)

    def expect(self, source: Address) -> None:
        """The source's network was made: its bridge must be on this host, or no rule of ours meets its packets.

        Raises EngineError `engine.unfiltered`, as `admit` does.
        """
        if rules.bridge_name(self._instance, source) not in self._bridges():
            remedy = "use an engine that runs as root on this host; userns-remap makes its containers' root nobody"
            self._refuse_unless_waived(source, EngineError(ELSEWHERE, remedy=remedy))

    async def adopt(self, found: Mapping[Address, tuple[str, Iterable[Endpoint]]]) -> None:
        """After a start: rules for what runs (callback URL, published ports), none for what is gone."""
        async with self._lock:
            self._grants = {source: self._grant(source, url, ports) for source, (url, ports) in found.items()}
            try:
                await self._apply()
            except EngineError as error:
                for source in found:
                    log.error("egress_not_enforced", source=source, reason=str(error), remedy=error.remedy)

    async def release(self, source: Address) -> None:
        """Remove the rules of a source whose containers are gone. A failure is told, not raised."""
        async with self._lock:
            if self._grants.pop(source, None) is None:
                return
            try:
                await self._apply()
            except EngineError as error:
                log.warning("egress_rules_left", source=source, reason=str(error))

    async def verify(self) -> str:
        """Look whether every rule is there, and put it back if not. Returns what was wrong, empty if nothing."""
        async with self._lock:
            if not self._grants:
                return ""
            try:
                wrong = self._trouble or await self._look()
                if wrong:
                    await self._apply()
            except EngineError as error:
                self._trouble = str(error)
                if not all(map(self._waived, self._grants)):
                    log.error(
                        "egress_not_enforced", sources=sorted(self._grants), reason=str(error), remedy=error.remedy
                    )
                return str(error)
            if wrong:
                log.error("egress_rules_restored", reason=wrong)
            return wrong

    async def count(self) -> None:
        """Have `traffic` say what it is now; as it was at the last look where the firewall cannot be read."""
        async with self._lock:
            with contextlib.suppress(EngineError):
                for family in self._written:
                    table = await self._firewall.read(family)
                    for source in self._grants:
                        self._counted[family, source] = traffic(table, self._instance, source)

    def trouble(self, source: Address) -> str:
        """Why a running source is not held as it should be; empty if it is, or its operator waived it."""
        return "" if self._waived(source) else self._trouble

    def traffic(self) -> dict[Address, Traffic]:
        """Bytes of each source since its rules were first written, as of the last look."""
        totals = dict(self._flushed)
        for (_, source), seen in self._counted.items():
            totals[source] = totals.get(source, Traffic()) + seen
        return totals

    def _grant(self, source: Address, callback_url: str, published: Iterable[Endpoint]) -> Grant:
        policy = self._settings.of(source)
        resolvers = self._resolvers() if policy is Policy.INTERNET else ()
        return Grant(source, policy, callback_endpoint(callback_url), frozenset(published), resolvers)

    def _waived(self, source: Address) -> bool:
        return self._settings.unfiltered and self._settings.of(source) is Policy.INTERNET

    def _refuse_unless_waived(self, source: Address, error: EngineError) -> None:
        if self._waived(source):
            log.warning("egress_unfiltered", source=source, reason=str(error), remedy=error.remedy or REMEDY)
            return
        policy = self._settings.of(source)
        raise EngineError(
            f"egress policy {policy} cannot be enforced: {error}",
            code="engine.unfiltered",
            retry=Retry.LATER,
            remedy=error.remedy or REMEDY,
        ) from error

    async def _apply(self) -> None:
        """Write all chains anew. Afterwards `_trouble` says whether they hold."""
        try:
            for family in await self._firewall.families():
                await self._write(family)
        except EngineError as error:
            self._trouble = str(error)
            raise
        self._trouble = ""

    async def _write(self, family: Family) -> None:
        table = await self._firewall.read(family)
        wanted = rules.ruleset(family, self._instance, self._grants)
        if not wanted.chains and not table.ours(self._instance):
            return
        await self._firewall.write(family, change(table, self._instance, wanted))
        for source in self._grants.keys() | self._flushed.keys() | {each for _, each in self._counted}:
            seen = traffic(table, self._instance, source)
            last = self._counted.pop((family, source), Traffic())
            newest = Traffic(max(seen.sent, last.sent), max(seen.received, last.received))
            self._flushed[source] = self._flushed.get(source, Traffic()) + newest
        after = await self._firewall.read(family)
        found = after.ours(self._instance)
        # what the firewall prints may differ in form from what it was given; from now on its own form counts
        wrong = held(after, self._instance, found)
        if {name: len(lines) for name, lines in found.items()} != {n: len(lines) for n, lines in wanted.chains.items()}:
            wrong = "it did not take the rules as given"
        if wrong:
            raise EngineError(f"the firewall: {wrong}", code="engine.no_firewall", retry=Retry.LATER, remedy=REMEDY)
        self._written[family] = found

    async def _look(self) -> str:
        for family in await self._firewall.families():
            table = await self._firewall.read(family)
            if wrong := held(table, self._instance, self._written.get(family, {})):
                return f"{family}: {wrong}"
            for source in self._grants:
                self._counted[family, source] = traffic(table, self._instance, source)
        return ""


async def problem(instance: str, sources: Iterable[Address] = (), firewall: Firewall | None = None) -> str:
    """For an examination from outside the daemon: why the egress of these running sources is not held; empty if it is.

    Without sources: why it could not be. Changes nothing.
    """
    firewall, sources = firewall or Iptables(), tuple(sources)
    try:
        for family in await firewall.families():
            table = await firewall.read(family)
            found = table.ours(instance)
            missing = [each for each in sources if not found.keys() >= set(rules.source_chains(instance, each))]
            if missing:
                return f"{family}: no rules for {', '.join(missing)}"
            for source in sources:
                if chain := rules.opened(family, instance, source, found):
                    return f"{family}: the chain {chain} keeps nothing out"
            if found and (wrong := held(table, instance, found)):
                return f"{family}: {wrong}"
    except EngineError as error:
        return str(error)
    return ""


def callback_endpoint(url: str) -> Endpoint:
    """Where a callback URL leads. Raises ConfigError if that is a name: a firewall knows addresses."""
    parts = urlsplit(url)
    try:
        return Endpoint(str(ipaddress.ip_address(parts.hostname or "")), parts.port or 80)
    except ValueError:
        text = f"containers would post results to {parts.hostname}, which is no address"
        raise ConfigError(text, code="config.callback_host", remedy="set callback.host to an IP address") from None
