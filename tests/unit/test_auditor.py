"""The auditor notices each invariant's breach, and nothing where all is well."""

import dataclasses
import json
from collections.abc import Callable

import aleph_cid
import pytest
from eth_abi.abi import encode

from tests.auditing import forms
from tests.auditor.evidence import EVENTS, FUNCTIONS, Container, Evidence, Log, Pinned, Task, Transaction, link_of
from tests.auditor.findings import CHECKS, judge
from tests.auditor.witnesses import leaks

ME = "0x" + "aa" * 20
SOURCE, OTHER_SOURCE = "0x" + "51" * 20, "0x" + "52" * 20
TASK = "0x" + "7a" * 20
NEXUS = "0x" + "4e" * 20
BODY = b'{"result": 42}'
CID = str(aleph_cid.compute_cid(BODY))
LINK = f"http://gateway.example/ipfs/{CID}"
SELECTORS = {name: selector for selector, name in FUNCTIONS.items()}
GWEI = 10**9


def word(value: str | int) -> str:
    return f"{int(value, 16) if isinstance(value, str) else value:064x}"


def tx(nonce: int, data: str, *, to: str = NEXUS, fee: int = 1000) -> Transaction:
    return Transaction(f"0x{nonce:064x}", nonce, to, data, 0, 2 * GWEI, block=nonce, worked=True, fee=fee)


def log(event: str, block: int, *values: str | int, by: Transaction | None = None) -> Log:
    return Log(event, tuple(word(value) for value in values), (block, 0), by.hash if by else "0xother", 1000 + block)


REGISTER = tx(1, SELECTORS["register"] + word(SOURCE) + word(ME) + word(1))
ATTEMPT = tx(3, SELECTORS["attempt"] + word(TASK) + word(ME) + word(5))
ANSWER = tx(
    4,
    SELECTORS["submitResponse"] + encode(["(address,address,string,uint256)"], [(TASK, ME, LINK, 5)]).hex(),
)


def history() -> Evidence:
    """Registered, one task published, attempted, answered and paid."""
    return Evidence(
        provider=ME,
        mined=[REGISTER, ATTEMPT, ANSWER],
        seen=[REGISTER, ATTEMPT, ANSWER],
        logs=[
            log("Registered", 1, ME, 1, SOURCE, 1, by=REGISTER),
            log("TaskPublished", 2, TASK, SOURCE),
            log("Attempted", 3, TASK, ME, 5, by=ATTEMPT),
            log("ResponseSubmitted", 4, "0x12", TASK, by=ANSWER),
            log("TaskStatusChanged", 4, TASK, 5, by=ANSWER),
        ],
        tasks={TASK: Task(SOURCE, expiry=2000, payment=5, status=5)},
        pinned={TASK: Pinned(LINK, BODY, CID)},
        containers=[Container("c1", "one", SOURCE, "app", True, ("GPU-1",))],
        expected={TASK: json.loads(BODY)},
        max_fee=3 * GWEI,
        budget=10_000,
    )


def test_nothing_is_found_where_all_is_well() -> None:
    assert judge(history()) == {name: [] for name in CHECKS}
    assert link_of(ANSWER) == LINK
    assert (ANSWER.subject(ME), ATTEMPT.subject(ME), REGISTER.subject(ME)) == (TASK, TASK, SOURCE)
    assert set(EVENTS.values()) >= {"Attempted", "ResponseSubmitted"}


