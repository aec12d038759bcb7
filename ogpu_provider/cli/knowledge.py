"""What this host knows of itself, for the commands that replay or judge the past."""

from pathlib import Path
from typing import TYPE_CHECKING

from ogpu_provider.cli import journal

if TYPE_CHECKING:
    from fractions import Fraction

    from ogpu_provider.domain.resources import Host
    from ogpu_provider.rehearsal import Record
    from ogpu_provider.settings import Settings

CLOCKS_APART_S = 3600.0
"""Times of blocks are not our clock's."""


async def recorded(settings: "Settings", since: float = 0.0, *, wishes: bool = True, learnt: bool = True) -> "Record":
    """What the journal knows, nothing where there is none. `learnt`: what is true of this host alone, too; functions
    of tasks published at or after `since`.
    """
    from ogpu_provider.domain.learnt import Fact
    from ogpu_provider.rehearsal import Record

    async with journal.if_any(settings) as reader:
        if reader is None:
            return Record()
        known, ours = await reader.learnt(), await reader.responses()
        wished = await reader.wishes() if wishes else ()
        if not learnt:
            return Record(wishes=wished, learnt=[one for one in known if one.key.fact is Fact.GAS], ours=ours)
        return Record(await reader.sources(), wished, known, ours, await reader.functions(since - CLOCKS_APART_S))


async def coin_price(settings: "Settings") -> "Fraction | None":
    """As the daemon has it: from the operator's file, else from the settings."""
    from fractions import Fraction

    from ogpu_provider.domain.clock import SystemClock
    from ogpu_provider.scheduler.coinprice import CoinPrice

    price, static = settings.price, settings.price.coin_price
    told = CoinPrice(
        SystemClock(),
        static=None if static is None else Fraction(static),
        file=price.coin_price_file,
        max_age=price.coin_price_max_age,
    )
    return (await told.look()).price


async def host_of(settings: "Settings", file: Path | None = None) -> "Host":
    """The one that `file` describes, else this one."""
    from ogpu_provider import hostfile, policies
    from ogpu_provider.scheduler.inventory import look

    return hostfile.read(file) if file else await look(policies.cpu_slots(settings))
