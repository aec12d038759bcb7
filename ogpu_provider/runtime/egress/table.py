"""The filter table as iptables-save prints it, and the text that iptables-restore takes to change it. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.egress import rules
from ogpu_provider.runtime.egress.rules import Ruleset

_RULE = re.compile(r"(?:\[\d+:(?P<bytes>\d+)\] )?-A (?P<chain>\S+) ?(?P<rule>.*)")
_CHAIN = re.compile(r":(?P<chain>\S+) ")
_JUMP = re.compile(rf"-j {rules.PREFIX}U-[0-9a-f]+-[FI]")


@dataclass(frozen=True, slots=True)
class Table:
    """Rules by chain, and how many bytes each has seen."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counted: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def ours(self, instance: str) -> dict[str, tuple[str, ...]]:
        return {name: lines for name, lines in self.chains.items() if rules.is_ours(instance, name)}

    def parent(self) -> str:
        """Where forwarded packets meet a user's rules before the engine's own."""
        reached = any(line == "-j DOCKER-USER" for line in self.chains.get("FORWARD", ()))
        return "DOCKER-USER" if reached and "DOCKER-USER" in self.chains else "FORWARD"

    def first(self, parent: str, chain: str) -> bool:
        """Whether every packet of a parent chain meets `chain` before anything but chains of our kind."""
        for line in self.chains.get(parent, ()):
            if line == f"-j {chain}":
                return True
            if not _JUMP.fullmatch(line):
                return False
        return False


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one source: `sent` by its containers to the host and beyond, `received` from beyond the host."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.sent + other.sent, self.received + other.received)


def parse(text: str) -> Table:
    """Read the output of `iptables-save -c -t filter`."""
    chains: dict[str, list[str]] = {}
    counted: dict[str, list[int]] = {}
    for line in text.splitlines():
        if match := _CHAIN.match(line):
            chains.setdefault(match["chain"], [])
        elif match := _RULE.fullmatch(line):
            chains.setdefault(match["chain"], []).append(match["rule"].strip())
            counted.setdefault(match["chain"], []).append(int(match["bytes"] or 0))
    return Table(
        {name: tuple(lines) for name, lines in chains.items()},
        {name: tuple(figures) for name, figures in counted.items()},
    )


def traffic(table: Table, instance: str, source: Address) -> Traffic:
    """What the counting rules of a source have seen since they were written."""
    bridge = rules.bridge_name(instance, source)
    main = rules.forward_chain(instance)
    received = sum(
        figure
        for line, figure in zip(table.chains.get(main, ()), table.counted.get(main, ()), strict=True)
        if line == f"-o {bridge}"
    )
    sent = sum((table.counted.get(chain) or (0,))[0] for chain in rules.source_chains(instance, source))
    return Traffic(sent, received)


def change(table: Table, instance: str, wanted: Ruleset) -> str:
    """Input for `iptables-restore --noflush` that makes this instance's chains and jumps as wanted, in one step.

    Other chains are left as they are.
    """
    forward, host = rules.forward_chain(instance), rules.input_chain(instance)
    stale = [name for name in table.ours(instance) if name not in wanted.chains]
    lines = ["*filter", *(f":{name} - [0:0]" for name in (*wanted.chains, *stale))]
    for parent, chain in ((table.parent(), forward), ("INPUT", host)):
        lines += _drop_jumps(table, chain)
        if wanted.chains:
            lines.append(f"-I {parent} 1 -j {chain}")
    for name, chain_rules in wanted.chains.items():
        lines += [f"-A {name} {rule}".rstrip() for rule in chain_rules]
    lines += [f"-X {name}" for name in _unreferenced_first(instance, stale)]
    return "\n".join([*lines, "COMMIT", ""])


def held(table: Table, instance: str, wanted: Mapping[str, tuple[str, ...]]) -> str:
    """What is missing of our chains, as they were read after writing, and of the way to them; empty if nothing."""
    found = table.ours(instance)
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            return f"the chain {name} was changed" if name in found else f"the chain {name} is gone"
    if wanted and not table.first(table.parent(), rules.forward_chain(instance)):
        return f"{table.parent()} no longer comes to our rules first"
    if wanted and not table.first("INPUT", rules.input_chain(instance)):
        return "INPUT no longer comes to our rules first"
    return ""


def _drop_jumps(table: Table, chain: str) -> list[str]:
    return [f"-D {parent} {line}" for parent, lines in table.chains.items() for line in lines if line == f"-j {chain}"]


def _unreferenced_first(instance: str, names: Iterable[str]) -> list[str]:
    main = (rules.forward_chain(instance), rules.input_chain(instance))
    return sorted(names, key=lambda name: name not in main)
