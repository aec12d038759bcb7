"""The sample sources as files: complete, in the shapes that authors use, and pinned."""

import re
from pathlib import Path

import pytest
import yaml

from ogpu_provider.devnet.rootfs import DEFAULT_MIRROR, host_mirror
from ogpu_provider.devnet.samples import IMAGE_TOKEN, Sample, samples_dir
from ogpu_provider.devnet.wheels import platform_tags
from ogpu_provider.domain.errors import DevnetError
from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.check import check
from ogpu_provider.runtime.compose.policy import Limits

IMAGE = "127.0.0.1:5000/ogpu-samples/x@sha256:" + "a" * 64
EVERY = [(name, environment) for name in ("multiply", "ocr") for environment in Environment]


@pytest.mark.parametrize(("name", "environment"), EVERY)
def test_the_compose_file_has_the_shape_of_the_network(name: str, environment: Environment) -> None:
    text = Sample.find(name, environment).compose(IMAGE).decode()
    assert IMAGE_TOKEN not in text
    assert set(re.findall(r"\$\{?(\w+)", text)) == {"PORT", "CALLBACK_URL"}, "all that a provider supplies"
    document = yaml.safe_load(text)
    (service,) = document["services"].values()
    assert service["image"] == IMAGE
    assert service["ports"] == ["${PORT}:5555"]
    assert "CALLBACK_URL=${CALLBACK_URL}" in service["environment"]
    assert service["extra_hosts"] == ["host.docker.internal:host-gateway"]
    assert service["networks"] == ["app_network"]
    assert document["networks"] == {"app_network": {"driver": "bridge"}}
    gpus = [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert ("deploy" in service) == (environment is Environment.NVIDIA)
    if environment is Environment.NVIDIA:
        assert service["deploy"]["resources"]["reservations"]["devices"] == gpus
    assert service.get("devices") == (["/dev/kfd", "/dev/dri"] if environment is Environment.AMD else None)


@pytest.mark.parametrize(("name", "environment"), EVERY)
def test_the_gate_lets_the_samples_pass(name: str, environment: Environment) -> None:
    limits = Limits(private_registries=True)  # a devnet's registry is on this host
    checked = check(Sample.find(name, environment).compose(IMAGE), environment, limits=limits)
    assert checked.violations == ()
    assert checked.devices == (0 if environment is Environment.CPU else 1)
    assert checked.target == f"{name}-service"


@pytest.mark.parametrize(("name", "environment"), EVERY)
def test_every_wheel_is_pinned_by_hash(name: str, environment: Environment) -> None:
    lines = Sample.find(name, environment).requirements.read_text().replace("\\\n", " ").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 40
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==\S+(\s+--hash=sha256:[0-9a-f]{64})+", pin) for pin in pins)


def test_the_ocr_image_has_one_onnx_runtime_and_no_desktop_opencv() -> None:
    wanted = {
        Environment.CPU: "onnxruntime",
        Environment.NVIDIA: "onnxruntime-gpu",
        Environment.AMD: "onnxruntime-rocm",
    }
    for environment, runtime in wanted.items():
        text = Sample.find("ocr", environment).requirements.read_text()
        assert re.findall(r"^(onnxruntime[a-z-]*|opencv[a-z-]*)(?:\[.*\])?==", text, re.MULTILINE) == [
            runtime,
            "opencv-python-headless",
        ]


def test_the_tag_follows_the_content() -> None:
    multiply = [Sample.find("multiply", environment).fingerprint("base", "x86_64") for environment in Environment]
    assert len(set(multiply)) == 1
    ocr = [Sample.find("ocr", environment).fingerprint("base", "x86_64") for environment in Environment]
    assert len(set(ocr)) == 3
    cpu = Sample.find("ocr", Environment.CPU)
    assert (
        len({cpu.fingerprint("base", "x86_64"), cpu.fingerprint("b", "x86_64"), cpu.fingerprint("base", "aarch64")})
        == 3
    )


@pytest.mark.parametrize("name", ["nothing", "", ".", "..", "../multiply", "multiply/", "/etc"])
def test_only_samples_are_found(name: str) -> None:
    with pytest.raises(DevnetError) as caught:
        Sample.find(name, Environment.CPU)
    assert caught.value.code == "devnet.no_sample"


def test_the_samples_lie_beside_their_picture() -> None:
    assert (samples_dir() / "ocr" / "sample.png").read_bytes().startswith(b"\x89PNG")


def test_wheel_platforms_end_at_the_glibc_of_the_base_image() -> None:
    assert platform_tags("x86_64")[0] == "manylinux_2_36_x86_64"
    assert platform_tags("x86_64")[-3:] == ("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64")
    assert platform_tags("aarch64")[-1] == "manylinux2014_aarch64"


@pytest.mark.parametrize(
    ("file", "text", "mirror"),
    [
        (
            "sources.list",
            "# deb http://no.test/debian x main\ndeb http://one.test/debian bookworm main\n",
            "http://one.test/debian",
        ),
        (
            "sources.list",
            "deb [signed-by=/k arch=amd64] https://two.test/debian/ bookworm main",
            "https://two.test/debian/",
        ),
        ("sources.list", "deb http://ubuntu.test/ubuntu jammy main", DEFAULT_MIRROR),
        ("sources.list.d/extra.list", "deb https://packages.test/cloud x main\n", DEFAULT_MIRROR),
        (
            "sources.list.d/debian.sources",
            "Types: deb deb-src\n# comment\nURIs: http://three.test/debian\nSuites: bookworm bookworm-updates\n",
            "http://three.test/debian",
        ),
        (
            "sources.list.d/off.sources",
            "Types: deb\nURIs: http://four.test/debian\nEnabled: no\n\nTypes: deb-src\nURIs: http://five.test/debian\n",
            DEFAULT_MIRROR,
        ),
    ],
)
def test_the_mirror_is_the_hosts_own(tmp_path: Path, file: str, text: str, mirror: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert host_mirror(tmp_path) == mirror


def test_a_host_without_apt_gets_debians_default(tmp_path: Path) -> None:
    assert host_mirror(tmp_path) == DEFAULT_MIRROR
