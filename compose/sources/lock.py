#!/usr/bin/env python3
"""Pin the wheels of every sample: requirements*.in -> requirements*.txt, with hashes for the machines we build for.

Needs `uv` and `pip` on PATH and a package index. Maintainers run it; nobody else has to.
"""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from ogpu_provider.devnet.wheels import PYTHON, platform_tags

HERE = Path(__file__).resolve().parent
MACHINES = ("x86_64", "aarch64")
HEADER = "# Made by lock.py. Wheels for {} only.\n"


def excluded(name: str) -> list[str]:
    """What RapidOCR asks for and a lean image replaces: headless OpenCV, another build of ONNX Runtime."""
    names = ["opencv-python"] if name.startswith("ocr") else []
    if name in ("ocr/requirements-nvidia", "ocr/requirements-amd"):
        names.append("onnxruntime")
    return names


def pins(source: Path, name: str) -> list[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
        overrides.write("".join(f"{package} ; python_version < '3'\n" for package in excluded(name)))
        overrides.flush()
        command = ["uv", "pip", "compile", "--quiet", "--no-annotate", "--no-header", "--python-version", PYTHON]
        command += ["--python-platform", "x86_64-manylinux_2_36", "--overrides", overrides.name, str(source)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line.split(";")[0].split("#")[0].strip() for line in done.stdout.splitlines() if "==" in line]


def wheel_hash(pin: str, machine: str) -> str | None:
    with tempfile.TemporaryDirectory() as into:
        command = ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
        command += ["--python-version", PYTHON, "--dest", into, pin]
        command += [arg for tag in platform_tags(machine) for arg in ("--platform", tag)]
        if subprocess.run(command, check=False, capture_output=True).returncode != 0:
            return None
        (wheel,) = Path(into).iterdir()
        with wheel.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def lock(source: Path, known: dict[tuple[str, str], str | None]) -> None:
    wanted = pins(source, str(source.relative_to(HERE).with_suffix("")))
    for key in [(pin, machine) for pin in wanted for machine in MACHINES]:
        if key not in known:
            known[key] = wheel_hash(*key)
    served = [machine for machine in MACHINES if all(known[pin, machine] for pin in wanted)]
    lines = [HEADER.format(" and ".join(served))]
    for pin in wanted:
        hashes = dict.fromkeys(known[pin, machine] for machine in served)
        lines.append(" \\\n".join([pin, *(f"    --hash=sha256:{value}" for value in hashes)]) + "\n")
    source.with_suffix(".txt").write_text("".join(lines), encoding="utf-8")
    print(f"{source.with_suffix('.txt')}: {len(wanted)} packages for {', '.join(served) or 'NO MACHINE'}")


def main() -> None:
    if not shutil.which("uv") or not shutil.which("pip"):
        raise SystemExit("lock.py needs uv and pip on PATH")
    known: dict[tuple[str, str], str | None] = {}
    for source in sorted(HERE.glob("*/requirements*.in")):
        lock(source, known)


if __name__ == "__main__":
    main()
