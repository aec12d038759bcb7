"""Is it earning, and if not, why? One document for each answer."""

from typing import Any

import pytest

from ogpu_provider.control.diagnosis import Earning, diagnose

SOURCE: dict[str, Any] = {
    "address": "0x7",
    "name": "ocr",
    "state": "ready",
    "code": None,
    "reason": None,
    "pulling": [],
    "images_offered": [],
}
END = {"name": "a", "healthy": True, "lag": 0, "reason": None}
ILL = END | {"healthy": False, "reason": "HTTP 503"}
UNFIT = SOURCE | {"address": "0x8", "state": "unfit", "code": "compose.refused", "reason": "privileged is refused"}


def document(**changes: Any) -> dict[str, Any]:
    """A daemon that earns, with `changes`; a dotted name reaches into a part."""
    found: dict[str, Any] = {
        "running": True,
        "ended": None,
        "provider": "0x9",
        "paired": True,
        "paused_since": None,
        "draining": None,
        "rpc": {"answers": True, "reason": None, "endpoints": [END, END | {"name": "b"}]},
        "head": {"age_s": 2.0, "silent_s": 2.0},
        "account": {
            "master": "0x1",
            "paired": True,
            "eligible": True,
            "sanctioned_wei": 0,
            "price_wei": 1,
            "balance": "1",
            "balance_wei": 10**18,
            "tasks_covered": 1000,
        },
        "sources": [SOURCE],
        "live": [],
        "recent": {"published": 3, "settled": 2, "paid": "0.02", "refusals": {}},
    }
    for name, value in changes.items():
        part, _, key = name.partition("__")
        found[part] = {**found[part], key: value} if key else value
    return found


def test_it_earns() -> None:
    found = diagnose(document())
    assert (found.state, found.good, found.problems, found.notes) == (Earning.EARNING, True, (), ())
    assert found.headline == "earning: 2 tasks paid 0.02 in the last 24 h"


def test_what_it_leaves_alone_for_now_is_noted_and_spoils_nothing() -> None:
    shut = {"address": "0x7", "weight": 3.2, "limit": 3.0, "open": True, "closes_at": 9.0}
    found = diagnose(
        document(
            breakers={"sources": [shut], "clients": [shut | {"open": False}]},
            coin_price={"price": 0.05, "code": "price.stale", "problem": "price has not changed"},
            owner={"in_use": "owner at seat0 (x11)", "power_limit_wished": None},
        )
    )
    assert found.good
    assert [note.code for note in found.notes] == ["breaker.source", "price.stale", "owner.present"]
    assert "3.2 of 3.0" in found.notes[0].text


def test_a_task_on_its_way_is_earning_too() -> None:
    found = diagnose(document(recent__settled=0, live=[{"state": "seen"}, {"state": "executing"}]))
    assert (found.state, found.headline) == (Earning.EARNING, "earning: 1 on the way")


def test_nothing_published_is_ready_and_good() -> None:
    found = diagnose(document(recent__settled=0, recent__published=0))
    assert (found.state, found.good) == (Earning.READY, True)
    assert "no task was published" in found.headline
    assert [note.code for note in found.notes] == ["tasks.none"]


PROBLEMS: dict[str, dict[str, Any]] = {
    "provider.paused": {"paused_since": 1.0},
    "provider.draining": {"draining": {"since": 1.0}},
    "rpc.down": {"rpc__answers": False, "rpc__reason": "no answer in 10 s", "rpc__endpoints": [ILL]},
    "chain.silent": {"head__silent_s": 1000.0},
    "chain.behind": {"head__age_s": 1000.0},
    "provider.unpaired": {"account__paired": False},
    "chain.too_dear": {"account__price_wei": None, "account__tasks_covered": None},
    "wallet.empty": {"account__balance_wei": 5, "account__tasks_covered": 0},
    "source.none": {"sources": [SOURCE | {"state": "dropped"}]},
    "source.none_ready": {"sources": [UNFIT, SOURCE | {"state": "wanted"}]},
}


