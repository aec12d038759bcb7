"""Thousands of generated files: what the gate lets through lies inside the allow-list."""

import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose import document
from ogpu_provider.runtime.compose.allowlist import strays
from ogpu_provider.runtime.compose.check import check
from ogpu_provider.runtime.compose.policy import REFUSED
from ogpu_provider.runtime.compose.rules import RULES
from tests.sizes import size

HERE = Path(__file__).parent
OFFICIAL = sorted((HERE / "official").glob("*.yml"))
FINETUNE = sorted((HERE / "finetune").glob("worker-*.yml"))
COUNT = size("compose files")
SHARES = 10
KEYS = [*REFUSED, "privileged", "ipc", "network_mode", "security_opt", "runtime", "devices", "volumes", "tmpfs"]
KEYS += ["ports", "environment", "labels", "extra_hosts", "deploy", "gpus", "shm_size", "restart", "logging", "user"]
KEYS += ["networks", "healthcheck", "depends_on", "profiles", "command", "entrypoint", "mem_limit", "cpus", "hostname"]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 65536, 1 << 40, 0.5, "", "host", "all", "always", "private", "yes", "${PORT}"),
    *(
        "${CALLBACK_URL}",
        "${PROVIDER_PRIVATE_KEY:-}",
        "$$",
        "/",
        "/data",
        "/data:/w",
        "/:/h",
        "c:/c",
        "c:/proc",
        "~:/h",
    ),
    *(
        "5555:5555",
        "0.0.0.0:12436:11434",
        "22:22",
        "1-9:1-9",
        "a/b",
        "nvidia",
        "runc",
        "seccomp=unconfined",
        "8g",
        "1t",
    ),
    *("/dev/kfd", "/dev/sda", "/dev/dri", "host.docker.internal:host-gateway", "x:1.2.3.4", "com.docker.x=1", "A=b"),
    *(
        {},
        [],
        [None],
        {"a": None},
        {"driver": "local"},
        {"type": "bind", "source": "/", "target": "/h"},
        "NVIDIA_X=all",
    ),
    {"type": "volume", "source": "c", "target": "/c", "bind": {"propagation": "shared"}},
    {
        "resources": {
            "reservations": {"devices": [{"count": "all", "capabilities": ["gpu"]}]},
            "limits": {"memory": "1g"},
        }
    },
    {"target": 80, "published": 8080, "host_ip": "0.0.0.0"},
    {"default": {"aliases": ["web"]}},
    {"test": ["CMD", "true"], "interval": "1s"},
]


def seeds() -> list[Any]:
    found = []
    for path in [*OFFICIAL, *FINETUNE, *sorted((HERE / "hostile").glob("*.yml"))]:
        if path.stat().st_size > 10_000:
            continue
        try:
            found.append(json.loads(json.dumps(yaml.safe_load(path.read_text().replace("*n", "n")), default=str)))
        except (yaml.YAMLError, RecursionError, ValueError):
            continue
    return [each for each in found if isinstance(each, dict) and isinstance(each.get("services"), dict)]


def mutate(tree: Any, chance: random.Random, donors: list[Any]) -> Any:
    tree = json.loads(json.dumps(tree, default=str))
    for _ in range(chance.randint(1, 2)):
        service = chance.choice(list(tree["services"].values()) or [{}])
        if not isinstance(service, dict):
            continue
        kind = chance.random()
        value = chance.choice(VALUES)
        if kind < 0.45:
            service[chance.choice(KEYS)] = [value] if chance.random() < 0.4 else value
        elif kind < 0.6 and service:
            del service[chance.choice(list(service))]
        elif kind < 0.8:
            donor = chance.choice(list(chance.choice(donors)["services"].values()) or [{}])
            if isinstance(donor, dict) and donor:
                key = chance.choice(list(donor))
                service[key] = donor[key]
        elif kind < 0.9:
            tree[chance.choice(["volumes", "networks", "configs", "secrets", "include", "x-y", "name"])] = value
        else:
            tree["services"][chance.choice(["web", "db", "../x", "a b"])] = dict(service)
    return tree


@pytest.mark.parametrize("share", range(SHARES))
def test_what_passes_lies_inside_the_allow_list(share: int) -> None:
    chance = random.Random(share)
    donors = seeds()
    accepted = 0
    for number in range(COUNT // SHARES):
        tree = mutate(chance.choice(donors[:5] if number % 4 else donors), chance, donors)
        text = json.dumps(tree).encode()
        environment = chance.choice(list(Environment))
        waived = frozenset(RULES) if chance.random() < 0.2 else frozenset[str]()
        checked = check(text, environment, waived=waived)
        if not checked.accepted:
            assert all(violation.code in RULES for violation in checked.violations)
            continue
        accepted += 1
        rendered = json.loads(checked.rendered)
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
