"""What a source's containers may reach, as rules of one firewall. Pure.

    container -> host's own addresses   INPUT    (jump first)        -> OGPU-<instance>-I -> OGPI-<source>
    container -> everything else        FORWARD -> DOCKER-USER       -> OGPU-<instance>-F -> OGPF-<source>

A source's chains match what comes in from its own bridge, whose name we choose, so they can stand before the bridge
does. In the host's chain everything that is not listed is dropped: whatever addresses the host has, now or later. In
the forward chain the policy `internet` leaves what is globally routable.
"""

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ogpu_provider.domain.units import Address

PREFIX: Final = "OGP"
BRIDGE_PREFIX: Final = "og-"
MAIL_PORTS: Final = (25, 465, 587)
NEVER_V4: Final = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
)
"""Private, shared, link-local (a cloud's metadata), protocol, relay, benchmark, multicast and reserved ranges.

The three documentation ranges are left out: they lead nowhere, and tests need addresses that look public.
"""
NEVER_V6: Final = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
ONLY_V6: Final = "2000::/3"
"""Global unicast. Unique local (fd00:ec2::254 among them), link-local, mapped, NAT64 and multicast are outside."""
_NEIGHBOURS: Final = (133, 134, 135, 136)


class Policy(StrEnum):
    """`none`: not even the callback, so no result can arrive. `callback-only`: that and nothing else."""

    NONE = "none"
    CALLBACK_ONLY = "callback-only"
    INTERNET = "internet"


class Family(StrEnum):
    V4 = "ipv4"
    V6 = "ipv6"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address of this host and a port that a source may use there."""

    address: str
    port: int
    protocol: str = "tcp"

    @property
    def family(self) -> Family:
        return Family.V6 if ipaddress.ip_address(self.address).version == 6 else Family.V4


@dataclass(frozen=True, slots=True)
class Grant:
    """What one source may reach. `published`: its own services' ports on the bridge gateway.

    `resolvers`: name servers that the engine asks from within a container's network; for `internet` only.
    """

    source: Address
    policy: Policy
    callback: Endpoint
    published: frozenset[Endpoint] = frozenset()
    resolvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Chains of one family with their rules, in order, without the `-A CHAIN`."""

    family: Family
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def bridge_name(instance: str, source: Address) -> str:
    """The host's name of a source's bridge, within the kernel's 15 characters."""
    return BRIDGE_PREFIX + _digest(instance, source)


def forward_chain(instance: str) -> str:
    return f"{PREFIX}U-{_digest(instance)}-F"


def input_chain(instance: str) -> str:
    return f"{PREFIX}U-{_digest(instance)}-I"


def source_chains(instance: str, source: Address) -> tuple[str, str]:
    """The chains of one source: forward, input."""
    name = _digest(instance, source)
    return f"{PREFIX}F-{_digest(instance)}-{name}", f"{PREFIX}I-{_digest(instance)}-{name}"


def is_ours(instance: str, chain: str) -> bool:
    """Whether a chain belongs to this instance."""
    return any(chain.startswith(f"{PREFIX}{kind}-{_digest(instance)}-") for kind in "UFI")


def ruleset(family: Family, instance: str, grants: Mapping[Address, Grant]) -> Ruleset:
    """Everything for these sources. No sources: no chains."""
    if not grants:
        return Ruleset(family)
    forward: list[str] = []
    host: list[str] = []
    chains: dict[str, tuple[str, ...]] = {}
    for source in sorted(grants):
        bridge = bridge_name(instance, source)
        through, to_host = source_chains(instance, source)
        forward += [f"-o {bridge}", f"-i {bridge} -j {through}"]  # the first only counts what arrives
        host.append(f"-i {bridge} -j {to_host}")
        chains[through] = tuple(_forward(family, bridge, grants[source]))
        chains[to_host] = tuple(_input(family, grants[source]))
    return Ruleset(family, {**chains, forward_chain(instance): tuple(forward), input_chain(instance): tuple(host)})


