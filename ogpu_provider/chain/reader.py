"""Contract state, one request for each thing asked; and the calldata of what we want to do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from ogpu_provider.chain import contracts
from ogpu_provider.chain.contracts import Calldata, Malformed, decode_result, encode_call, present
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.receipts import Node
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.clock import Clock, SystemClock
from ogpu_provider.domain.errors import RpcRejected
from ogpu_provider.domain.facts import TaskView
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.source import Environment, SourceParams
from ogpu_provider.domain.units import ZERO_ADDRESS, Address

log = structlog.get_logger(__name__)

_PAGE = 100  # items in one paged read
_STATUSES = 50  # tasks looked at in one round trip
_AT_ONCE = 64  # requests under way; a thousand tasks in one block are no reason to flood a node
_LAG_PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds; a replica behind the one that announced the block


class ChainReader:
    """Reads as of the node's latest block. Implements the pipeline's `Chain` port for one provider.

    Every method raises RpcUnavailable, RpcRejected, or Malformed where the answer is not the contract's.
    """

    def __init__(
        self, rpc: Node, network: Network, provider: Address, *, clock: Clock | None = None, task_limit: int = 2000
    ) -> None:
        self._rpc = rpc
        self._network = network
        self._provider = provider
        self._clock = clock or SystemClock()
        self._task_limit = task_limit
        self._gate = asyncio.Semaphore(_AT_ONCE)

    @property
    def provider(self) -> Address:
        return self._provider

    # tasks

    async def published(self, task: Address) -> TaskView:
        """One eth_call. A node that does not know the contract yet is asked again, for less than a second."""
        for pause in _LAG_PAUSES:
            try:
                return contracts.task_view(task, await self._one(task, "Task.taskParams"))
            except Malformed as err:
                if err.code != "chain.empty_answer":
                    raise
                await self._clock.sleep(pause)
        return contracts.task_view(task, await self._one(task, "Task.taskParams"))

    async def standing(self, task: Address) -> TaskView:
        return (await self._standings([task]))[0]

    async def winner(self, task: Address) -> Address | None:
        return present(await self.read(task, "Task.winningProvider"))

    async def open_tasks(self, source: Address) -> list[TaskView]:
        """Newest first. The list of a source only grows, so it is read backwards and left when nothing older can live:

        a task expires at most `max_expiry_duration` after its publication, and was published before its expiry; so if
        one expired more than that long ago, all before it are dead. At most `task_limit` tasks are looked at.
        """
        now = int(self._clock.now())
        count, params, status = await self.reads(
            (source, "Source.getTaskCount", ()),
            (source, "Source.getSourceParams", ()),
            (source, "Source.getStatus", ()),
        )
        total = decode_result("Source.getTaskCount", count)
        if total == 0:
            return []
        longest = contracts.source_params(source, params, status).max_expiry_duration
        found: list[TaskView] = []
        async for some in self._newest_tasks(source, total):
            *statuses, expiry = await self.reads(
                *((task, "Task.getStatus", ()) for task in some), (some[-1], "Task.getExpiryTime", ())
            )
            live = [t for t, answer in zip(some, statuses, strict=True) if not contracts.task_status(answer).over]
            views = await self._standings(live)
            found += [one for one in views if one.expiry > now and not one.status.over]
            if decode_result("Task.getExpiryTime", expiry) + longest <= now:
                break
        return found

    async def _newest_tasks(self, source: Address, total: int) -> AsyncIterator[Sequence[Address]]:
        """In portions. All at once if the node gives that: a lower bound above 0 panics; one by one where there are
        more than it reads in one call."""
        every: Sequence[Address] | None = None
        try:
            every = list(await self.read(source, "Source.getTasks", 0, total - 1))
            total = len(every)
        except (RpcRejected, Malformed) as err:
            log.info("tasks_read_one_by_one", source=source, tasks=total, reason=str(err)[:200])
        least = max(0, total - self._task_limit)
        for upper in range(total, least, -_STATUSES):
            places = range(upper - 1, max(least, upper - _STATUSES) - 1, -1)
            if every is not None:
                some = [every[place] for place in places]
            else:
                answers = await self.reads(*((source, "Source.tasks", (place,)) for place in places))
                some = [decode_result("Source.tasks", answer) for answer in answers]
            if live := [task for task in some if task != ZERO_ADDRESS]:
                yield live

    async def _standings(self, tasks: Sequence[Address]) -> list[TaskView]:
        """One batch. `getAttempterId` is 0 for 'absent' and may be 0 for the first attempter too, so slot 0 is read
        as well; that read reverts while there are no attempters, which is the only refusal allowed here."""
        us = self._provider
        asked = [
            call
            for task in tasks
            for call in (
                view(task, "Task.taskParams"),
                view(task, "Task.getStatus"),
                view(task, "Task.responseOf", us),
                view(task, "Task.winningProvider"),
                view(task, "Task.getAttemptCount"),
                view(task, "Task.getAttempterId", us),
                view(task, "Task.attempters", 0),
            )
        ]
        answers = await self._batch(asked)
        return [self._view(task, answers[7 * index : 7 * index + 7]) for index, task in enumerate(tasks)]

    def _view(self, task: Address, answers: Sequence[Any | JsonRpcError]) -> TaskView:
        params, status, response, winner, count, slot = granted(answers[:6])
        attempted = self._listed(
            decode_result("Task.getAttemptCount", count),
            decode_result("Task.getAttempterId", slot),
            lambda: decode_result("Task.attempters", granted(answers[6:])[0]),
        )
        return replace(
            contracts.task_view(task, params, contracts.task_status(status)),
            attempted_by_us=attempted,
            our_response=present(decode_result("Task.responseOf", response)),
            winner=present(decode_result("Task.winningProvider", winner)),
        )

    def _listed(self, count: int, slot: int, first: Callable[[], Address]) -> bool:
        """Whether we are in a list whose ids may start at 0 or at 1."""
        return count > 0 and (slot > 0 or first() == self._provider)

    # sources

    async def source(self, source: Address) -> SourceParams:
        params, status = await self.reads((source, "Source.getSourceParams", ()), (source, "Source.getStatus", ()))
        return contracts.source_params(source, params, status)

    async def all_sources(self) -> list[Address]:
        """One call if the contract gives all at once, else pages, else one by one; both bounds are inclusive."""
        nexus = self._network.nexus
        total = await self.read(nexus, "Nexus.getSourceCount")
        if total == 0:
            return []
        try:
            found: list[Address] = list(await self.read(nexus, "Nexus.getSources", 0, total - 1))
        except (RpcRejected, Malformed):
            found = []
            for lower in range(0, total, _PAGE):
                found += await self._page(lower, min(total, lower + _PAGE) - 1)
        return [source for source in found if source != ZERO_ADDRESS]

    async def _page(self, lower: int, upper: int) -> Sequence[Address]:
        nexus = self._network.nexus
        try:
            page: Sequence[Address] = await self.read(nexus, "Nexus.getSources", lower, upper)
            return page
        except (RpcRejected, Malformed):  # the deployed list may index its result from 0, and panic
            answers = await self.reads(*((nexus, "Nexus.sources", (index,)) for index in range(lower, upper + 1)))
            return [decode_result("Nexus.sources", answer) for answer in answers]

    async def registered_environment(self, source: Address) -> Environment | None:
        """Both must agree: an environment is noted for us, and we are in the list of registrants."""
        us = self._provider
        *certain, first = await self._batch(
            [
                view(source, "Source.preferredEnvironmentOf", us),
                view(source, "Source.getRegistrantCount"),
                view(source, "Source.getRegistrantId", us),
                view(source, "Source.registrants", 0),
            ]
        )
        environment, count, slot = granted(certain)
        value = decode_result("Source.preferredEnvironmentOf", environment)
        listed = value != 0 and self._listed(
            decode_result("Source.getRegistrantCount", count),
            decode_result("Source.getRegistrantId", slot),
            lambda: decode_result("Source.registrants", granted([first])[0]),
        )
        if not listed:
            return None
        try:
            return Environment(value)
        except ValueError as err:
            raise Malformed(f"source {source}: we are registered with environment {value}") from err

    # anything

    async def read(self, to: Address, name: str, *args: Any) -> Any:
        """One view of the table in `contracts`, decoded: `read(vault, "Vault.lockupOf", master)`."""
        return decode_result(name, await self._one(to, name, *args))

    async def _one(self, to: Address, name: str, *args: Any) -> Any:
        method, params = view(to, name, *args)
        async with self._gate:
            return await self._rpc.call(method, *params)

    async def reads(self, *asked: tuple[Address, str, tuple[Any, ...]]) -> list[Any]:
        """Several views in one round trip, not decoded. Raises the first refusal."""
        return granted(await self._batch([view(to, name, *args) for to, name, args in asked]))

    async def _batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        async with self._gate:
            return await self._rpc.batch(calls)

    # intents

    def intent_attempt(self, task: Address, payment: int, deadline: float) -> Intent:
        what = contracts.attempt(self._network.nexus, task, self._provider, payment)
        return self._intent(Effect.ATTEMPT, task, what, deadline)

    def intent_submit(self, task: Address, link: str, payment: int, deadline: float) -> Intent:
        what = contracts.submit_response(self._network.nexus, task, self._provider, link, payment)
        return self._intent(Effect.SUBMIT_RESPONSE, task, what, deadline)

    def intent_register(self, source: Address, environment: Environment) -> Intent:
        what = contracts.register(self._network.nexus, source, self._provider, environment)
        return self._intent(Effect.REGISTER, source, what)

    def intent_unregister(self, source: Address) -> Intent:
        what = contracts.unregister(self._network.nexus, source, self._provider)
        return self._intent(Effect.UNREGISTER, source, what)

    def intent_announce_master(self, master: Address) -> Intent:
        return self._intent(Effect.ANNOUNCE_MASTER, master, contracts.announce_master(self._network.terminal, master))

    def _intent(self, effect: Effect, subject: Address, what: Calldata, deadline: float | None = None) -> Intent:
        key = f"{self._network.chain_id}:{effect}:{subject}"
        return Intent(key, effect, subject, what.to, what.data, deadline)


def view(to: Address, name: str, *args: Any) -> Call:
    """The eth_call of a view, as of the latest block."""
    return "eth_call", ({"to": to, "data": "0x" + encode_call(name, *args).hex()}, "latest")


def granted(answers: Sequence[Any | JsonRpcError]) -> list[Any]:
    """The answers of a batch none of which may be a refusal. Raises the first that is."""
    for answer in answers:
        if isinstance(answer, JsonRpcError):
            raise answer
    return list(answers)