@pytest.mark.parametrize("code", PROBLEMS)
def test_each_problem_is_named_with_a_remedy_and_is_not_good(code: str) -> None:
    found = diagnose(document(**PROBLEMS[code]))
    assert (found.state, found.good) == (Earning.NOT_EARNING, False)
    assert [problem.code for problem in found.problems] == [code]
    assert found.headline == f"not earning: {found.problems[0].text}"
    assert found.problems[0].remedy


def test_a_pairing_that_the_daemon_saw_end_counts_before_the_next_reading() -> None:
    assert [problem.code for problem in diagnose(document(paired=False)).problems] == ["provider.unpaired"]


def test_no_block_yet_and_no_reading_yet() -> None:
    found = diagnose(document(head=None, account=None, rpc__answers=None))
    assert [problem.code for problem in found.problems] == ["chain.silent"]


def test_all_problems_are_told_the_operators_own_first() -> None:
    found = diagnose(document(paused_since=1.0, sources=[], account__tasks_covered=0))
    assert [problem.code for problem in found.problems] == ["provider.paused", "wallet.empty", "source.none"]


def test_a_daemon_that_does_not_run_is_the_problem_and_says_how_it_ended() -> None:
    stopped: dict[str, Any] = {"running": False, "paused_since": None, "draining": None, "sources": [], "live": []}
    found = diagnose(stopped | {"recent": document()["recent"]})
    assert [problem.code for problem in found.problems] == ["daemon.not_running"]
    ended = diagnose(
        stopped | {"recent": document()["recent"], "ended": "chain.wrong_network: chain 5", "paused_since": 1.0}
    )
    assert [problem.code for problem in ended.problems] == ["daemon.not_running", "provider.paused"]
    assert "chain.wrong_network" in ended.headline


def test_notes_do_not_spoil_the_answer() -> None:
    refusals = {"payment.below_floor": 4}
    found = diagnose(
        document(
            sources=[SOURCE, UNFIT],
            account__tasks_covered=5,
            account__eligible=False,
            account__sanctioned_wei=1,
            recent__refusals=refusals,
        )
    )
    assert found.state is Earning.EARNING
    codes = [note.code for note in found.notes]
    assert codes == ["source.not_ready", "tasks.refused", "wallet.low", "vault.not_eligible", "vault.sanctioned"]
    assert "4 payment.below_floor" in found.notes[1].text


def test_free_gas_is_never_too_little() -> None:
    assert diagnose(document(account__price_wei=0, account__tasks_covered=None)).good


def test_one_endpoint_of_two_that_fails_or_lags_is_a_note() -> None:
    found = diagnose(document(rpc__endpoints=[END, ILL | {"name": "b"}]))
    assert (found.good, [note.code for note in found.notes]) == (True, ["rpc.degraded"])
    assert found.notes[0].text == "the endpoint b does not answer: HTTP 503"
    found = diagnose(document(rpc__endpoints=[END, END | {"name": "b", "lag": 40}]))
    assert (found.good, [note.code for note in found.notes]) == (True, ["rpc.lagging"])
    assert "40 blocks behind" in found.notes[0].text


def test_images_on_their_way_and_tags_that_changed_are_notes() -> None:
    pull = {"image": "x@sha256:a", "layers_done": 1, "layers": 4, "bytes_done": 5 << 20, "bytes": 9 << 20, "rate": 2e6}
    offer = {"image": "registry.example/x:1", "used": "sha256:a", "offered": "sha256:b", "since": 1.0}
    found = diagnose(document(sources=[SOURCE | {"pulling": [pull], "images_offered": [offer]}]))
    assert (found.good, [note.code for note in found.notes]) == (True, ["image.pulling", "image.changed"])
    assert "1 of 4 layers, 5 of 9 MiB at 1.9 MiB/s" in found.notes[0].text
    assert "sources approve 0x7" in found.notes[1].remedy
