"""`simulate`, `why-idle` and `why` over thousands of tasks on a real node, against sums made from plain reads."""

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.cli.main import invoke
from ogpu_provider.devnet.node import TESTNET_CHAIN_ID
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.learnt import Fact, Key, Learnt
from ogpu_provider.domain.source import Environment, ServedSource, SourceState
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import COIN, Address, Hash
from ogpu_provider.domain.verdict import Reason, Ruling, verdict
from ogpu_provider.store.sqlite import SqliteStore
from tests.integration.explain.pastnet import PastNet
from tests.integration.explain.reckoning import Bill, Item, bill, items
from tests.sizes import size

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]  # a slow machine needs minutes for the past
UNSETTLED = 12
ATTEMPT, SUBMIT = 31_000, 97_000
"""Wei that our transactions cost so far."""
FLOOR = COIN // 100


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PastNet]:
    with PastNet(tmp_path_factory.mktemp("explain"), size("past tasks")) as made:
        yield made


@pytest.fixture(scope="module")
def seen(net: PastNet) -> list[Item]:
    last = int(net.rpc.call("eth_blockNumber"), 16) - UNSETTLED
    found = items(net.rpc, net.deployment.nexus, net.begin, last)
    assert len(found) == size("past tasks") // 50 * 50
    return found


