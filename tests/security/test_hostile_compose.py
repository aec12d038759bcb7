"""Every known way out of a compose file is refused, for the reason its file names."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose import document
from ogpu_provider.runtime.compose.check import check
from ogpu_provider.runtime.compose.document import MAX_NODES
from ogpu_provider.runtime.compose.rules import RULES, WAIVABLE, page
from ogpu_provider.runtime.compose.violation import GateRefused

HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.yml"))


def expected(path: Path) -> tuple[str, str]:
    lines = path.read_bytes().decode(errors="replace").splitlines()
    line = next(line for line in lines if line.startswith("# refused: "))
    code, _, key = line.removeprefix("# refused: ").partition(" ")
    return code, key


def stands_at(text: bytes, key: str) -> set[int]:
    """Lines that may be told: the one that the file itself names, or else all that have the key's last name in them."""
    lines = text.decode(errors="replace").split("\n")
    said = [int(line.removeprefix("# line: ")) for line in lines if line.startswith("# line: ")]
    last = re.sub(r"(\[\d+\])+$", "", key).rpartition(".")[2]
    if said or key.endswith("]") or not last.isprintable():
        return set(said) or set(range(1, len(lines) + 1))
    return {number for number, line in enumerate(lines, 1) if last in line}


def test_the_corpus_is_there() -> None:
    assert len(HOSTILE) > 450


def test_every_rule_has_a_file_that_it_refuses() -> None:
    assert {expected(path)[0] for path in HOSTILE} == set(RULES)


def test_the_page_about_the_rules_is_the_table_of_the_gate() -> None:
    written = Path(__file__).parents[2] / "docs" / "compose-rules.md"
    assert written.read_text() == page(), "python -m ogpu_provider.runtime.compose.rules > docs/compose-rules.md"


def test_few_rules_can_be_lifted() -> None:
    assert {"compose.bind_mount", "compose.shm_size", "compose.ipc_private"} == WAIVABLE


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_a_hostile_file_is_refused_with_its_reason_and_its_line(path: Path) -> None:
    text = path.read_bytes()
    code, key = expected(path)
    for environment in Environment:
        checked = check(text, environment)
        assert (checked.accepted, checked.rendered) == (False, b"")
        told = [each for each in checked.violations if each.code == code and key in ("*", each.key)]
        assert told, checked.violations
        assert key == "*" or told[0].line in stands_at(text, key), told[0]
        for violation in checked.violations:
            assert 1 <= violation.line <= text.count(b"\n") + 1
            assert violation.message
            assert violation.remedy
            assert violation.code in RULES
            assert str(violation).isprintable(), "nothing that moves a terminal's cursor"


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_lifting_every_rule_at_once_lifts_only_those_three(path: Path) -> None:
    code, _ = expected(path)
    if code not in WAIVABLE:
        assert not any(check(path.read_bytes(), each, waived=frozenset(RULES)).accepted for each in Environment)


def test_the_work_for_any_file_is_bounded() -> None:
    """Counted, not timed: what is read of a file are its nodes, and nothing that follows reads one twice."""
    most = max(read(path.read_bytes()) for path in HOSTILE)
    assert most <= MAX_NODES + 2


def read(text: bytes) -> int:
    """How many nodes the parser made before it stopped."""
    made = 0

    class Counting(document._Builder):
        def take(self, event: Any) -> None:
            nonlocal made
            super().take(event)
            made += not isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent)

    with contextlib.suppress(GateRefused):
        document.parse(text, Counting())
    return made


def test_every_key_of_the_specification_has_a_verdict() -> None:
    """All 92 keys of a service: one is refused by its own rule, read by a reader, or unknown and so refused."""
    assert len(KEYS) == 92
    for key in KEYS:
        text = f'services: {{web: {{image: x/y, ports: ["${{PORT}}:5555"], {key}: {{hostile: [true]}}}}}}'
        if key in ("image", "ports"):
            continue
        checked = check(text.encode(), Environment.CPU)
        told = [violation for violation in checked.violations if violation.key.startswith(f"services.web.{key}")]
        assert told or key in COUNT_FOR_NOTHING, key


COUNT_FOR_NOTHING = {"attach", "init", "pull_policy", "pull_refresh_after", "cap_drop", "mem_reservation", "labels"}
"""What we set ourselves, whatever the author wrote."""
SPECIFICATION = """
annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count
cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on deploy
develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment expose extends
external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links logging
mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable
oom_score_adj pid pids_limit platform ports post_start pre_stop privileged profiles provider pull_policy
pull_refresh_after read_only restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period
stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir
"""
KEYS = SPECIFICATION.split()