def opened(family: Family, instance: str, source: Address, chains: Mapping[str, tuple[str, ...]]) -> str:
    """Which chain lets through what no policy allows, as far as can be told without the source's grant; empty: none."""
    bridge = bridge_name(instance, source)
    through, to_host = source_chains(instance, source)
    if f"-i {bridge} -j {through}" not in chains.get(forward_chain(instance), ()):
        return forward_chain(instance)
    if f"-i {bridge} -j {to_host}" not in chains.get(input_chain(instance), ()):
        return input_chain(instance)
    forward, to_us = chains.get(through, ()), chains.get(to_host, ())
    kept_out = family is Family.V4 and all(f"-d {net} -j DROP" in forward for net in NEVER_V4)
    if not kept_out and forward[-1:] != ("-j DROP",):
        return through
    return "" if to_us[-1:] == ("-j DROP",) else to_host


def _forward(family: Family, bridge: str, grant: Grant) -> list[str]:
    rules = ["", f"-o {bridge} -j RETURN", *_answers(family, "RETURN")]  # the first only counts
    if grant.policy is Policy.NONE:
        return [*rules, "-j DROP"]
    rules += [f"{_to(grant.callback)} -j RETURN"] if grant.callback.family is family else []
    if grant.policy is Policy.CALLBACK_ONLY:
        return [*rules, "-j DROP"]
    rules.append(f"-o {BRIDGE_PREFIX}+ -j DROP")
    rules += [f"{_to(each)} -j RETURN" for each in _resolvers(family, grant)]
    rules += [f"-p tcp -m tcp --dport {port} -j DROP" for port in MAIL_PORTS]
    rules += [f"-d {net} -j DROP" for net in (NEVER_V4 if family is Family.V4 else NEVER_V6)]
    return [*rules, "-j RETURN"] if family is Family.V4 else [*rules, f"-d {ONLY_V6} -j RETURN", "-j DROP"]


def _input(family: Family, grant: Grant) -> list[str]:
    rules = ["", *_answers(family, "ACCEPT")]
    open_to = set(grant.published)
    if grant.policy is not Policy.NONE:
        open_to.add(grant.callback)
    if grant.policy is Policy.INTERNET:
        open_to.update(_resolvers(family, grant))
        if family is Family.V6:
            rules += [f"-p ipv6-icmp -m icmp6 --icmpv6-type {number} -j ACCEPT" for number in _NEIGHBOURS]
    rules += [f"{_to(each)} -j ACCEPT" for each in sorted(open_to) if each.family is family]
    return [*rules, "-j DROP"]


def _answers(family: Family, verdict: str) -> list[str]:
    """What belongs to a connection that somebody was allowed to open: the dispatch of a task, for one."""
    icmp = "icmp" if family is Family.V4 else "ipv6-icmp"
    return [
        f"-m conntrack --ctstate ESTABLISHED -j {verdict}",
        f"-p {icmp} -m conntrack --ctstate RELATED -j {verdict}",
    ]


def _resolvers(family: Family, grant: Grant) -> list[Endpoint]:
    every = [Endpoint(address, 53, protocol) for address in grant.resolvers for protocol in ("udp", "tcp")]
    return [each for each in every if each.family is family]


def _to(endpoint: Endpoint) -> str:
    # through ip_address: nothing but an address can get into a rule
    address, protocol = ipaddress.ip_address(endpoint.address), "udp" if endpoint.protocol == "udp" else "tcp"
    return f"-d {address}/{address.max_prefixlen} -p {protocol} -m {protocol} --dport {int(endpoint.port)}"


def _digest(instance: str, source: Address | None = None) -> str:
    text = instance if source is None else f"{instance}/{source.lower()}"
    return hashlib.sha256(text.encode()).hexdigest()[: 8 if source is None else 12]
