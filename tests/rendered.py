"""Rendered files for tests: one that uses every key which an author may set, and what the gate makes of others."""

from dataclasses import replace
from typing import Any

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import ZERO_ADDRESS
from ogpu_provider.runtime.compose.check import EXAMPLE
from ogpu_provider.runtime.compose.gate import admit, fingerprint
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.compose.render import Grant, Plan, render

FULL = b"""
name: any
x-a: 1
services:
  app:
    image: x/y:1
    ports: ["${PORT}:5555", "12000:7000/udp"]
    command: echo "a $$b" 'c d'
    entrypoint: ["/bin/sh", "-c", "$$x"]
    environment: {A: "$$5", B: "1.50", C: true, CALLBACK_URL: "${CALLBACK_URL}"}
    working_dir: /x
    user: "1000:1000"
    hostname: foo
    platform: linux/amd64
    expose: ["8000"]
    read_only: true
    stop_signal: SIGINT
    stop_grace_period: 1m30s
    tty: true
    stdin_open: true
    shm_size: 64m
    mem_limit: 1g
    cpus: 1.5
    pids_limit: 50
    healthcheck: {test: ["CMD", "true"], interval: 10s, timeout: 1s, retries: 2, start_period: 5s}
    volumes: ["cache:/c", "cache:/d:ro", {type: bind, source: /data, target: /w, read_only: true}]
    tmpfs: ["/t:size=1m", "/u"]
    restart: on-failure:3
    networks: {default: {aliases: [foo2]}}
    depends_on: {side: {condition: service_healthy}}
  side:
    image: x/z
    healthcheck: {test: "true"}
volumes: {cache: }
"""


def plan_of(
    text: bytes,
    environment: Environment = Environment.CPU,
    *,
    waived: frozenset[str] = frozenset(),
    image: str = "",
    **grant: Any,
) -> Plan:
    """What would be made of an author's file on an example host. `image`: in place of every one that it names;
    `grant`: what differs from the example's.
    """
    project = admit(text, environment, EXAMPLE, waived=waived)
    devices = tuple(
        Device(f"device-{n}", environment, "example", 0, nodes=("/dev/kfd", f"/dev/dri/renderD{128 + n}"))
        for n in range(project.devices)
    )
    example = Grant(
        instance="example",
        source=ZERO_ADDRESS,
        environment=environment,
        compose_sha256=fingerprint(text),
        variables=EXAMPLE,
        images={str(service.image): image or str(service.image) for service in project.services},
        dispatch_host="127.0.0.1",
        gateway="172.17.0.1",
        devices=devices,
        limits=Limits(),
    )
    return render(project, replace(example, **grant))
