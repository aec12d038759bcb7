"""What passes the gate, and what it looks like on the other side."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.errors import ComposeRefused
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.check import EXAMPLE, check
from ogpu_provider.runtime.compose.gate import admit, fingerprint
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.compose.render import Grant, render

CHAT_NVIDIA = b"""
services:
  ollama-service:
    image: ollama/ollama
    pull_policy: always
    volumes: ["ollama_models:/root/.ollama"]
    ports: ["12436:11434"]
    networks: [app_network]
    deploy:
      resources:
        reservations:
          devices: [{driver: nvidia, count: all, capabilities: [gpu]}]
  chat-service:
    image: chat/text2text:latest@sha256:1111111111111111111111111111111111111111111111111111111111111111
    ports: ["${PORT}:5555"]
    environment:
      - CALLBACK_URL=${CALLBACK_URL}
      - OLLAMA_HOST=http://host.docker.internal:12436
    extra_hosts: ["host.docker.internal:host-gateway"]
    networks: [app_network]
    depends_on: [ollama-service]
networks:
  app_network: {driver: bridge}
volumes:
  ollama_models:
"""
ONE = b'services: {web: {image: x/y, ports: ["${PORT}:5555"]%s}}'


def one(extra: str) -> bytes:
    return ONE.replace(b"%s", f", {extra}".encode() if extra else b"")


def rendered(text: bytes, environment: Environment = Environment.CPU) -> dict[str, Any]:
    checked = check(text, environment)
    assert checked.violations == ()
    document: dict[str, Any] = json.loads(checked.rendered)
    return document


def web(extra: str, environment: Environment = Environment.CPU) -> dict[str, Any]:
    service: dict[str, Any] = rendered(one(extra), environment)["services"]["web"]
    return service


def test_a_published_source_with_two_services() -> None:
    checked = check(CHAT_NVIDIA, Environment.NVIDIA)
    assert (checked.violations, checked.devices, checked.target) == ((), 1, "chat-service")
    assert checked.compose_sha256 == fingerprint(CHAT_NVIDIA)
    services = json.loads(checked.rendered)["services"]
    ollama, chat = services["ollama-service"], services["chat-service"]
    assert [(p["host_ip"], p["published"], p["target"]) for p in ollama["ports"]] == [("172.17.0.1", "12436", 11434)]
    assert [(p["host_ip"], p["published"], p["target"]) for p in chat["ports"]] == [("127.0.0.1", "40000", 5555)]
    assert ollama["environment"]["NVIDIA_VISIBLE_DEVICES"] == "device-0"
    assert chat["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert chat["environment"]["CALLBACK_URL"] == EXAMPLE.callback_url
    assert "deploy" not in chat
    assert chat["depends_on"] == {"ollama-service": {"condition": "service_started"}}
    assert chat["image"].endswith("@sha256:" + "1" * 64)


@pytest.mark.parametrize("extra", ["", "tty: true, restart: unless-stopped", "cap_drop: [NET_RAW], init: false"])
def test_hardening_is_always_there(extra: str) -> None:
    service = web(extra)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["pids_limit"] > 0
    assert service["memswap_limit"] == service["mem_limit"] > 0
    assert service["logging"] == {"driver": "local", "options": {"max-size": "10m", "max-file": "3"}}
    assert service["pull_policy"] == "never"
    assert service["restart"] in ("no", "on-failure:3")
    assert service["labels"]["ogpu.source"] == EXAMPLE.source


def test_a_fixed_host_port_of_the_service_is_ours_all_the_same() -> None:
    text = b'services: {enc: {image: a/enc, ports: ["5555:5555"], environment: {AES_KEY: abc}}}'
    (port,) = rendered(text)["services"]["enc"]["ports"]
    assert (port["published"], port["host_ip"]) == ("40000", "127.0.0.1")


@pytest.mark.parametrize(
    ("extra", "count"),
    [
        ("gpus: all", 1),
        ("gpus: [{count: 2}]", 2),
        ("runtime: nvidia", 1),
        ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 3}]}}}", 3),
        ("runtime: nvidia, gpus: [{driver: nvidia, device_ids: ['0', '1'], capabilities: [gpu]}]", 2),
        ("gpus: [{count: '${GPUS:-2}'}]", 2),
    ],
)
def test_every_spelling_of_a_gpu_gets_the_leased_ones(extra: str, count: int) -> None:
    service = web(extra, Environment.NVIDIA)
    ids = [f"device-{n}" for n in range(count)]
    (reservation,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (reservation["driver"], reservation["device_ids"]) == ("nvidia", ids)
    assert service["environment"]["NVIDIA_VISIBLE_DEVICES"] == ",".join(ids)
    assert "runtime" not in service
    assert "gpus" not in service


def test_an_author_cannot_choose_devices_by_variable() -> None:
    service = web("environment: {NVIDIA_VISIBLE_DEVICES: all, nvidia_require_cuda: x, A: b}")
    assert service["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert service["environment"]["A"] == "b"
    assert not any(name.upper().startswith("NVIDIA_REQUIRE") for name in service["environment"])


def test_amd_gets_the_leased_nodes() -> None:
    service = web("devices: [/dev/kfd, /dev/dri]", Environment.AMD)
    assert service["devices"] == ["/dev/kfd:/dev/kfd:rwm", "/dev/dri/renderD128:/dev/dri/renderD128:rwm"]


@pytest.mark.parametrize(
    ("extra", "environment"),
    [
        ("gpus: all", Environment.CPU),
        ("gpus: all", Environment.AMD),
        ("devices: [/dev/kfd]", Environment.NVIDIA),
        ("devices: [/dev/kfd], gpus: all", Environment.NVIDIA),
    ],
)
def test_a_gpu_of_another_environment_is_refused(extra: str, environment: Environment) -> None:
    assert {"compose.gpu", "compose.gpu_environment"} & {
        violation.code for violation in check(one(extra), environment).violations
    }


def test_figures_are_the_lower_of_two() -> None:
    limits = Limits(memory=1 << 30, cpus=2.0, pids=100)
    text = one("mem_limit: 8g, cpus: 0.5, deploy: {resources: {limits: {pids: 5000, memory: 512m}}}")
    service = json.loads(check(text, Environment.CPU, limits=limits).rendered)["services"]["web"]
    assert (service["mem_limit"], service["cpus"], service["pids_limit"]) == (512 << 20, 0.5, 100)


def test_dollar_signs_are_no_variables_any_more() -> None:
    service = web("command: 'echo $$HOME $${X}', environment: {A: '$$B'}")
    assert service["command"] == "echo $$HOME $${X}"
    assert service["environment"]["A"] == "$$B"


def test_volumes_are_ours_and_outlive_a_start() -> None:
    text = one("volumes: ['cache:/c:ro', '/scratch', {type: tmpfs, target: /t, tmpfs: {size: 1m}}]")
    document = rendered(text + b"\nvolumes: {cache: {driver: local}}")
    project = document["name"]
    assert document["volumes"]["cache"]["name"] == f"{project}_cache"
    assert all(set(volume["labels"]) == {"ogpu.instance", "ogpu.source"} for volume in document["volumes"].values())
    named, nameless = document["services"]["web"]["volumes"]
    assert (named["source"], named["target"], named["read_only"]) == ("cache", "/c", True)
    assert re.fullmatch("anonymous_web_scratch_[0-9a-f]{12}", nameless["source"])
    assert (nameless["target"], nameless["read_only"]) == ("/scratch", False)
    assert document["services"]["web"]["tmpfs"] == ["/t:size=1048576"]


def test_places_without_a_volume_s_name_share_nothing() -> None:
    places = ["/a-b", "/a_b", *(f"/{'deep/' * 20}{n}" for n in range(3))]
    mounts = web(f"volumes: {json.dumps(places)}")["volumes"]
    assert len({mount["source"] for mount in mounts}) == len(places)


def test_a_path_is_mounted_as_the_engine_will_say_it() -> None:
    assert [mount["target"] for mount in web("volumes: [/x//y/./z/]")["volumes"]] == ["/x/y/z"]


def test_an_optional_dependency_that_is_not_run_is_not_waited_for() -> None:
    optional = "depends_on: {debug: {condition: service_healthy, required: false}, db: {condition: service_started}}"
    text = one(optional).removesuffix(b"}") + b", db: {image: x/y}, debug: {image: x/z, profiles: [debug]}}"
    assert rendered(text)["services"]["web"]["depends_on"] == {"db": {"condition": "service_started"}}


def test_a_service_behind_a_profile_is_not_started() -> None:
    text = one("").removesuffix(b"}") + b", extra: {image: x/z, profiles: [debug]}}"
    assert list(rendered(text)["services"]) == ["web"]


def test_differences_say_what_was_changed() -> None:
    differences = check(CHAT_NVIDIA, Environment.NVIDIA).differences
    assert ("services.ollama-service.image", 4) in {(each.key, each.line) for each in differences}
    assert any("12436" in each.message for each in differences)


def test_all_violations_are_told_with_their_lines() -> None:
    text = b"services:\n  web:\n    image: x/y\n    privileged: true\n    pid: host\n    surprise: 1\n"
    with pytest.raises(ComposeRefused) as caught:
        admit(text, Environment.CPU, EXAMPLE)
    violations = caught.value.violations  # type: ignore[attr-defined]
    assert [(violation.code, violation.line) for violation in violations] == [
        ("compose.privileged", 4),
        ("compose.pid", 5),
        ("compose.unknown_key", 6),
    ]
    assert caught.value.code == "compose.privileged"


def grant(devices: tuple[Device, ...] = (), environment: Environment = Environment.NVIDIA) -> Grant:
    return Grant(
        instance="test",
        source=Address("0x" + "Ab" * 20),
        environment=environment,
        compose_sha256="0" * 64,
        variables=EXAMPLE,
        images={"x/y:latest": "x/y@sha256:" + "0" * 64},
        dispatch_host="127.0.0.1",
        gateway="172.17.0.1",
        devices=devices,
    )


def test_rendering_needs_every_device() -> None:
    project = admit(one("gpus: [{count: 2}]"), Environment.NVIDIA, EXAMPLE)
    with pytest.raises(ValueError, match="2 devices needed"):
        render(project, grant((Device("GPU-1", Environment.NVIDIA, "x", 0),)))


def test_a_device_node_is_checked_even_from_the_inventory() -> None:
    project = admit(one("devices: [/dev/kfd]"), Environment.AMD, EXAMPLE)
    bad = Device("0000:03:00.0", Environment.AMD, "x", 0, nodes=("/dev/kfd", "/dev/mem"))
    with pytest.raises(ValueError, match="unusable nodes"):
        render(project, grant((bad,), Environment.AMD))


@given(
    st.dictionaries(
        st.sampled_from(["privileged", "tty", "cap_add", "pid", "read_only", "restart", "shm_size", "gpus", "user"]),
        st.sampled_from(["true", "false", "host", "all", "always", "[ALL]", "1g", "{}", "null", "'0:0'"]),
    )
)
def test_whatever_is_accepted_is_hardened(keys: dict[str, str]) -> None:
    text = one(", ".join(f"{key}: {value}" for key, value in keys.items()))
    for environment in Environment:
        checked = check(text, environment)
        if not checked.accepted:
            continue
        service = json.loads(checked.rendered)["services"]["web"]
        assert service["cap_drop"] == ["ALL"]
        assert not {"privileged", "cap_add", "pid", "network_mode", "runtime"} & set(service)