class Host:
    """Settings, journal and files of one operator, and the commands."""

    def __init__(self, folder: Path, net: PastNet, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self.net, self._capture = folder, net, capture
        self.config = folder / "config.toml"
        self.config.write_text(
            f'data_dir = "{folder}/data"\n[network]\nname = "devnet"\nrpc_url = "{net.url}"\n'
            f'[sources]\nserve = ["{net.first}", "{net.manual}"]\n'
            f'[admission]\nmin_payment = "0.01"\nmin_time_left = 15\ncpu_slots = 64\n[breakers]\nlimit = 0\n'
        )
        self.machine = folder / "host.toml"
        self.machine.write_text(
            'cpu_slots = 64\n[[devices]]\nenvironment = "nvidia"\nname = "X"\nmemory_gib = 24\ncount = 2\n'
        )

    def __call__(self, *words: str) -> Any:
        code = invoke([*words, "--json", "--config", str(self.config)])
        text = self._capture.readouterr()
        assert code == 0, text.err
        return json.loads(text.out)

    def simulate(self, policy: str, *more: str) -> Any:
        file = self.folder / "policy.toml"
        file.write_text(policy)
        return self("simulate", "--since", "1d", "--policy", str(file), "--host", str(self.machine), *more)

    def coin_file(self, price: str) -> str:
        """The setting for a file that holds this price."""
        file = self.folder / "price"
        file.write_text(f"{price}\n")
        return f'coin_price_file = "{file}"\n'

    def offline(self, *words: str) -> Any:
        """With the node's address gone."""
        self.config.write_text(self.config.read_text().replace(self.net.url, "http://127.0.0.1:9"))
        return self(*words)


@pytest.fixture
def host(tmp_path: Path, net: PastNet, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path, net, capsys)


def learnt(effect: str, wei: int) -> Learnt:
    return Learnt(Key(Fact.GAS, effect), 1, wei, (float(wei),))


async def keep_gas(folder: Path, provider: str) -> None:
    path = folder / "data" / "provider.db"
    store = await SqliteStore.open(path, chain_id=TESTNET_CHAIN_ID, provider=Address(provider))
    await store.keep_learnt([learnt("attempt", ATTEMPT), learnt("submitResponse", SUBMIT)])
    await store.close()


POLICIES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "as it came": ("", {"servers": 1}, ()),
    "more at once, floor lower": (
        '[admission]\nslots_per_source = 12\nmin_payment = "0.004"\nmin_time_left = 5\n',
        {"servers": 12, "floor": COIN // 250, "least": 5},
        (),
    ),
    "nobody else, energy counted": (
        '[admission]\nslots_per_source = 6\n[price]\nper_kwh = "0.31"\ncoin_price = "0.07"\nwatts = 350\n'
        "[execution]\nresponse_margin = 4\n",
        {"servers": 6, "alone": True, "watts": 350, "kwh": "0.31", "coin": "0.07", "margin": 4},
        ("--competition", "none"),
    ),
    "who lets us down is left alone, by the shipped figures": (
        "[breakers]\nlimit = 3.0\n",
        {"servers": 1, "breaker": (3.0, 1800)},
        (),
    ),
    "left alone for minutes, long runs given up": (
        "[breakers]\nlimit = 2.5\nhalf_life = 200\n[admission]\nmin_time_left = 1\n[execution]\nresponse_margin = 20\n",
        {"servers": 1, "breaker": (2.5, 200), "least": 1, "margin": 20},
        (),
    ),
}
TERMS: dict[str, Any] = {
    "floor": FLOOR,
    "least": 15,
    "margin": 10,
    "alone": False,
    "watts": 0,
    "kwh": "0",
    "coin": "1",
    "breaker": (0, 1),
    "learnt": {},
    "asked": {},
}


@pytest.mark.parametrize("name", POLICIES)
def test_simulate_comes_to_the_same_sums_under_several_policies(
    host: Host, net: PastNet, seen: list[Item], name: str
) -> None:
    asyncio.run(keep_gas(host.folder, net.us.address))
    policy, terms, words = POLICIES[name]
    answer = host.simulate(policy, *words)
    assert answer["published"] == sums(seen)
    assert answer["complete"] is True
    reasons: dict[str, list[Item]] = {"source.not_served": of(seen, net.unserved)}
    bills = {
        source: bill(of(seen, source), reasons, TERMS | {"by_hand": by_hand, "gas": (ATTEMPT, SUBMIT)} | terms)
        for source, by_hand in ((net.first, False), (net.manual, True))
    }
    assert {one["code"]: (one["tasks"], one["worth_wei"]) for one in answer["reasons"]} == {
        code: (len(some), sum(task.payment for task in some)) for code, some in reasons.items() if some
    }
    for source in answer["sources"]:
        if source["source"] in bills:
            same(source, bills[source["source"]])
    left_alone = {"breaker.source", "breaker.client"} & {code for code, some in reasons.items() if some}
    assert bool(left_alone) is ("breaker" in terms)
    whole = bills.values()
    assert answer["accepted"] == sum(one.paid + one.unpaid + one.lost + one.failed for one in whole) > 0
    assert answer["net_wei"] == sum(one.income - one.gas - one.energy for one in whole)
    assert answer["slots"]["busy_s"] == sum(one.busy for one in whole)
    assert answer["gas_known"] is True
    assert all(0 < card["share"] <= 1 for card in answer["cards"])


RUNS = {"quick": [2, 4, 3, 3], "slow": [27, 25, 31]}
"""Whole seconds, and so are the medians: of functions, and of all together."""


async def keep_runs(folder: Path, net: PastNet, asked: dict[str, str], seen: list[Item]) -> None:
    """As a daemon leaves it that has read what some tasks asked for, and run some."""
    await keep_gas(folder, net.us.address)
    path = folder / "data" / "provider.db"
    store = await SqliteStore.open(path, chain_id=TESTNET_CHAIN_ID, provider=Address(net.us.address))
    runs = [
        Learnt(Key(Fact.RUN, Address(net.first), name), len(took), max(took), tuple(map(float, took)))
        for name, took in RUNS.items()
    ]
    await store.keep_learnt(runs)
    rows = [
        Task(Address(one.address), Address(one.source), TaskState.SEEN, one.block, float(one.at), function=name)
        for one in seen
        if (name := asked.get(one.address))
    ]
    name = Hash("0x" + "ab" * 32)
    await store.insert(rows, Block(seen[-1].block, name, name, 1))
    await store.close()


def test_simulate_here_takes_a_task_to_run_as_its_function_does_where_the_journal_knows_it(
    host: Host, net: PastNet, seen: list[Item]
) -> None:
    first = of(seen, net.first)
    names = ("quick", "slow", "never ran here", "")
    asked = {task.address: names[place % 4] for place, task in enumerate(first) if names[place % 4]}
    asyncio.run(keep_runs(host.folder, net, asked, seen))
    host.config.write_text(
        host.config.read_text() + f'[price]\nper_kwh = "0.29"\nwatts = 410\n{host.coin_file("0.031")}'
    )
    policy = host.folder / "policy.toml"
    policy.write_text("[admission]\nslots_per_source = 4\n[runtime]\n")
    answer = host("simulate", "--since", "1d", "--policy", str(policy))
    terms = TERMS | {"by_hand": False, "gas": (ATTEMPT, SUBMIT), "servers": 4}
    terms |= {"learnt": RUNS, "asked": asked, "watts": 410, "kwh": "0.29", "coin": "0.031"}
    reasons: dict[str, list[Item]] = {}
    made = bill(first, reasons, terms)
    (told,) = (one for one in answer["sources"] if one["source"] == net.first)
    same(told, made)
    assert told["declined"]["tasks"] == sum(map(len, reasons.values())) > 0
    assert made.paid > 0
    by_function = sum(name in RUNS for name in asked.values())
    assert answer["runs"]["function"] == by_function
    assert answer["runs"]["source"] == len(first) - by_function
    assert answer["coin_price"] == 0.031


def same(told: dict[str, Any], made: Bill) -> None:
    counts = {name: told[name]["tasks"] for name in ("paid", "unpaid", "lost", "failed")}
    assert counts == {"paid": made.paid, "unpaid": made.unpaid, "lost": made.lost, "failed": made.failed}
    assert (told["income_wei"], told["gas_wei"], told["energy_wei"]) == (made.income, made.gas, made.energy)


def of(tasks: list[Item], source: str) -> list[Item]:
    return [task for task in tasks if task.source == source]


def sums(tasks: list[Item]) -> dict[str, Any]:
    worth = sum(task.payment for task in tasks)
    return {"tasks": len(tasks), "worth_wei": worth, "worth": coins(worth)}


def coins(wei: int) -> str:
    return f"{Decimal(wei).scaleb(-18).normalize():f}"


def test_a_second_simulation_reads_only_what_is_new_and_none_needs_the_node(host: Host, net: PastNet) -> None:
    first = host.simulate("")
    file = host.folder / "data" / "history.db"
    before = file.read_bytes()
    again = host.simulate("")
    near = {name: pytest.approx(first[name], abs=600) for name in ("since", "span_s")}
    assert again == first | near | shares(first)
    assert file.read_bytes() == before
    words = ("simulate", "--since", "1d", "--policy", str(host.folder / "policy.toml"), "--host", str(host.machine))
    away = host.offline(*words)
    assert (away["complete"], away["reasons"], away["net_wei"]) == (False, first["reasons"], first["net_wei"])


def shares(answer: dict[str, Any]) -> dict[str, Any]:
    """They are of the time since `--since`, which is counted back from now."""
    near = [card | {"share": pytest.approx(card["share"], rel=0.01)} for card in answer["cards"]]
    return {"cards": near, "slots": answer["slots"] | {"share": pytest.approx(answer["slots"]["share"], rel=0.01)}}


async def keep_journal(folder: Path, net: PastNet, seen: list[Item], read: int) -> None:
    """What a daemon would have written up to block `read`: one in four was ours, the others have their reasons."""
    path = folder / "data" / "provider.db"
    store = await SqliteStore.open(path, chain_id=TESTNET_CHAIN_ID, provider=Address(net.us.address))
    for source in (net.first, net.manual):
        served = ServedSource(Address(source), SourceState.READY, environment=Environment.CPU, registered=True)
        await store.save_source(served)
    known = [task for task in seen if task.source != net.unserved and task.block <= read]
    name = Hash("0x" + "ab" * 32)
    rows = [
        Task(
            Address(task.address),
            Address(task.source),
            TaskState.SEEN,
            task.block,
            task.at + (200.0 if fate(place) == "late" else 1.0),
            payment=task.payment,
            expiry=task.expiry,
        )
        for place, task in enumerate(known)
    ]
    await store.insert(rows, Block(read, name, name, 1))
    for place, row in enumerate(rows):
        for step in STEPS[fate(place)](row):
            row = await store.save(row, step, at=row.seen_at + (60.0 if fate(place) == "waited" else 0.5), boot="b")
    await store.close()


def fate(place: int) -> str:
    return ("ours", "floor", "short", "late", "waited", "failed", "paused", "ours")[place % 8]


def declined(*rulings: Ruling) -> list[Transition]:
    return [Transition(TaskState.DECLINED, {}, verdict(rulings).reasons, rulings=rulings)]


def floor(row: Task) -> list[Transition]:
    setting = f'admission.min_payment = "{coins(row.payment)}"'
    return declined(
        Ruling("time.expired", True, "in time"), Ruling("payment.below_floor", False, "too little", setting)
    )


def short(row: Task) -> list[Transition]:
    setting = f"admission.min_time_left = {3 + row.seen_block % 9}"
    more = Ruling("payment.below_floor", False, "too little", 'admission.min_payment = "0.001"')
    return declined(Ruling("time.too_short", False, "too short", setting), more)


STEPS: dict[str, Callable[[Task], list[Transition]]] = {
    "ours": lambda _: [Transition(TaskState.ADMITTED)],
    "floor": floor,
    "short": short,
    "late": lambda _: [Transition(TaskState.DECLINED, {}, (Reason("time.expired", "too late"),))],
    "waited": lambda _: [Transition(TaskState.DECLINED, {}, (Reason("time.expired", "too late"),))],
    "failed": lambda _: [
        Transition(TaskState.ADMITTED),
        Transition(TaskState.FAILED, {}, (Reason("execute.no_result", "nothing came"),)),
    ],
    "paused": lambda _: [Transition(TaskState.DECLINED, {}, (Reason("provider.paused", "paused"),))],
}
CODES = {
    "floor": "payment.below_floor",
    "short": "time.too_short",
    "late": "daemon.down",
    "waited": "capacity.none",
    "failed": "execute.no_result",
    "paused": "provider.paused",
}


def test_why_idle_adds_up_what_was_missed_and_names_the_setting(host: Host, net: PastNet, seen: list[Item]) -> None:
    read = seen[len(seen) // 2 - 1].block
    asyncio.run(keep_journal(host.folder, net, seen, read))
    known = [task for task in seen if task.source != net.unserved and task.block <= read]
    missed: dict[str, list[Item]] = {}
    for place, task in enumerate(known):
        if fate(place) != "ours":
            missed.setdefault(CODES[fate(place)], []).append(task)
    unserved = missed["source.not_served"] = of(seen, net.unserved)
    after = [task for task in seen if task.source != net.unserved and task.block > read]
    missed["daemon.down"] += [task for task in after if task.canceled is None]
    ours = [task for place, task in enumerate(known) if fate(place) == "ours"]
    withdrawn = [task for task in (*ours, *after) if task.canceled is not None]
    answer = host("why-idle", "--since", "6h")
    assert answer["published"] == sums(seen)
    assert answer["taken"] == sums([task for task in ours if task.canceled is None])
    assert answer["withdrawn"] == sums(withdrawn)
    assert withdrawn
    reasons = {one["code"]: one for one in answer["reasons"]}
    assert {code: (one["tasks"], one["worth_wei"]) for code, one in reasons.items()} == {
        code: (len(some), sum(task.payment for task in some)) for code, some in missed.items()
    }
    worths = [one["worth_wei"] for one in answer["reasons"]]
    assert worths == sorted(worths, reverse=True)
    assert sum(answer[name]["worth_wei"] for name in ("missed", "taken", "withdrawn")) == sums(seen)["worth_wei"]
    lowest = min(task.payment for task in missed["payment.below_floor"])
    assert reasons["payment.below_floor"]["settings"] == [f'admission.min_payment = "{coins(lowest)}"']
    least = min(3 + task.block % 9 for task in missed["time.too_short"])
    assert reasons["time.too_short"]["settings"] == [f"admission.min_time_left = {least}"]
    assert reasons["time.too_short"]["alone"] == {"tasks": 0, "worth_wei": 0}
    assert reasons["source.not_served"]["settings"] == [f"sources.serve with {net.unserved}"]
    fitting = [task for task in unserved if task.payment >= FLOOR and task.expiry - task.at >= 15 + needs(unserved)]
    assert reasons["source.not_served"]["alone"]["tasks"] == len(fitting)
    assert reasons["provider.paused"]["settings"] == ["ogpu-provider resume"]
    assert reasons["execute.no_result"]["settings"] == []


def needs(tasks: list[Item]) -> int:
    """Seconds that the chain never showed of a source: publishing and blocks are all that is known."""
    assert not any(task.attempted for task in tasks)
    return 1 + 2


def test_why_tells_of_tasks_in_the_journal_and_of_those_that_were_never_seen(
    host: Host, net: PastNet, seen: list[Item]
) -> None:
    read = seen[len(seen) // 2 - 1].block
    asyncio.run(keep_journal(host.folder, net, seen, read))
    known = [task for task in seen if task.source != net.unserved and task.block <= read]
    declined_one = next(task for place, task in enumerate(known) if fate(place) == "floor")
    answer = host("why", declined_one.address)
    assert (answer["state"], answer["decided_by"]) == ("declined", "payment.below_floor")
    assert [(rule["code"], rule["passed"]) for rule in answer["rules"]] == [
        ("time.expired", True),
        ("payment.below_floor", False),
    ]
    poor = next(task for task in of(seen, net.unserved) if task.payment < FLOOR)
    after = next(task for task in seen if task.source == net.first and task.block > read)
    for _ in range(2):  # from the chain, then from what `why-idle` has kept of it
        told = host("why", poor.address)
        assert (told["state"], told["decided_by"], told["source"]) == ("unseen", "source.not_served", net.unserved)
        assert (told["payment_wei"], told["expiry"]) == (poor.payment, poor.expiry)
        assert told["rules"][0]["setting"] == f"sources.serve with {net.unserved}"
        assert "payment.below_floor" in [rule["code"] for rule in told["rules"]]
        host("why-idle", "--since", "6h")
    assert host("why", after.address)["decided_by"] == "daemon.down"
    assert invoke(["why", "0x" + "5" * 40, "--config", str(host.config)]) == 1