Breach = Callable[[Evidence], object]
BREACHES: list[tuple[str, str, Breach]] = [
    ("I1", "two attempts", lambda e: e.logs.append(log("Attempted", 9, TASK, ME, 5, by=ATTEMPT))),
    ("I1", "two responses", lambda e: e.logs.append(log("ResponseSubmitted", 9, "0x13", TASK, by=ANSWER))),
    ("I1", "an attempt sent twice", lambda e: e.mined.append(dataclasses.replace(ATTEMPT, nonce=5, hash="0x5"))),
    ("I1", "a transaction in vain", lambda e: _set(e.mined, 2, dataclasses.replace(ANSWER, worked=False))),
    ("I2", "never registered", lambda e: e.logs.pop(0)),
    ("I2", "too late", lambda e: e.tasks.update({TASK: Task(SOURCE, 1003, 5, 5)})),
    ("I2", "asks for more", lambda e: e.tasks.update({TASK: Task(SOURCE, 2000, 4, 5)})),
    ("I3", "nothing pinned", lambda e: e.pinned.update({TASK: Pinned(LINK, None, "")})),
    ("I3", "other bytes", lambda e: e.pinned.update({TASK: Pinned(LINK, b"x", "Qmx")})),
    ("I3", "another result", lambda e: e.expected.update({TASK: {"result": 43}})),
    ("I4", "a nonce reused in the pool", lambda e: e.seen.append(dataclasses.replace(ATTEMPT, nonce=4, hash="0x9"))),
    ("I4", "a nonce reused in blocks", lambda e: e.mined.append(dataclasses.replace(ANSWER, nonce=3, hash="0x9"))),
    ("I5", "a fee over the cap", lambda e: e.seen.append(dataclasses.replace(ATTEMPT, max_fee=4 * GWEI, hash="0x9"))),
    ("I5", "a day too dear", lambda e: _set(e.mined, 0, dataclasses.replace(REGISTER, fee=9000))),
    ("I6", "two containers", lambda e: e.containers.append(Container("c2", "two", SOURCE, "app", True, ()))),
    ("I6", "an orphan", lambda e: e.containers.append(Container("c2", "two", OTHER_SOURCE, "app", True, ()))),
    ("I7", "a shared device", lambda e: e.containers.append(Container("c2", "b", OTHER_SOURCE, "b", True, ("GPU-1",)))),
    ("I8", "a decoy gone", lambda e: e.decoys.append("decoy-1 was touched")),
    ("I9", "answered first", lambda e: _set(e.logs, 3, log("ResponseSubmitted", 2, "0x12", TASK, by=ANSWER))),
    ("I9", "attempted first", lambda e: _set(e.logs, 1, log("TaskPublished", 3, TASK, SOURCE))),
    ("I10", "an unknown call", lambda e: e.mined.append(tx(7, "0xdeadbeef"))),
    ("I10", "a transfer", lambda e: e.mined.append(tx(7, "0x", to="0x" + "99" * 20))),
    (
        "I11",
        "a key in a log",
        lambda e: e.leaks.extend(leaks(forms("0x" + "ab" * 32), {"daemon.log": "x" + "ab" * 32})),
    ),
    ("I12", "never attempted", lambda e: e.logs.pop(2)),
    ("I12", "never answered", lambda e: e.logs.pop(3)),
    ("I12", "not over", lambda e: e.tasks.update({TASK: Task(SOURCE, 2000, 5, 2)})),
]


@pytest.mark.parametrize(("name", "what", "breach"), BREACHES, ids=[f"{name} {what}" for name, what, _ in BREACHES])
def test_a_breach_is_found(name: str, what: str, breach: Breach) -> None:
    found = history()
    breach(found)
    assert judge(found)[name], what


def test_every_invariant_has_a_breach() -> None:
    assert list(CHECKS) == [f"I{n}" for n in range(1, 13)]
    assert {name for name, _, _ in BREACHES} == set(CHECKS)


def test_dearer_bytes_and_voids_of_a_nonce_are_one_intent() -> None:
    found = history()
    found.seen.append(dataclasses.replace(ATTEMPT, max_fee=3 * GWEI, hash="0x8"))
    found.seen.append(dataclasses.replace(ATTEMPT, to=ME, data="0x", hash="0x9"))
    assert judge(found) == {name: [] for name in CHECKS}


def test_a_task_that_nobody_owes_a_response_needs_an_attempt_only() -> None:
    found = history()
    found.logs, found.unanswered = found.logs[:3], frozenset({TASK})
    assert judge(found)["I12"] == []


def _set(items: list[Transaction] | list[Log], index: int, item: object) -> None:
    items[index] = item  # type: ignore[call-overload]
