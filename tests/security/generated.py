"""Compose files that nobody wrote: published and hostile ones with keys of each other and values that provoke."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ogpu_provider.runtime.compose.policy import REFUSED

HERE = Path(__file__).parent
OFFICIAL = sorted((HERE / "official").glob("*.yml"))
FINETUNE = sorted((HERE / "finetune").glob("worker-*.yml"))
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
IMAGES = (
    *("a", "a/b:1", "ghcr.io/a/b:1", f"ghcr.io/a/b@sha256:{'ab' * 32}", "ghcr.io:443/a/b", "ghcr.io:80/a/b"),
    *("ghcr.io:22/a/b", "registry.example:5000/a/b:1", "REGISTRY.example:5000/a", "registry.example:5001/a/b"),
    *("registry.example:05000/a", "registry.example:/a", "registry.example:5000", "localhost:5000/a", "localhost/a"),
    *("127.0.0.1:5000/a/b", "10.0.0.5/a/b:1", "169.254.169.254/latest/meta-data", "[::1]:5000/a", "0x7f.1/a", "1/a"),
    *("nas.local/a/b", "metadata.google.internal/a", "registry.example:5000@evil.example/a", "ghcr.io:443/../b"),
)
ORDINARY: dict[str, tuple[Any, ...]] = {
    "image": IMAGES,
    "command": ("sleep 5", ["sleep", "5"], "$$HOME"),
    "entrypoint": ("/run", ["/run", "--now"]),
    "user": ("1000", "1000:1000", "nobody"),
    "working_dir": ("/w", "/srv/app"),
    "hostname": ("box",),
    "read_only": (True, False),
    "tty": (True,),
    "stdin_open": (True,),
    "init": (True,),
    "platform": ("linux/amd64",),
    "expose": (["80"], ["9000"]),
    "stop_signal": ("SIGINT", "SIGTERM"),
    "stop_grace_period": ("1s", "10m"),
    "mem_limit": ("64m", "1g", 1 << 40),
    "cpus": (0.25, "0.5", 64),
    "pids_limit": (20, -1, 10_000_000),
    "shm_size": ("16m", "1g"),
    "restart": ("no", "on-failure", "on-failure:3", "unless-stopped", "always"),
    "tmpfs": ("/t", ["/t:size=8m", "/u"], ["/t:size=900g,exec"]),
    "environment": ({"A": "b"}, ["A=b", "C=${PORT}"], {"NVIDIA_VISIBLE_DEVICES": "all"}),
    "labels": ({"x": "y"}, ["x=y"], {"com.docker.compose.project": "other"}),
    "ports": (["8080:80"], ["${PORT}:5555"], ["5353:53/udp"], [{"target": 80, "published": 8080}]),
    "volumes": (["c:/c"], ["d:/d:ro", "c:/c"], ["/anonymous"], ["/srv:/m:ro"]),
    "depends_on": (["web"], {"web": {"condition": "service_started"}}),
    "healthcheck": ({"test": ["CMD", "true"], "interval": "5s"}, {"disable": True}, {"test": "true", "retries": 9}),
    "deploy": ({"resources": {"limits": {"memory": "128m", "cpus": "0.5"}}}, {"replicas": 1}),
    "extra_hosts": (["host.docker.internal:host-gateway"],),
    "logging": ({"driver": "json-file", "options": {"max-size": "10m"}}, {"driver": "syslog"}),
    "networks": (["default"], {"default": {"aliases": ["x"]}}),
}
"""What authors do write, with figures to be bounded: files that differ in these are let through."""


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
        if kind < 0.15:
            key = chance.choice(list(ORDINARY))
            service[key] = chance.choice(ORDINARY[key])
        elif kind < 0.45:
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


def walk(chance: random.Random, accepted: Callable[[Any], bool], *, tries: int = 60) -> Iterator[Any]:
    """Files that are let through, each a step from the one before it: they get far from what was published."""
    donors = seeds()
    tree = chance.choice(donors[: len(OFFICIAL)])
    for _ in range(tries):
        changed = mutate(tree, chance, donors)
        if accepted(changed):
            tree = changed
            yield tree
