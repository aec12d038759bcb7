"""Thousands of generated files: what the gate lets through lies inside the allow-list."""

import json
import os
import random
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose import document
from ogpu_provider.runtime.compose.allowlist import strays
from ogpu_provider.runtime.compose.check import check
from ogpu_provider.runtime.compose.gate import DEFAULT_LIMITS
from ogpu_provider.runtime.compose.rules import RULES
from tests.security.generated import FINETUNE, OFFICIAL, mutate, seeds
from tests.sizes import size

HERE = Path(__file__).parent
COUNT = size("compose files")
SHARES = 10
LISTED = frozenset({"registry.example:5000"})
"""What an operator may have in `images.registries`."""
PUBLIC_NAME = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+(io|com|org|net|ai|dev|example)", re.IGNORECASE)


def is_pulled_from_a_public_place(image: str, listed: frozenset[str]) -> bool:
    """Written apart from the gate: a name below a domain that anybody can have, at 443 or a port that is listed."""
    first, slash, _ = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return True  # the engine's default registry
    host, _, port = first.partition(":")
    usual = int(port or 443) in (80, 443)
    return PUBLIC_NAME.fullmatch(host) is not None and (usual or f"{host.lower()}:{int(port)}" in listed)


@pytest.mark.parametrize("share", range(SHARES))
def test_what_passes_lies_inside_the_allow_list(share: int) -> None:
    chance = random.Random(share)
    donors = seeds()
    accepted = 0
    last: dict[Environment, Any] = {}
    for number in range(COUNT // SHARES):
        environment = chance.choice(list(Environment))
        base = chance.choice(donors[:5] if number % 4 else donors)
        if environment in last and chance.random() < 0.25:
            base = last.pop(environment) if chance.random() < 0.05 else last[environment]  # farther from what is known
        tree = mutate(base, chance, donors)
        text = json.dumps(tree).encode()
        waived = frozenset(RULES) if chance.random() < 0.2 else frozenset[str]()
        listed = LISTED if chance.random() < 0.3 else frozenset[str]()
        checked = check(text, environment, limits=replace(DEFAULT_LIMITS, registries=listed), waived=waived)
        if not checked.accepted:
            assert all(violation.code in RULES for violation in checked.violations)
            continue
        accepted += 1
        last[environment] = tree
        rendered = json.loads(checked.rendered)
        for service in rendered["services"].values():
            assert is_pulled_from_a_public_place(service["image"], listed), text
        assert strays(rendered) == (), text
        binds = [m for s in rendered["services"].values() for m in s.get("volumes", ()) if m["type"] == "bind"]
        assert waived or not binds, text
        assert b"PRIVATE_KEY" not in checked.rendered, text
    assert accepted > COUNT // SHARES // 50, "most of the files are refused at the first look: nothing was tried"


@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.stem)
def test_a_published_shape_is_admitted_for_its_environment(path: Path) -> None:
    environment = Environment[path.stem.rpartition("-")[2].upper()]
    checked = check(path.read_bytes(), environment)
    assert (checked.violations, checked.devices) == ((), 0 if environment is Environment.CPU else 1)
    assert strays(json.loads(checked.rendered)) == ()
    if environment is not Environment.CPU:
        assert not check(path.read_bytes(), Environment.CPU).accepted


def test_all_five_published_shapes_are_here() -> None:
    assert len(OFFICIAL) == 5


@pytest.mark.parametrize("path", FINETUNE, ids=lambda path: path.stem)
def test_the_shape_of_a_third_partys_worker_is_refused_with_remedies(path: Path) -> None:
    checked = check(path.read_bytes(), Environment.NVIDIA, waived=frozenset(RULES))
    assert not checked.accepted, "the key, or a build, whatever is waived"
    plain = check(path.read_bytes(), Environment.NVIDIA)
    assert "compose.bind_mount" in {violation.code for violation in plain.violations}
    assert all(violation.remedy for violation in plain.violations)


def bombs() -> dict[str, bytes]:
    aliases = b"x0: &n0 [l, l, l]\n" + b"".join(
        b"x%d: &n%d [*n%d, *n%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 60)
    )
    return {
        "aliases": aliases,
        "depth": b"a: " + b"[" * 120_000,
        "flow maps": b"a: " + b"{a: " * 60_000,
        "wide": b"a:\n" + b"- 1\n" * 60_000,
        "keys": b"".join(b"k%d: 1\n" % i for i in range(25_000)),
        "anchors": b"".join(b"k%d: &a%d 1\n" % (i, i) for i in range(12_000)),
        "merges": b"a: &a {b: 1}\nc:\n  <<: [" + b"*a, " * 60_000 + b"]\n",
        "text": b"a: " + b"x" * 262_000,
        "variables": b"services: {a: {command: '" + b"${A:-" * 40_000 + b"'}}",
        "large": b"a" * 10_000_000,
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused_after_a_bounded_number_of_steps(name: str) -> None:
    """Work, not time: the parser stops asking for events at the limit on nodes."""
    text = bombs()[name]
    checked = check(text, Environment.CPU)
    assert not checked.accepted
    builder = document._Builder()
    taken = 0
    try:
        for event in yaml.parse(text[: document.MAX_BYTES].decode(), Loader=document._LOADER):
            builder.take(event)
            taken += 1
    except Exception:
        pass
    assert taken <= 2 * document.MAX_NODES + 10


MEMORY = """
import resource, sys
from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.check import check
from ogpu_provider.runtime.compose.gate import DEFAULT_LIMITS
from tests.security.test_generated_compose import bombs
found = bombs()
check(b"services: {}", Environment.CPU)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for text in found.values():
    assert not check(text, Environment.CPU).accepted
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_all_bombs_together_take_less_than_32_mb() -> None:
    root = HERE.parents[1]
    run = subprocess.run(
        [sys.executable, "-c", MEMORY],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": os.environ["PATH"]},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    assert int(run.stdout) < 32 * 1024, "KiB"
