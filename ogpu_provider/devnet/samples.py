"""The sample sources: where they lie, what belongs to their image, and their compose files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ogpu_provider.domain.errors import DevnetError
from ogpu_provider.domain.source import Environment

IMAGE_TOKEN = "@IMAGE@"  # noqa: S105 - a placeholder in the compose files, no secret
CONTEXT_FILES = ("Dockerfile", "main.py")


def samples_dir() -> Path:
    """The directory of the sample sources: inside the installed package, or `compose/sources` of a checkout.

    Raises DevnetError if neither is there.
    """
    here = Path(__file__).resolve()
    for candidate in (here.parent / "samples", here.parents[2] / "compose" / "sources"):
        if (candidate / "multiply" / "main.py").is_file():
            return candidate
    raise DevnetError(
        "the sample sources are missing from this installation",
        code="devnet.samples_missing",
        remedy="reinstall ogpu-provider, or run from a checkout",
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample source for one environment."""

    name: str
    environment: Environment
    directory: Path

    @classmethod
    def find(cls, name: str, environment: Environment) -> "Sample":
        """Raises DevnetError for a name that is not a sample or an environment that it does not serve."""
        sample = cls(name, environment, samples_dir() / name)
        if not name.isidentifier() or not sample.compose_path.is_file():
            raise DevnetError(f"no sample source {name!r} for {environment.label}", code="devnet.no_sample")
        return sample

    @property
    def compose_path(self) -> Path:
        return self.directory / f"docker-compose-{self.environment.label}.yml"

    @property
    def requirements(self) -> Path:
        """The pinned wheels of this environment; a sample that needs the same ones everywhere has one file."""
        own = self.directory / f"requirements-{self.environment.label}.txt"
        return own if own.is_file() else self.directory / "requirements.txt"

    def compose(self, image: str) -> bytes:
        """The compose file, ready to publish, with `image` (a digest reference) filled in."""
        return self.compose_path.read_text(encoding="utf-8").replace(IMAGE_TOKEN, image).encode()

    def fingerprint(self, base: str, machine: str) -> str:
        """16 hex digits over everything that the image is made from. Equal content, equal tag."""
        digest = hashlib.sha256()
        parts = [(self.directory / file).read_bytes() for file in CONTEXT_FILES]
        for part in (base.encode(), machine.encode(), self.requirements.read_bytes(), *parts):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()[:16]
