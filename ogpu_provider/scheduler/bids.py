"""What to ask for a task of a source whose client confirms: providers compete there with the lower price.

A first-response task pays its full payment whatever was suggested, so only manual confirmation is bid for. A strategy
is a `Bid`; operators add their own by the entry point group `ogpu_provider.bids`: a callable from the text after the
colon in the setting (`mine:0.8` -> `mine("0.8")`) to a `Bid`. What it answers is bounded to 0..payment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import entry_points

import structlog

from ogpu_provider.domain.units import Wei, wei

log = structlog.get_logger()
GROUP = "ogpu_provider.bids"


@dataclass(frozen=True, slots=True)
class Auction:
    """What a strategy may look at. Wei; `costs`: what the task costs us. `won` of the last `bids` on this source that
    came to an end. `lowest`: the lowest bid of another provider seen for this task, None if there is none.
    """

    payment: Wei
    costs: Wei
    won: int = 0
    bids: int = 0
    lowest: Wei | None = None


Bid = Callable[[Auction], Wei]
Strategy = Callable[[str], Bid]


def fixed(amount: str) -> Bid:
    """`fixed:0.01`: that amount in coin, the payment if that is less."""
    asked = wei(amount)
    return lambda auction: asked


def percentage(share: str) -> Bid:
    """`percentage:90`: so many hundredths of the payment."""
    part = _percent(share)
    return lambda auction: int(auction.payment * part)


def undercut(floor: str) -> Bid:
    """`undercut:5`: one hundredth under the lowest bid seen, but 5 % above our costs at least; alone, the payment."""
    margin = 1 + _percent(floor)

    def bid(auction: Auction) -> Wei:
        if auction.lowest is None:
            return auction.payment
        return max(int(auction.costs * margin), auction.lowest - max(1, auction.lowest // 100))

    return bid


def win_rate(target: str) -> Bid:
    """`win-rate:50`: so much above costs that about that share of bids wins.

    Each bid asks costs + (payment - costs) x m, where m falls with the gap between target and the rate won so far:
    m = 1 - max(0, target - rate) / target. Without history the whole payment is asked; who wins nothing asks his costs.
    """
    wanted = _percent(target)
    if not wanted:
        raise ValueError("a win rate is above 0")

    def bid(auction: Auction) -> Wei:
        gap = max(Fraction(0), wanted - Fraction(auction.won, auction.bids)) / wanted if auction.bids else Fraction(0)
        room = max(0, auction.payment - auction.costs)
        return auction.costs + int(room * (1 - gap))

    return bid


OURS: Mapping[str, Strategy] = {
    "fixed": fixed,
    "percentage": percentage,
    "undercut": undercut,
    "win-rate": win_rate,
}
FULL = "percentage:100"
"""Asks what the client pays."""


def strategy(text: str) -> Bid:
    """`name` or `name:argument`. Raises ValueError for a name that nobody offers, or an argument it does not take."""
    name, _, argument = text.partition(":")
    make = OURS.get(name) or _offered(name)
    if make is None:
        names = ", ".join(sorted([*OURS, *(point.name for point in entry_points(group=GROUP))]))
        raise ValueError(f"no bid strategy {name!r}; there are {names}, and more by the entry points {GROUP}")
    return bounded(make(argument), name)


def bounded(bid: Bid, name: str = "") -> Bid:
    """The contract refuses a response that asks for more than the payment, and nobody pays us to take a task.

    A strategy of somebody else's that fails, or answers no whole number of wei, bids the payment and says so.
    """

    def ask(auction: Auction) -> Wei:
        try:
            asked: object = bid(auction)
        except Exception as error:
            log.exception("bid_failed", strategy=name, error=f"{type(error).__name__}: {error}")
            return auction.payment
        if not isinstance(asked, int) or isinstance(asked, bool):
            log.error("bid_failed", strategy=name, error=f"answered {asked!r}, which is no number of wei")
            return auction.payment
        return max(0, min(asked, auction.payment))

    return ask


def _offered(name: str) -> Strategy | None:
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    made: Strategy | None = found.load() if found else None
    return made


def _percent(text: str) -> Fraction:
    try:
        share = Fraction(text) / 100
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{text!r} is no percentage; a number from 0 to 100") from None
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no percentage; a number from 0 to 100")
    return share
