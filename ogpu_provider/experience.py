"""What the daemon has seen of its work, and judges new work by: lessons, breakers, prices, bids, the owner."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import structlog

from ogpu_provider import policies
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.learnt import Knowledge
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.journal import Journal
from ogpu_provider.pipeline.lessons import Lessons
from ogpu_provider.scheduler.assessment import Assessment
from ogpu_provider.scheduler.breakers import Breakers
from ogpu_provider.scheduler.coinprice import CoinPrice
from ogpu_provider.scheduler.desktop import Desktop, Sessions, seated
from ogpu_provider.scheduler.rivals import Rivals
from ogpu_provider.settings import Settings

log = structlog.get_logger()
TIDY_S = 600.0
"""Seconds between two looks at what counts for nothing any more."""


class Experience:
    """Everything that `assessment` looks at. `restore` before `run`."""

    def __init__(self, settings: Settings, clock: Clock, journal: Journal, sessions: Sessions = seated) -> None:
        """Raises ConfigError for a bid strategy that there is none of."""
        self._settings = settings
        self._clock = clock
        self.lessons = Lessons(journal, clock, Knowledge())
        self.rivals = Rivals()
        self.coin_price = CoinPrice(
            clock,
            static=None if settings.price.coin_price is None else Fraction(settings.price.coin_price),
            file=settings.price.coin_price_file,
            max_age=settings.price.coin_price_max_age,
        )
        self._desktop = Desktop(clock, sessions, settings.owner.idle_after)
        self.assessment = Assessment(
            policies.assessment_policy(settings),
            self.lessons.knowledge,
            coin_price=self.coin_price.price,
            in_use=self._desktop.in_use,
            lowest=self.rivals.lowest,
        )

    async def restore(self) -> None:
        """What earlier runs learnt, and who is to be left alone. Raises StoreError."""
        await self.lessons.restore()
        self.lessons.forget(self.assessment.restore(self._clock.now()))
        await self.coin_price.look()
        if self._settings.owner.pause_in_use:
            await self._desktop.look()

    async def run(self, free: Callable[[], None]) -> None:
        """Look at files and the owner, and write lessons down. A service; `free` is called when the owner has left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.lessons.run(), name="lessons")
            group.create_task(self.coin_price.run(), name="coin price")
            group.create_task(self._tidy(), name="tidy")
            if self._settings.owner.pause_in_use:
                group.create_task(self._desktop.run(free), name="desktop")

    def moved(self, task: Task, before: TaskState, client: Address | None) -> None:
        """A task made a step."""
        self.lessons.moved(task, before)
        if strike := self.assessment.moved(task, before, client):
            self.lessons.learn(strike.key.fact, strike.at, strike.key.subject)
        if task.state.over:
            self.rivals.forget(task.address)

    def document(self) -> dict[str, Any]:
        """For `status`: breakers that still weigh something, the price in force, and what the owner wants."""
        coin, now, owner = self.coin_price.state, self._clock.now(), self._settings.owner
        return {
            "breakers": {
                "sources": _breakers(self.assessment.sources, now),
                "clients": _breakers(self.assessment.clients, now),
            },
            "coin_price": {
                "price": None if coin.price is None else float(coin.price),
                "file": None
                if self._settings.price.coin_price_file is None
                else str(self._settings.price.coin_price_file),
                "changed_at": coin.changed_at,
                "code": coin.code or None,
                "problem": coin.problem or None,
            },
            "owner": {"in_use": self._desktop.in_use() or None, "power_limit_wished": owner.power_limit},
        }

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(TIDY_S)
            self.lessons.forget(self.assessment.forget(self._clock.now()))


def _breakers(breakers: Breakers, now: float) -> list[dict[str, Any]]:
    policy = breakers.policy
    return [
        {
            "address": address,
            "weight": round(breaker.weight_at(now, policy), 3),
            "limit": policy.limit,
            "open": breaker.is_open(now, policy),
            "closes_at": breaker.closes_at(policy) if breaker.is_open(now, policy) else None,
        }
        for address, breaker in sorted(breakers.all().items())
    ]
