"""Hosts that pretend: a process with the real NVML binding on a fake library, and a tree that looks like sysfs."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ogpu_provider.scheduler.reading import Reading, parsed

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIBRARY = "libnvidia-ml.so.1"


def build(folder: Path) -> Path:
    """The fake library, compiled into a folder. Raises LookupError without a compiler or NVML's header."""
    if (compiler := shutil.which("gcc") or shutil.which("cc")) is None:
        raise LookupError("no C compiler to build the fake NVML with")
    try:
        files = importlib.metadata.files("nvidia-nvml-dev") or []
    except importlib.metadata.PackageNotFoundError:
        raise LookupError("nvidia-nvml-dev, which has nvml.h, is not installed") from None
    header = next(Path(str(file.locate())) for file in files if file.name == "nvml.h")
    library = folder / LIBRARY
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-DNVML_NO_UNVERSIONED_FUNC_DEFS"]
    command = [compiler, *flags, f"-isystem{header.parent}", "-o", str(library), str(HERE / "fake_nvml.c")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library


class Machine:
    """A process of its own with the real binding; the script and the library may change while it runs."""

    def __init__(self, directory: Path, library: Path) -> None:
        self._libraries, self._script, self._built = directory / "lib", directory / "script", library
        self.dev = directory / "nvidia-dev"
        self.dev.mkdir()
        self._libraries.mkdir()
        # Hides a real library: the loader stops at the first file of the name, and this is none.
        (self._libraries / LIBRARY).write_text("not a library")
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LD_LIBRARY_PATH": str(self._libraries),
            "FAKE_NVML_SCRIPT": str(self._script),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ogpu_provider.scheduler.surveyor", "nvidia", "/sys", str(self.dev), "/proc"],
            env=self.environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def install_library(self) -> None:
        (self._libraries / LIBRARY).unlink()
        shutil.copy(self._built, self._libraries / LIBRARY)

    def script(self, *lines: str) -> None:
        self._script.write_text("".join(f"{line}\n" for line in lines))

    def xid(self, uuid: str, number: int) -> None:
        """The driver reports an error of a card."""
        with Path(f"{self._script}.xids").open("a") as file:
            file.write(f"{uuid}|{number}\n")

    def release(self) -> None:
        """A driver that was stuck answers."""
        Path(f"{self._script}.release").touch()

    @property
    def held(self) -> list[str]:
        """Cards that were held open when a session began, sessions one after the other."""
        return Path(f"{self._script}.held").read_text().splitlines()

    def read(self) -> Reading:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return parsed(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=60)


class AmdTree:
    """A tree laid out as the kernel lays out /sys and /dev for amdgpu."""

    def __init__(self, root: Path) -> None:
        self.sys, self.dev, self.proc = root / "sys", root / "dev", root / "proc"
        (self.sys / "class" / "drm").mkdir(parents=True)
        (self.dev / "dri").mkdir(parents=True)
        (self.dev / "kfd").touch()
        self.proc.mkdir()

    def add(self, index: int, address: str, *, vendor: str = "0x1002", render: int | None = None, **files: str) -> Path:
        """A card with its connector; `files` are those of its device directory."""
        device = self.sys / "devices" / "pci0000:00" / address
        card = device / "drm" / f"card{index}"
        card.mkdir(parents=True)
        (card / "device").symlink_to("../..")
        drm = self.sys / "class" / "drm"
        (drm / f"card{index}").symlink_to(card)
        (drm / f"card{index}-DP-1").mkdir()
        for name, text in {"vendor": vendor, "device": "0x744c", **files}.items():
            (device / name).write_text(f"{text}\n")
        if render is not None:
            (device / "drm" / f"renderD{render}").mkdir()
            (drm / f"renderD{render}").symlink_to(device / "drm" / f"renderD{render}")
            (self.dev / "dri" / f"renderD{render}").touch()
        return device

    def instruments(self, device: Path, **files: str) -> None:
        """Files below a device directory: `hwmon__temp1_input` is in its hwmon, `ras__...` in its ras."""
        for name, text in files.items():
            folder = {"hwmon": "hwmon/hwmon3/", "ras": "ras/"}.get(name.partition("__")[0], "")
            path = device / (folder + name.rpartition("__")[2])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    def computes(self, node: int, gpu: int, location: int, **memory: int) -> None:
        """A node of the compute driver's topology, and processes (`pid42=...`) with memory of it."""
        kfd = self.sys / "class" / "kfd" / "kfd"
        place = kfd / "topology" / "nodes" / str(node)
        place.mkdir(parents=True, exist_ok=True)
        (place / "gpu_id").write_text(f"{gpu}\n")
        (place / "properties").write_text(f"cpu_cores_count 0\nlocation_id {location}\ndomain 0\n")
        for pid, size in memory.items():
            process = kfd / "proc" / pid.removeprefix("pid")
            process.mkdir(parents=True, exist_ok=True)
            (process / f"vram_{gpu}").write_text(f"{size}\n")

    def draws(self, pid: int, address: str, *clients: tuple[int, int]) -> None:
        """A process with an open file of the card for each of `clients`: its number and KiB."""
        process = self.proc / str(pid)
        for folder in ("fd", "fdinfo"):
            (process / folder).mkdir(parents=True, exist_ok=True)
        (process / "fd" / "0").symlink_to("/dev/null")
        for fd, (client, size) in enumerate(clients, start=3):
            (process / "fd" / str(fd)).symlink_to("/dev/dri/renderD128")
            lines = (
                "drm-driver:\tamdgpu",
                f"drm-pdev:\t{address}",
                f"drm-client-id:\t{client}",
                f"drm-memory-vram:\t{size} KiB",
            )
            (process / "fdinfo" / str(fd)).write_text("pos:\t0\n" + "\n".join(lines) + "\n")

    def stall(self, path: Path) -> None:
        """Who reads this file waits for ever, as for a driver that does not answer."""
        path.unlink(missing_ok=True)
        os.mkfifo(path)
