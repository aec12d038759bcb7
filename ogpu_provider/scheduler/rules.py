"""Why not: one small function a rule. Pure; every rule runs, so that a person sees all that stands in the way.

    source.not_ready        our side of the source is not fit to serve
    environment.none        the host has no environment that the source offers
    function.unknown        the container has no such function       (not judged while it is down)
    function.invalid_input  the input does not fit its schema        (not judged while it is down)
    payment.below_floor     pays less than the operator asks         (*)
    time.expired            past its expiry
    time.too_short          expires before it could be done
    list.denied             source or client on a deny list          (*)
    list.not_allowed        an allow list exists and lacks it        (*)

(*) does not count for an obligation: a task that was attempted for us is owed, whatever we think of its price.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.units import Address, Wei, coin
from ogpu_provider.domain.verdict import Reason, Verdict
from ogpu_provider.scheduler.requirements import SlotLimits

_V = TypeVar("_V")
_SHOWN = 5
"""Names and violations listed in one sentence; authors choose how many there are."""


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """The operator's terms. Payments in wei, times in seconds.

    `min_payment_by_source` goes before `min_payment` for the sources in it, lower or higher. A task needs
    `min_time_left` on top of its estimated run. An empty allow list allows everyone. Case of addresses is ignored.
    """

    min_payment: Wei = 0
    min_payment_by_source: Mapping[Address, Wei] = field(default_factory=dict)
    min_time_left: float = 10.0
    estimated_run: float = 0.0
    estimated_run_by_source: Mapping[Address, float] = field(default_factory=dict)
    allow_sources: frozenset[Address] = frozenset()
    deny_sources: frozenset[Address] = frozenset()
    allow_clients: frozenset[Address] = frozenset()
    deny_clients: frozenset[Address] = frozenset()
    slots: SlotLimits = field(default_factory=SlotLimits)


Rule = Callable[[Candidate, AdmissionPolicy], Reason | None]


def source_ready(c: Candidate, _: AdmissionPolicy) -> Reason | None:
    return (
        Reason("source.not_ready", f"source {c.source} is not ready: {c.source_problem}") if c.source_problem else None
    )


def environment_present(c: Candidate, _: AdmissionPolicy) -> Reason | None:
    if c.environment is not None:
        return None
    return Reason("environment.none", f"this host has none of the environments that source {c.source} offers")


def function_known(c: Candidate, _: AdmissionPolicy) -> Reason | None:
    if c.functions is None or c.function in c.functions:
        return None
    has = _listing(sorted(c.functions)) or "none"
    return Reason("function.unknown", f"the container has no function {c.function!r}; it has {len(c.functions)}: {has}")


def input_valid(c: Candidate, _: AdmissionPolicy) -> Reason | None:
    if not c.violations:
        return None
    text = f"the input does not fit {c.function!r} in {len(c.violations)} points: {_listing(c.violations)}"
    return Reason("function.invalid_input", text)


def payment_enough(c: Candidate, policy: AdmissionPolicy) -> Reason | None:
    own = _of(c.source, policy.min_payment_by_source)
    floor, whose = (policy.min_payment, "floor") if own is None else (own, f"floor for source {c.source}")
    if c.payment >= floor:
        return None
    return Reason("payment.below_floor", f"pays {coin(c.payment)} OGPU, the {whose} is {coin(floor)} OGPU")


def not_expired(c: Candidate, _: AdmissionPolicy) -> Reason | None:
    if c.now < c.expiry:
        return None
    return Reason("time.expired", f"expired {c.now - c.expiry:.0f} s ago, at {c.expiry}")


def time_enough(c: Candidate, policy: AdmissionPolicy) -> Reason | None:
    left = c.expiry - c.now
    own = _of(c.source, policy.estimated_run_by_source)
    estimate = policy.estimated_run if own is None else own
    if left <= 0 or left >= estimate + policy.min_time_left:
        return None
    needs = f"{estimate:.1f} s of work and {policy.min_time_left:.1f} s of margin"
    return Reason("time.too_short", f"expires in {left:.1f} s, needs {needs}")


def source_not_denied(c: Candidate, policy: AdmissionPolicy) -> Reason | None:
    return _denied("source", c.source, policy.deny_sources)


def client_not_denied(c: Candidate, policy: AdmissionPolicy) -> Reason | None:
    return _denied("client", c.client, policy.deny_clients)


def source_allowed(c: Candidate, policy: AdmissionPolicy) -> Reason | None:
    return _not_allowed("source", c.source, policy.allow_sources)


def client_allowed(c: Candidate, policy: AdmissionPolicy) -> Reason | None:
    return _not_allowed("client", c.client, policy.allow_clients)


ABILITY: tuple[Rule, ...] = (
    source_ready,
    environment_present,
    function_known,
    input_valid,
    not_expired,
    time_enough,
)
"""Whether we can. Asked of every task."""

CHOICE: tuple[Rule, ...] = (payment_enough, source_not_denied, client_not_denied, source_allowed, client_allowed)
"""Whether we want to. Not asked of an obligation."""


def judge(candidate: Candidate, policy: AdmissionPolicy) -> Verdict:
    """Run every rule that applies and keep every reason, in the order of the rules."""
    rules = ABILITY if candidate.obliged else ABILITY + CHOICE
    return Verdict(tuple(reason for rule in rules if (reason := rule(candidate, policy)) is not None))


def _denied(what: str, address: Address | None, denied: frozenset[Address]) -> Reason | None:
    if address is None or not _listed(address, denied):
        return None
    return Reason("list.denied", f"{what} {address} is on the deny list of {len(denied)} {what}s")


def _not_allowed(what: str, address: Address | None, allowed: frozenset[Address]) -> Reason | None:
    if not allowed or (address is not None and _listed(address, allowed)):
        return None
    name = f"{what} {address}" if address is not None else f"an unknown {what}"
    return Reason("list.not_allowed", f"{name} is not on the allow list of {len(allowed)} {what}s")


def _listed(address: Address, addresses: frozenset[Address]) -> bool:
    # A list that silently misses because of an address's case would let through what the operator refused.
    return address in addresses or any(address.lower() == other.lower() for other in addresses)


def _of(address: Address, values: Mapping[Address, _V]) -> _V | None:
    return next((value for other, value in values.items() if other.lower() == address.lower()), None)


def _listing(items: Iterable[str]) -> str:
    items = tuple(items)
    shown = "; ".join(item[:200] for item in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown}; and {len(items) - _SHOWN} more"
