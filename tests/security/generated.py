"""Compose files that nobody wrote: published and hostile ones with keys of each other and values that provoke."""

import json
import random
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
