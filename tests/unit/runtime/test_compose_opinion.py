"""What compose understands of a rendered file, held against the plan."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.runtime.compose.opinion import differences
from ogpu_provider.runtime.compose.render import Plan
from ogpu_provider.runtime.composer import Command, Composer
from tests.rendered import FULL, plan_of


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(FULL, waived=frozenset({"compose.bind_mount"}))


def opinion_on(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan.text)
    return found


def test_the_same_in_other_words_is_no_difference(plan: Plan) -> None:
    opinion = opinion_on(plan)
    app = opinion["services"]["app"]
    app.update(
        command=["echo", "a $$b", "c d"],
        mem_limit="1073741824",
        stop_grace_period="30s",
        ulimits={"core": {}},
        extra_hosts=["host.docker.internal=172.17.0.1"],
        shm_size="67108864",
        expose=[8000],
    )
    app["depends_on"]["side"]["required"] = True
    opinion["networks"]["default"].update(ipam={}, name=f"{plan.name}_default")
    opinion["services"]["side"].update(command=None, entrypoint=None)
    assert differences(plan, opinion) == ()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from ((path,) if path and not items else ())
    for key, item in items:
        yield from leaves(item, (*path, key))


def test_whatever_is_left_out_or_changed_is_a_difference(plan: Plan) -> None:
    paths = list(leaves(opinion_on(plan)))
    assert len(paths) > 100
    for *parents, last in paths:
        for change in ("left out", "changed"):
            opinion = opinion_on(plan)
            place: Any = opinion
            for key in parents:
                place = place[key]
            before = place[last]
            if change == "changed":
                place[last] = "other" if not isinstance(before, int) or isinstance(before, bool) else before + 1
            elif before in (False, [], {}, 0):
                continue  # the same as nothing
            else:
                del place[last]
            assert differences(plan, opinion), (change, parents, last)


ADDED: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("services", "app"), {"privileged": True}),
    (("services", "app"), {"pid": "host"}),
    (("services", "app"), {"cap_add": ["SYS_ADMIN"]}),
    (("services", "app"), {"network_mode": "host"}),
    (("services", "app", "networks"), {"other": None}),
    (("services", "app", "environment"), {"LD_PRELOAD": "x"}),
    (("services",), {"more": {"image": "x/y"}}),
    (("networks",), {"more": None}),
    (("networks", "default"), {"external": True}),
    (("networks", "default"), {"ipam": {"driver": "x"}}),
    (("volumes",), {"more": None}),
    (("volumes", "cache"), {"driver_opts": {"device": "/"}}),
    ((), {"secrets": {"a": {"file": "/etc/passwd"}}}),
]


@pytest.mark.parametrize(("where", "what"), ADDED, ids=lambda value: str(value)[:40])
def test_whatever_is_added_is_a_difference(plan: Plan, where: tuple[str, ...], what: dict[str, Any]) -> None:
    opinion = copy.deepcopy(opinion_on(plan))
    place: Any = opinion
    for key in where:
        place = place[key]
    place.update(what)
    assert any("was added" in text for text in differences(plan, opinion))


@pytest.mark.parametrize("opinion", [{}, {"services": None}, {"services": {"app": 1}}, {"services": {"app": []}}])
def test_what_is_no_compose_file_is_a_difference(plan: Plan, opinion: dict[str, Any]) -> None:
    assert differences(plan, opinion)


SAYS = 'while [ "$1" != --output ]; do shift; done; '


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo no such thing; exit 14", "no such thing"),
        (SAYS + "echo '[]' > $2", "does not read"),
        (SAYS + "echo '{' > $2", "does not read"),
        ("exit 0", "No such file"),
        (SAYS + "head -c 9000000 /dev/zero > $2", "does not read"),
    ],
)
async def test_a_compose_that_understands_nothing_is_an_error(tmp_path: Path, body: str, words: str) -> None:
    program = tmp_path / "compose"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    composer = Composer(Command((str(program),), (2, 40, 0)), tmp_path / "home")
    with pytest.raises(EngineError) as caught:
        await composer.read("name", tmp_path)
    assert caught.value.code == "engine.second_opinion"
    assert words in str(caught.value)


async def test_it_reads_every_service_within_limits_of_its_own(tmp_path: Path) -> None:
    program = tmp_path / "compose"
    asked, limits = tmp_path / "asked", tmp_path / "limits"
    program.write_text(f"#!/bin/sh\necho \"$@\" > {asked}; sleep 0.2; ulimit -a > {limits}; {SAYS} echo '{{}}' > $2\n")
    program.chmod(0o755)
    composer = Composer(Command((str(program),), (2, 40, 0)), tmp_path / "home")
    assert await composer.read("name", tmp_path) == {}
    assert "--profile * config --format json" in asked.read_text()
    said = " ".join(limits.read_text().split())
    assert "time(seconds) 5" in said
    assert f"memory(kbytes) {2 << 20}" in said
