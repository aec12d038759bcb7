"""What was missed, added up by the reason that decided, and the settings that would have taken it."""

from dataclasses import replace

from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.history import Outcome, PastTask
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Ruling
from ogpu_provider.scheduler.idleness import Idleness
from ogpu_provider.scheduler.missed import Misses
from ogpu_provider.scheduler.seats import Stand
from tests.unit.scheduler.test_replay import params

SOURCE, OTHER, TASK = (Address("0x" + digit * 40) for digit in "123")
PAST = PastTask(TASK, SOURCE, 50, 1000, 7, 2000)
TOLD = Outcome(TASK, SOURCE, TaskState.DECLINED, "payment.below_floor", "pays 7", "f", 7, 2000, 1001.0, 1001.5)
FLOOR = Ruling("payment.below_floor", False, "pays too little", 'admission.min_payment = "0.5"')
SHORT = Ruling("time.too_short", False, "too short", "admission.min_time_left = 4")


def idleness(*said: Ruling) -> Idleness:
    no = Ruling("source.not_served", False, "not served", f"sources.serve with {OTHER}")
    served = Stand(params(SOURCE), Environment.CPU)
    stands = {SOURCE: served, OTHER: replace(served, refusal=no)}
    return Idleness(stands, lambda task, stand: said, read=100, began=500.0)


def told(**changes: object) -> list[str]:
    return [one.code for one in idleness().against(PAST, replace(TOLD, **changes))]  # type: ignore[arg-type]


def test_groups_are_by_the_reason_that_decided_the_dearest_first_with_the_value_that_takes_all() -> None:
    misses = Misses()
    misses.add(5, [FLOOR])
    misses.add(2, [replace(FLOOR, setting='admission.min_payment = "0.25"'), SHORT])
    misses.add(1, [SHORT])
    misses.add(90, [Ruling("breaker.source", False, "failed", "breakers.limit = 4")])
    misses.add(90, [Ruling("breaker.source", False, "failed", "breakers.limit = 9")])
    first, floor, short = misses.groups()
    assert (first.code, first.worth, first.lines) == ("breaker.source", 180, ["breakers.limit = 9"])
    assert (floor.tasks, floor.worth, floor.alone, floor.alone_worth) == (2, 7, 1, 5)
    assert floor.lines == ['admission.min_payment = "0.25"']
    assert (short.lines, misses.tasks, misses.worth) == (["admission.min_time_left = 4"], 5, 188)


def test_reasons_without_a_rule_have_their_remedy_and_some_have_none() -> None:
    misses = Misses()
    for code in ("provider.paused", "execute.no_result"):
        misses.add(1, [Ruling(code, False, "")])
    lines = {group.code: group.lines for group in misses.groups()}
    assert lines == {"provider.paused": ["ogpu-provider resume"], "execute.no_result": []}


def test_each_source_that_is_not_served_is_a_setting_of_its_own() -> None:
    misses = Misses()
    for source in (SOURCE, OTHER, SOURCE):
        misses.add(1, [Ruling("source.not_served", False, "", f"sources.serve with {source}")])
    (group,) = misses.groups()
    assert group.lines == [f"sources.serve with {SOURCE}", f"sources.serve with {OTHER}"]


def test_what_was_taken_or_is_open_is_not_missed() -> None:
    for state in (TaskState.SETTLED, TaskState.EXECUTING, TaskState.SEEN, TaskState.RESPONDED):
        assert told(state=state) == []
    assert idleness().against(replace(PAST, end=TaskStatus.CANCELED), None) == []


def test_declined_tasks_have_the_rules_that_spoke_against_them_or_the_rows_own_reason() -> None:
    assert told() == ["payment.below_floor"]
    assert told(against=(SHORT, FLOOR)) == ["time.too_short", "payment.below_floor"]
    assert told(state=TaskState.FAILED, code="execute.no_result") == ["execute.no_result"]
    assert told(state=TaskState.LOST, code="lost.other_won") == ["lost.other_won"]


def test_time_that_ran_out_while_nobody_looked_or_while_it_waited_is_not_the_tasks_fault() -> None:
    assert told(code="time.expired", seen_at=1500.0, updated_at=1500.1) == ["daemon.down"]
    assert told(against=(SHORT,), updated_at=1300.0) == ["capacity.none"]
    assert told(against=(SHORT,)) == ["time.too_short"]


def test_a_task_that_was_never_seen_says_why_and_what_else_spoke_against_it() -> None:
    def unseen(task: PastTask) -> list[str]:
        return [one.code for one in idleness(FLOOR).against(task, None)]

    assert unseen(replace(PAST, source=OTHER)) == ["source.not_served", "payment.below_floor"]
    assert unseen(replace(PAST, block=101)) == ["daemon.down", "payment.below_floor"]
    assert unseen(replace(PAST, at=400)) == ["journal.younger", "payment.below_floor"]
    assert unseen(PAST) == ["source.not_served", "payment.below_floor"]
    assert unseen(replace(PAST, source=TASK)) == ["source.unreadable"]


def test_a_task_whose_block_is_not_known_is_held_against_its_expiry() -> None:
    undated = replace(PAST, block=0, at=0)
    said = idleness(SHORT, FLOOR)  # what is said of its time is of no use
    assert [one.code for one in said.against(undated, None)] == ["journal.absent", "payment.below_floor"]
    assert said.against(replace(undated, expiry=400), None)[0].code == "journal.younger"
    assert replace(said, read=None).against(undated, None)[0].code == "daemon.down"
