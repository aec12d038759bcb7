"""From settings, journal and a described host to a replay: what is served, where, for how long and at what price."""

from pathlib import Path

import pytest

from ogpu_provider import config, hostfile
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.learnt import Fact, Key, Learnt
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.source import Environment, ServedSource, SourceParams, SourceState
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.domain.wish import Want, Wish
from ogpu_provider.rehearsal import Record, Rehearsal
from ogpu_provider.scheduler.runs import UNKNOWN_RUN_S, Basis, Run
from ogpu_provider.settings import Settings
from tests.unit.scheduler.test_replay import host, params

ONE, TWO, THREE, FOUR = (Address("0x" + digit * 40) for digit in "1234")
TERMS: dict[Address, SourceParams | None] = {source: params(source) for source in (FOUR, THREE, TWO, ONE)}


def settings(**sections: dict[str, object]) -> Settings:
    return Settings.model_validate({"sources": {"serve": [TWO, ONE]}, **sections})


def rehearsal(record: Record | None = None, machine: Host | None = None, **sections: dict[str, object]) -> Rehearsal:
    return Rehearsal(settings(**sections), machine or host(), record or Record(), TERMS, {TWO: [4, 30, 6]})


def past(source: Address, attempted: int | None = None, responded: int | None = None) -> PastTask:
    return PastTask(ONE, source, 1, 100, COIN, 900, 1, attempted, responded)


def test_sources_are_served_as_the_settings_say_and_the_operator_said_later() -> None:
    wishes = (Wish(ONE, Want.LEAVE, 1.0), Wish(THREE, Want.SERVE, 2.0))
    stands = rehearsal(Record(wishes=wishes)).stands()
    codes = {source: stand.refusal.code if stand.refusal else "" for source, stand in stands.items()}
    assert codes == {ONE: "source.leaving", TWO: "", THREE: "", FOUR: "source.not_served"}
    denied = rehearsal(sources={"serve": "all", "deny": [FOUR]}).stands()
    assert [source for source, stand in denied.items() if stand.refusal] == [FOUR]
    refusal = denied[FOUR].refusal
    assert refusal is not None
    assert refusal.setting == f"sources.deny without {FOUR}"


def test_who_holds_devices_now_comes_first_then_the_settings_order() -> None:
    holds = ServedSource(FOUR, SourceState.READY, environment=Environment.NVIDIA, devices=("a", "b"))
    stands = rehearsal(Record(served=[holds])).stands()
    assert list(stands) == [FOUR, TWO, ONE, THREE]
    assert (stands[FOUR].devices, stands[TWO].devices) == (2, 1)
    assert rehearsal(machine=host(cards=0)).stands()[TWO].environment is Environment.CPU


def test_a_source_that_is_unfit_is_declined_and_one_that_only_waits_for_devices_is_not() -> None:
    def problem(code: str) -> str:
        row = ServedSource(ONE, SourceState.UNFIT, code=code, reason="because")
        return rehearsal(Record(served=[row])).stands()[ONE].problem

    assert problem("compose.refused") == "compose.refused: because"
    assert problem("capacity.devices") == ""


def test_runs_last_as_learnt_here_else_as_the_chain_shows() -> None:
    runs = Learnt(Key(Fact.RUN, ONE, "f"), 3, 9.0, (9.0, 2.0, 3.0))
    made = rehearsal(Record(learnt=[runs]))
    run = made.runs()
    assert run(past(ONE, 100, 190)) == Run(3.0, Basis.SOURCE)
    assert run(past(TWO, 100, 190)) == Run(90.0, Basis.TASK)
    assert run(past(TWO)) == Run(6.0, Basis.CHAIN)
    assert run(past(THREE)) == Run(UNKNOWN_RUN_S, Basis.NOTHING)
    known = made.knowledge()
    assert known.quantile(0.9, Fact.RUN, ONE, "") == 9.0
    assert known.quantile(0.9, Fact.RUN, TWO, "") == 30.0
    assert known.quantile(0.9, Fact.RUN, THREE, "") is None


