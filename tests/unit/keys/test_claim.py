"""Two senders with one key take each other's nonces, so a host has one."""

import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.claim import claimed

KEY = Address("0x" + "aB" * 20)
OTHER = Address("0x" + "cd" * 20)
HOLDER = """
import sys
from ogpu_provider.keys.claim import claimed
with claimed(*sys.argv[1:]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def scope() -> str:
    """A chain of this test alone."""
    return uuid.uuid4().hex


@pytest.fixture
def holder(scope: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, scope, KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def refused(scope: str, account: Address) -> KeyRefused | None:
    try:
        with claimed(scope, account):
            return None
    except KeyRefused as error:
        return error


def test_a_second_process_with_the_key_is_refused_and_told_what_to_do(
    holder: "subprocess.Popen[str]", scope: str
) -> None:
    error = refused(scope, KEY)
    assert error is not None
    assert (error.code, KEY in str(error), scope in str(error)) == ("key.in_use", True, True)
    assert "stop it" in error.remedy
    assert refused(scope, Address(KEY.lower())) is not None, "an address has two spellings"


def test_another_key_and_another_chain_are_free(holder: "subprocess.Popen[str]", scope: str) -> None:
    assert refused(scope, OTHER) is None
    assert refused(scope + "1", KEY) is None


def test_a_killed_process_leaves_nothing_behind(holder: "subprocess.Popen[str]", scope: str) -> None:
    holder.kill()
    holder.wait()
    assert refused(scope, KEY) is None
    assert refused(scope, KEY) is None, "and a claim that ended is free too"


def test_a_child_does_not_inherit_the_claim(scope: str) -> None:
    with claimed(scope, KEY):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert refused(scope, KEY) is None
    finally:
        child.kill()
        child.communicate()
