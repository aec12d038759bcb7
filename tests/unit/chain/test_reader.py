"""The reader's calls counted, and contracts that page, number and refuse in the ways that are known."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from eth_abi.abi import encode

from ogpu_provider.chain.contracts import CALLS, Malformed, checksummed, selector
from ogpu_provider.chain.networks import MAINNET, devnet
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.wallet import Wallet
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcRejected
from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import ZERO_ADDRESS, Address
from tests.fakes.clock import FakeClock

NETWORK = devnet("http://127.0.0.1:9")
US = checksummed("0x" + "a1" * 20)
OTHER = checksummed("0x" + "b2" * 20)
SOURCE = checksummed("0x" + "50" * 20)
TASK = checksummed("0x" + "7a" * 20)
PANIC = JsonRpcError("eth_call", 3, "panic: 0x32")
View = Callable[..., Any]


class Views(Rpc):
    """Contract views as Python functions: (address, name) to one that returns the results, or an error to answer."""

    def __init__(self, views: dict[tuple[Address, str], View]) -> None:
        super().__init__(NETWORK)
        self.views = views
        self.trips: list[int] = []
        self.unknown_for = 0
        self.answers: dict[str, Any] = {}

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        self.trips.append(len(calls))
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: tuple[Any, ...]) -> Any:
        if method != "eth_call":
            return self.answers[method]
        call, tag = params
        assert tag == "latest"
        if self.unknown_for > 0:
            self.unknown_for -= 1
            return "0x"
        data = bytes.fromhex(call["data"][2:])
        [name] = [one for at, one in self.views if at == call["to"] and selector(one) == data[:4]]
        arguments = [int.from_bytes(data[4 + at : 36 + at], "big") for at in range(0, len(data) - 4, 32)]
        found = self.views[call["to"], name](*arguments)
        if isinstance(found, JsonRpcError):
            return found
        values = found if len(CALLS[name][1]) > 1 else (found,)
        return "0x" + encode([kind.replace("string", "bytes") for kind in CALLS[name][1]], values).hex()


def reader(rpc: Rpc, **options: Any) -> ChainReader:
    return ChainReader(rpc, NETWORK, US, clock=options.pop("clock", FakeClock(1000.0)), **options)


def task_views(
    task: Address = TASK,
    *,
    status: int = 0,
    expiry: int = 5000,
    attempters: Sequence[Address] = (),
    base: int = 0,
    response: Address = ZERO_ADDRESS,
) -> dict[tuple[Address, str], View]:
    """A Task contract whose attempter ids count from `base`."""

    def slot(who: int) -> int:
        names = [int(one, 16) for one in attempters]
        return names.index(who) + base if who in names else 0

    return {
        (task, "Task.taskParams"): lambda: (SOURCE, b"https://example.org/c", expiry, 7),
        (task, "Task.getStatus"): lambda: status,
        (task, "Task.getExpiryTime"): lambda: expiry,
        (task, "Task.responseOf"): lambda who: response,
        (task, "Task.winningProvider"): lambda: ZERO_ADDRESS,
        (task, "Task.getAttemptCount"): lambda: len(attempters),
        (task, "Task.getAttempterId"): slot,
        (task, "Task.attempters"): lambda index: attempters[index] if index < len(attempters) else PANIC,
    }


def source_views(tasks: Sequence[Address], max_expiry: int = 3600) -> dict[tuple[Address, str], View]:
    params = (OTHER, b"https://example.org/m", 3, 1, 2, max_expiry, False, b"", 1, 4)
    return {
        (SOURCE, "Source.getSourceParams"): lambda: params,
        (SOURCE, "Source.getStatus"): lambda: 0,
        (SOURCE, "Source.getTaskCount"): lambda: len(tasks),
        (SOURCE, "Source.getTasks"): lambda lower, upper: list(tasks[: upper + 1]) if lower == 0 else PANIC,
    }


async def test_a_published_task_costs_exactly_one_call() -> None:
    rpc = Views(task_views(status=5))
    view = await reader(rpc).published(TASK)
    assert rpc.trips == [1]
    assert (view.config_url, view.payment, view.status) == ("https://example.org/c", 7, TaskStatus.NEW)


async def test_a_node_that_does_not_know_the_task_yet_is_asked_again() -> None:
    rpc = Views(task_views())
    rpc.unknown_for = 2
    clock = Hasty()
    assert (await reader(rpc, clock=clock).published(TASK)).payment == 7
    assert rpc.trips == [1, 1, 1]
    rpc.unknown_for = 99
    with pytest.raises(Malformed):
        await reader(rpc, clock=clock).published(TASK)
    assert clock.slept < 1.0


async def test_where_we_stand_costs_one_round_trip() -> None:
    rpc = Views(task_views(status=1, attempters=[US], response=OTHER))
    view = await reader(rpc).standing(TASK)
    assert rpc.trips == [7]
    assert (view.attempted_by_us, view.our_response, view.winner, view.status) == (
        True,
        OTHER,
        None,
        TaskStatus.ATTEMPTED,
    )


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize(
    ("attempters", "ours"), [([], False), ([US], True), ([OTHER], False), ([OTHER, US], True), ([US, OTHER], True)]
)
async def test_our_slot_is_found_whether_ids_start_at_0_or_1(base: int, attempters: list[Address], ours: bool) -> None:
    rpc = Views(task_views(attempters=attempters, base=base))
    assert (await reader(rpc).standing(TASK)).attempted_by_us is ours


async def test_a_refused_read_is_not_taken_for_an_answer() -> None:
    views = task_views(attempters=[OTHER])
    views[TASK, "Task.responseOf"] = lambda who: PANIC
    with pytest.raises(RpcRejected):
        await reader(Views(views)).standing(TASK)
    views = task_views(attempters=[OTHER])
    views[TASK, "Task.attempters"] = lambda index: PANIC  # though there is one attempter
    with pytest.raises(RpcRejected):
        await reader(Views(views)).standing(TASK)


def many(count: int) -> list[Address]:
    return [checksummed(f"0x{n + 1:040x}") for n in range(count)]


async def test_the_past_of_a_busy_source_is_not_read() -> None:
    tasks = many(3000)
    views = source_views(tasks, max_expiry=100)
    for index, task in enumerate(tasks):  # one a second, each living 60 s, the newest published just now
        views |= task_views(task, expiry=1000 - (len(tasks) - 1 - index) + 60)
    rpc = Views(views)
    found = await reader(rpc).open_tasks(SOURCE)
    assert [view.address for view in found] == tasks[:-61:-1]
    assert sum(rpc.trips) < 3000
    assert len(rpc.trips) < 15
    views[SOURCE, "Source.getTasks"] = lambda lower, upper: JsonRpcError("eth_call", -32000, "out of gas")
    views[SOURCE, "Source.tasks"] = lambda place: tasks[place]
    one_by_one = Views(views)
    assert await reader(one_by_one).open_tasks(SOURCE) == found, "a list too long for one call is read from its end"
    assert len(one_by_one.trips) < 20


async def test_no_more_tasks_are_looked_at_than_allowed() -> None:
    tasks = many(400)
    views = source_views(tasks, max_expiry=10**9)
    for task in tasks:
        views |= task_views(task, status=5)
    views |= task_views(tasks[0]) | task_views(tasks[250])
    rpc = Views(views)
    assert [view.address for view in await reader(rpc, task_limit=200).open_tasks(SOURCE)] == [tasks[250]]


async def test_a_hole_in_the_list_is_no_task() -> None:
    views = source_views([TASK, ZERO_ADDRESS]) | task_views()
    assert [view.address for view in await reader(Views(views)).open_tasks(SOURCE)] == [TASK]


def nexus_views(sources: Sequence[Address], get: View) -> dict[tuple[Address, str], View]:
    return {
        (NETWORK.nexus, "Nexus.getSourceCount"): lambda: len(sources),
        (NETWORK.nexus, "Nexus.getSources"): get,
        (NETWORK.nexus, "Nexus.sources"): lambda index: sources[index],
    }


async def test_all_sources_come_in_one_call_where_that_works() -> None:
    sources = [*many(5), ZERO_ADDRESS]
    rpc = Views(nexus_views(sources, lambda lower, upper: sources[lower : upper + 1]))
    assert await reader(rpc).all_sources() == sources[:5]
    assert rpc.trips == [1, 1]


@pytest.mark.parametrize("panics_above_zero", [False, True])
async def test_sources_are_paged_and_at_worst_read_one_by_one(panics_above_zero: bool) -> None:
    sources = many(250)

    def get(lower: int, upper: int) -> Any:
        if upper - lower >= 100 or (panics_above_zero and lower):
            return PANIC
        return sources[lower : upper + 1]

    rpc = Views(nexus_views(sources, get))
    assert await reader(rpc).all_sources() == sources
    assert len(rpc.trips) <= 7


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize(
    ("noted", "registrants", "expected"),
    [
        (0, [], None),
        (0, [OTHER], None),
        (2, [US], Environment.NVIDIA),
        (1, [OTHER, US], Environment.CPU),
        (2, [ZERO_ADDRESS], None),  # a note that outlived the registration
        (2, [], None),
    ],
)
async def test_a_registration_needs_both_the_note_and_the_list(
    base: int, noted: int, registrants: list[Address], expected: Environment | None
) -> None:
    listed = [int(one, 16) for one in registrants]
    rpc = Views(
        {
            (SOURCE, "Source.preferredEnvironmentOf"): lambda who: noted,
            (SOURCE, "Source.getRegistrantCount"): lambda: len(registrants),
            (SOURCE, "Source.getRegistrantId"): lambda who: listed.index(who) + base if who in listed else 0,
            (SOURCE, "Source.registrants"): lambda index: registrants[index] if index < len(registrants) else PANIC,
        }
    )
    assert await reader(rpc).registered_environment(SOURCE) is expected
    assert rpc.trips == [4]


async def test_a_registration_for_several_environments_is_malformed() -> None:
    views: dict[tuple[Address, str], View] = {
        (SOURCE, "Source.preferredEnvironmentOf"): lambda who: 3,
        (SOURCE, "Source.getRegistrantCount"): lambda: 1,
        (SOURCE, "Source.getRegistrantId"): lambda who: 1,
        (SOURCE, "Source.registrants"): lambda index: OTHER,
    }
    with pytest.raises(Malformed):
        await reader(Views(views)).registered_environment(SOURCE)


async def test_the_wallet_reads_each_thing_in_one_round_trip() -> None:
    figures = {
        "balanceOf": 1,
        "lockupOf": 2,
        "unbondingOf": 3,
        "unbondingTimestamp": 4,
        "totalEarningsOf": 5,
        "sanctionOf": 6,
    }
    views: dict[tuple[Address, str], View] = {
        (NETWORK.vault, f"Vault.{name}"): lambda who, value=value: value for name, value in figures.items()
    }
    views |= {
        (NETWORK.vault, "Vault.isEligible"): lambda who: True,
        (NETWORK.vault, "Vault.isWhitelisted"): lambda who: False,
        (NETWORK.vault, "Vault.MIN_LOCKUP_PER_SOURCE"): lambda: 1000,
        (NETWORK.vault, "Vault.UNBONDING_PERIOD"): lambda: 604800,
        (NETWORK.terminal, "Terminal.masterOf"): lambda who: ZERO_ADDRESS,
        (NETWORK.terminal, "Terminal.isProvider"): lambda who: True,
        (NETWORK.terminal, "Terminal.baseDataOf"): lambda who: b"https://example.org/b",
        (NETWORK.terminal, "Terminal.liveDataOf"): lambda who: b"",
    }
    rpc = Views(views)
    rpc.answers = {
        "eth_getBalance": "0x10",
        "eth_getTransactionCount": "0x3",
        "eth_getBlockByNumber": {"baseFeePerGas": "0x7"},
        "eth_gasPrice": "0x9",
        "eth_maxPriorityFeePerGas": JsonRpcError("eth_maxPriorityFeePerGas", -32601, "not supported"),
    }
    wallet = Wallet(rpc, NETWORK)
    account = await wallet.vault(US)
    assert (account.balance, account.lockup, account.unbonding, account.unbonding_at) == (1, 2, 3, 4)
    assert (account.earned, account.sanctioned, account.eligible, account.whitelisted) == (5, 6, True, False)
    terms = await wallet.terms()
    assert (terms.min_lockup_per_source, terms.unbonding_period) == (1000, 604800)
    pairing = await wallet.pairing(US)
    assert (pairing.master, pairing.announced, pairing.base_data) == (None, True, "https://example.org/b")
    assert await wallet.balance(US) == 16
    assert await wallet.nonce(US) == 3
    fees = await wallet.fees()
    assert (fees.base_fee, fees.gas_price, fees.tip) == (7, 9, None)
    assert rpc.trips == [8, 2, 4, 1, 1, 3]


def test_a_network_keeps_its_addresses_at_other_endpoints() -> None:
    elsewhere = MAINNET.at(http_url="http://127.0.0.1:1")
    assert (elsewhere.http_url, elsewhere.ws_url) == ("http://127.0.0.1:1", "")
    assert (elsewhere.nexus, elsewhere.chain_id, elsewhere.pin_url) == (MAINNET.nexus, 1071, MAINNET.pin_url)
    assert MAINNET.at() == MAINNET
    assert {checksummed(one) for one in MAINNET.contracts} == set(MAINNET.contracts)


class Hasty(FakeClock):
    """Sleeping passes at once, and is counted."""

    slept = 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