def test_a_run_lasts_as_its_function_does_where_the_journal_knows_it_and_as_its_source_where_not() -> None:
    learnt = [
        Learnt(Key(Fact.RUN, ONE, "quick"), 3, 3.0, (3.0, 1.0, 2.0)),
        Learnt(Key(Fact.RUN, ONE, "slow"), 1, 80.0, (80.0,)),
    ]
    names = [Address(f"0x{n:040x}") for n in range(4)]
    functions = dict(zip(names, ("quick", "slow", "never ran here"), strict=False))
    made = rehearsal(Record(learnt=learnt, functions=functions), sources={"serve": [ONE]})
    tasks = [PastTask(name, ONE, 1, 1000 * n, COIN, 1000 * n + 60) for n, name in enumerate(names)]
    runs = [made.runs()(one) for one in tasks]
    assert [(run.seconds, run.basis, run.function) for run in runs] == [
        (2.0, Basis.FUNCTION, "quick"),
        (80.0, Basis.FUNCTION, "slow"),
        (2.5, Basis.SOURCE, ""),
        (2.5, Basis.SOURCE, ""),
    ]
    replay = made.replay(0.0)
    replay.arrive(tasks)
    replay.finish(4000.0)
    # nine runs in ten of the source are done within 80 s, of "quick" within 3 s: only that one fits into a minute
    assert replay.takings.all.paid.tasks == 1
    assert {group.code: group.tasks for group in replay.takings.declined.groups()} == {"time.too_short": 3}
    assert replay.usage.slot_seconds == 2.0
    assert replay.bases == {Basis.FUNCTION: 2, Basis.SOURCE: 2}


def test_gas_is_the_median_of_what_was_paid_and_is_said_to_be_unknown() -> None:
    assert not rehearsal().gas_known()
    paid = [Learnt(Key(Fact.GAS, effect), 3, 9.0, (9.0, 5.0, 7.0)) for effect in ("attempt", "submitResponse")]
    made = rehearsal(Record(learnt=paid))
    assert made.gas_known()
    assert (made.plan().course.attempt_gas, made.plan().course.submit_gas) == (7, 7)


def test_sources_share_a_card_as_far_as_the_journal_knows_what_they_take() -> None:
    rows = [
        ServedSource(source, SourceState.READY, environment=Environment.NVIDIA, devices=("a",), device_memory=8 << 30)
        for source in (ONE, TWO)
    ]
    tasks = [PastTask(Address(f"0x{n:040x}"), (ONE, TWO)[n], n, 100 + n, COIN, 900) for n in range(2)]
    for share, accepted in ((True, 2), (False, 1)):
        made = rehearsal(Record(served=rows), host(cards=1), devices={"share": share})
        replay = made.replay(100.0)
        replay.arrive(tasks)
        replay.finish(200.0)
        assert replay.takings.all.accepted == accepted


def test_a_policy_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    own = settings(admission={"min_payment": "0.5", "min_time_left": 7}, network={"name": "testnet"})
    file = tmp_path / "policy.toml"
    file.write_text('[admission]\nmin_payment = "0.1"\n[network]\nname = "mainnet"\n')
    changed = config.overlaid(own, file)
    assert (changed.admission.min_payment, changed.admission.min_time_left) == (COIN // 10, 7)
    assert (changed.sources, changed.network) == (own.sources, own.network)
    file.write_text("[admission]\nmin_payments = 1\n")
    with pytest.raises(ConfigError, match="no such setting"):
        config.overlaid(own, file)


def test_a_host_is_described_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "host.toml"
    file.write_text(
        'cpu_slots = 3\n[[devices]]\nenvironment = "nvidia"\nname = "X"\nmemory_gib = 8.5\ncount = 2\n'
        '[[devices]]\nenvironment = "amd"\nname = "Y"\nmemory_gib = 16\n'
    )
    made = hostfile.read(file)
    assert made.cpu_slots == 3
    assert [(one.id, one.name, one.memory_total >> 20) for one in made.devices] == [
        ("nvidia-0", "X", 8704),
        ("nvidia-1", "X", 8704),
        ("amd-0", "Y", 16384),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cpu_slots = 0", "config.invalid"),
        ("devices = 1\ncpu_slots = 1", "config.invalid"),
        ("cpu_slots = 1\nslots = 2", "config.invalid"),
        ("cpu_slots", "config.syntax"),
        (None, "config.unreadable"),
    ],
)
def test_a_bad_description_is_refused(tmp_path: Path, text: str | None, code: str) -> None:
    file = tmp_path / "host.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        hostfile.read(file)
    assert caught.value.code == code
