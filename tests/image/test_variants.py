"""The build's arguments, on stand-ins for the bases: what is asked of the package manager, and how it is labelled."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.image.composition import ROOT

BASE = os.environ.get("OGPU_TEST_BASE", "")
STAND_IN = f"""
FROM {BASE}
LABEL stand-in=yes
RUN mkdir -p /etc/apt/sources.list.d && touch /etc/apt/sources.list.d/cuda-stand-in.list && \\
    printf '#!/bin/sh\\necho "$@" >>/asked\\n' >/usr/local/bin/apt-get && chmod 0755 /usr/local/bin/apt-get
"""


def docker(*words: str, given: str = "") -> str:
    return subprocess.run(["docker", *words], input=given, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    name = "ogpu-provider/stand-in:test"
    docker("build", "--quiet", "--network", "none", "--tag", name, "-", given=STAND_IN)
    yield name
    docker("image", "rm", "--force", name)


@pytest.mark.docker
@pytest.mark.parametrize(("variant", "asked"), [("cuda", True), ("rocm", False), ("cpu", False)])
def test_a_variant_is_made_of_its_base_and_says_so(base: str, variant: str, asked: bool) -> None:
    """Only the CUDA one wants NVIDIA's toolkit, from the repository that its base brings."""
    words = ["--build-arg", f"VARIANT={variant}", "--build-arg", f"BASE={base}", "--build-arg", f"ENGINE={BASE}"]
    file = str(ROOT / "Dockerfile.gpu")
    made = docker("build", "--quiet", "--network", "none", "--target", "system", "--file", file, *words, str(ROOT))
    try:
        labels = docker("inspect", "--format", "{{json .Config.Labels}}", made)
        assert '"stand-in":"yes"' in labels
        assert f"OpenGPU network ({variant})" in labels
        said = docker(
            "run", "--rm", "--network", "none", "--entrypoint", "sh", made, "-c", "cat /asked 2>/dev/null || :"
        )
        assert ("nvidia-container-toolkit" in said) is asked
    finally:
        docker("image", "rm", "--force", made)
