"""GPUs on a host without GPUs."""

import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.gpu.machine import HERE, LIBRARY, AmdTree, Machine


def _lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake library, built once."""
    if (compiler := shutil.which("gcc") or shutil.which("cc")) is None:
        _lacking("no C compiler to build the fake NVML with")
    try:
        files = importlib.metadata.files("nvidia-nvml-dev") or []
    except importlib.metadata.PackageNotFoundError:
        _lacking("nvidia-nvml-dev, which has nvml.h, is not installed")
    header = next(Path(str(file.locate())) for file in files if file.name == "nvml.h")
    library = tmp_path_factory.mktemp("nvml") / LIBRARY
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-DNVML_NO_UNVERSIONED_FUNC_DEFS"]
    command = [compiler, *flags, f"-isystem{header.parent}", "-o", str(library), str(HERE / "fake_nvml.c")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library


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
