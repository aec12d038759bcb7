import os
import subprocess
import sys

import pytest

from ogpu_provider.service.privileges import EGRESS, NET_ADMIN, NET_RAW, held

BECOME = """
import json, subprocess, sys
from ogpu_provider.service import privileges
privileges.become(65534, 65534, [65534, 4242])
print(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout)
"""


def test_what_a_process_holds_is_read_from_the_kernels_word() -> None:
    assert held("Name:\tx\nCapPrm:\t0000000000003000\nCapEff:\t0\n") == EGRESS == {NET_ADMIN, NET_RAW}
    assert held("CapPrm:\t000001ffffffffff\n") == set(range(41))
    assert held("") == frozenset()


def fields(words: list[str]) -> dict[str, str]:
    out = subprocess.run([*words, sys.executable, "-c", BECOME], capture_output=True, text=True, check=True).stdout
    return {name: value.strip() for name, _, value in (line.partition(":") for line in out.splitlines())}


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.fail("needs root") if os.environ.get("CI") == "true" else pytest.skip("needs root")


def test_a_program_of_the_user_keeps_the_rights_for_egress_and_no_other() -> None:
    needs_root()
    found = fields([])
    assert set(found["Uid"].split()) == set(found["Gid"].split()) == {"65534"}
    assert found["Groups"].split() == ["4242", "65534"]
    assert {found[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {f"{1 << 12 | 1 << 13:016x}"}


def test_what_was_not_given_is_not_kept() -> None:
    needs_root()
    dropped = ["setpriv", "--bounding-set", "-net_admin,-net_raw", "--inh-caps", "-net_admin,-net_raw"]
    found = fields(dropped)
    assert found["Uid"].split()[0] == "65534"
    assert {int(found[name], 16) for name in ("CapEff", "CapPrm", "CapAmb")} == {0}
