"""GPUs on a host without GPUs."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.gpu.machine import AmdTree, Machine, build


def _lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake library, built once."""
    try:
        return build(tmp_path_factory.mktemp("nvml"))
    except LookupError as error:
        _lacking(str(error))


@pytest.fixture
def bare_machine(tmp_path: Path, fake_nvml: Path) -> Iterator[Machine]:
    """A machine without the library."""
    machine = Machine(tmp_path, fake_nvml)
    yield machine
    machine.close()


@pytest.fixture
def machine(bare_machine: Machine) -> Machine:
    """A machine with library and driver."""
    bare_machine.install_library()
    return bare_machine


@pytest.fixture
def amd_tree(tmp_path: Path) -> AmdTree:
    return AmdTree(tmp_path)
