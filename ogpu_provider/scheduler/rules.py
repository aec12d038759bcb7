"""May we, and do we want to: one small function a rule, with its numbers for and against.

Pure; every rule runs, so that a person sees all that stands in the way. The first that speaks against it decides.

    source.not_ready        our side of the source is not fit to serve
    environment.none        the host has no environment that the source offers
    function.unknown        the container has no such function       (not judged while it is down)
    function.invalid_input  the input does not fit its schema        (not judged while it is down)
    time.expired            past its expiry
    time.too_short          expires before it could be done
    payment.below_floor     pays less than the operator asks         (*)
    payment.below_margin    leaves less than the operator asks, once gas, energy and rate are paid   (*)
    list.denied             source or client on a deny list          (*)
    list.not_allowed        an allow list exists and lacks it        (*)
    breaker.source          the source failed here too often         (*)
    breaker.client          the client left work unpaid too often    (*)
    owner.hours             outside the hours that the owner gives   (*)
    owner.present           somebody is at the machine               (*)

(*) does not count for an obligation: a task that was attempted for us is owed, whatever we think of its price.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.units import Address, Wei, coin
from ogpu_provider.domain.verdict import Ruling, Verdict, verdict
from ogpu_provider.scheduler.circumstances import Circumstances, OpenBreaker
from ogpu_provider.scheduler.requirements import SlotLimits

_V = TypeVar("_V")
_SHOWN = 5
"""Names and violations listed in one sentence; authors choose how many there are."""


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """The operator's terms. Amounts in wei, times in seconds.

    What is given by source goes before the general figure for the sources in it, lower or higher. A task needs
    `min_time_left` on top of its estimate. `min_margin`: what must be left of the payment after all costs; None: not
    asked. An empty allow list allows everyone. Case of addresses is ignored.
    """

    min_payment: Wei = 0
    min_payment_by_source: Mapping[Address, Wei] = field(default_factory=dict)
    min_margin: Wei | None = None
    min_margin_by_source: Mapping[Address, Wei] = field(default_factory=dict)
    min_time_left: float = 10.0
    allow_sources: frozenset[Address] = frozenset()
    deny_sources: frozenset[Address] = frozenset()
    allow_clients: frozenset[Address] = frozenset()
    deny_clients: frozenset[Address] = frozenset()
    slots: SlotLimits = field(default_factory=SlotLimits)


Rule = Callable[[Candidate, AdmissionPolicy, Circumstances], Ruling | None]
"""None: there is nothing to judge."""


def source_ready(c: Candidate, _: AdmissionPolicy, __: Circumstances) -> Ruling:
    said = f"is not ready: {c.source_problem}" if c.source_problem else "is ready"
    return Ruling("source.not_ready", not c.source_problem, f"source {c.source} {said}")


def environment_present(c: Candidate, _: AdmissionPolicy, __: Circumstances) -> Ruling:
    if c.environment is not None:
        return Ruling("environment.none", True, f"runs on {c.environment.label}")
    text = f"this host has none of the environments that source {c.source} offers"
    return Ruling("environment.none", False, text)


def function_known(c: Candidate, _: AdmissionPolicy, __: Circumstances) -> Ruling | None:
    if c.functions is None:
        return None
    if c.function in c.functions:
        return Ruling("function.unknown", True, f"the container has {c.function!r}")
    has = _listing(sorted(c.functions)) or "none"
    text = f"the container has no function {c.function!r}; it has {len(c.functions)}: {has}"
    return Ruling("function.unknown", False, text)


def input_valid(c: Candidate, _: AdmissionPolicy, __: Circumstances) -> Ruling | None:
    if c.violations:
        text = f"the input does not fit {c.function!r} in {len(c.violations)} points: {_listing(c.violations)}"
        return Ruling("function.invalid_input", False, text)
    judged = c.functions is not None and c.function in c.functions
    return Ruling("function.invalid_input", True, f"the input fits {c.function!r}") if judged else None


def not_expired(c: Candidate, _: AdmissionPolicy, __: Circumstances) -> Ruling:
    left = c.expiry - c.now
    text = f"expires in {left:.0f} s, {_at(c.expiry)}" if left > 0 else f"expired {-left:.0f} s ago, {_at(c.expiry)}"
    return Ruling("time.expired", left > 0, text)


def time_enough(c: Candidate, policy: AdmissionPolicy, now: Circumstances) -> Ruling | None:
    left = c.expiry - c.now
    if left <= 0:
        return None
    needs = now.estimate.total + policy.min_time_left
    text = f"{left:.1f} s are left; it takes {now.estimate.total:.1f} s ({now.estimate}) and a margin of"
    spare = left - now.estimate.total
    setting = f"admission.min_time_left = {max(1, int(spare))}" if spare > 1 else ""
    return Ruling("time.too_short", left >= needs, f"{text} {policy.min_time_left:.0f} s", setting)


def payment_enough(c: Candidate, policy: AdmissionPolicy, now: Circumstances) -> Ruling:
    """Where the client confirms, the bid is what it would pay."""
    pays = c.payment if now.bid is None else now.bid
    own = _of(c.source, policy.min_payment_by_source)
    floor, whose = (policy.min_payment, "floor") if own is None else (own, f"floor for source {c.source}")
    paid = f"pays {coin(c.payment)} OGPU" if now.bid is None else f"our bid is {coin(pays)} of {coin(c.payment)} OGPU"
    text = f"{paid}, the {whose} is {coin(floor)} OGPU"
    setting = f'admission.min_payment = "{coin(pays)}"'
    if own is not None:
        setting = f'admission.min_payment_by_source."{c.source}" = "{coin(pays)}"'
    return Ruling("payment.below_floor", pays >= floor, text, setting)


def margin_enough(c: Candidate, policy: AdmissionPolicy, now: Circumstances) -> Ruling | None:
    own = _of(c.source, policy.min_margin_by_source)
    least = policy.min_margin if own is None else own
    if least is None:
        return None
    pays = c.payment if now.bid is None else now.bid
    spent, net = now.costs, pays - now.costs.total
    gas = "gas not known yet" if spent.gas is None else f"gas {coin(spent.gas)}"
    text = (
        f"leaves {coin(net)} OGPU of {coin(pays)} ({gas}, energy {coin(spent.energy)}, rate {coin(spent.rate)}); "
        f"asked is {coin(least)}"
    )
    where = "admission.min_margin" if own is None else f'admission.min_margin_by_source."{c.source}"'
    return Ruling("payment.below_margin", net >= least, text, f'{where} = "{coin(net)}"')


def source_not_denied(c: Candidate, policy: AdmissionPolicy, _: Circumstances) -> Ruling | None:
    return _denied("source", c.source, policy.deny_sources, "sources.deny")


def client_not_denied(c: Candidate, policy: AdmissionPolicy, _: Circumstances) -> Ruling | None:
    return _denied("client", c.client, policy.deny_clients, "admission.deny_clients")


def source_allowed(c: Candidate, policy: AdmissionPolicy, _: Circumstances) -> Ruling | None:
    return _allowed("source", c.source, policy.allow_sources, "sources.serve")


def client_allowed(c: Candidate, policy: AdmissionPolicy, _: Circumstances) -> Ruling | None:
    return _allowed("client", c.client, policy.allow_clients, "admission.allow_clients")


def source_works(c: Candidate, _: AdmissionPolicy, now: Circumstances) -> Ruling | None:
    return _unbroken("breaker.source", f"source {c.source} failed here too often", now.source)


def client_pays(c: Candidate, _: AdmissionPolicy, now: Circumstances) -> Ruling | None:
    return _unbroken("breaker.client", f"client {c.client} left work unpaid too often", now.client)


def within_hours(_: Candidate, __: AdmissionPolicy, now: Circumstances) -> Ruling | None:
    if not now.closed:
        return None
    return Ruling("owner.hours", False, f"outside the owner's hours, {now.closed}", "owner.hours = []")


def owner_away(_: Candidate, __: AdmissionPolicy, now: Circumstances) -> Ruling | None:
    if not now.in_use:
        return None
    return Ruling("owner.present", False, f"the machine is in use: {now.in_use}", "owner.pause_in_use = false")


ABILITY: tuple[Rule, ...] = (
    source_ready,
    environment_present,
    function_known,
    input_valid,
    not_expired,
    time_enough,
)
"""Whether we can. Asked of every task."""

CHOICE: tuple[Rule, ...] = (
    payment_enough,
    margin_enough,
    source_not_denied,
    client_not_denied,
    source_allowed,
    client_allowed,
    source_works,
    client_pays,
    within_hours,
    owner_away,
)
"""Whether we want to. Not asked of an obligation."""


def judge(candidate: Candidate, policy: AdmissionPolicy, now: Circumstances | None = None) -> Verdict:
    """Run every rule that applies and keep every ruling, in the order of the rules."""
    rules = ABILITY if candidate.obliged else ABILITY + CHOICE
    found = (rule(candidate, policy, now or Circumstances()) for rule in rules)
    return verdict(tuple(ruling for ruling in found if ruling is not None))


def _unbroken(code: str, text: str, breaker: OpenBreaker | None) -> Ruling | None:
    if breaker is None:
        return None
    weight = f"{breaker.weight:.1f} of {breaker.limit:.1f}; taken again in {breaker.closes_in:.0f} s"
    return Ruling(code, False, f"{text}: {weight}", f"breakers.limit = {int(breaker.weight) + 1}")


def _at(expiry: int) -> str:
    """For people, who may have any clock; strangers choose it, and a day that no calendar has stays a number."""
    try:
        return f"at {datetime.fromtimestamp(expiry, UTC).isoformat(' ')[:19]} UTC"
    except (ValueError, OverflowError, OSError):
        return f"at {expiry}"


def _denied(what: str, address: Address | None, denied: frozenset[Address], setting: str) -> Ruling | None:
    if address is None or not denied:
        return None
    if _listed(address, denied):
        text = f"{what} {address} is on the deny list of {len(denied)} {what}s"
        return Ruling("list.denied", False, text, f"{setting} without {address}")
    return Ruling("list.denied", True, f"{what} is not on the deny list of {len(denied)}")


def _allowed(what: str, address: Address | None, allowed: frozenset[Address], setting: str) -> Ruling | None:
    if not allowed:
        return None
    if address is not None and _listed(address, allowed):
        return Ruling("list.not_allowed", True, f"{what} is on the allow list of {len(allowed)}")
    name = f"{what} {address}" if address is not None else f"an unknown {what}"
    text = f"{name} is not on the allow list of {len(allowed)} {what}s"
    return Ruling("list.not_allowed", False, text, f"{setting} with {address}" if address else "")


def _listed(address: Address, addresses: frozenset[Address]) -> bool:
    # A list that silently misses because of an address's case would let through what the operator refused.
    return address in addresses or any(address.lower() == other.lower() for other in addresses)


def _of(address: Address, values: Mapping[Address, _V]) -> _V | None:
    if not values:
        return None
    return next((value for other, value in values.items() if other.lower() == address.lower()), None)


def _listing(items: Iterable[str]) -> str:
    items = tuple(items)
    shown = "; ".join(item[:200] for item in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown}; and {len(items) - _SHOWN} more"
