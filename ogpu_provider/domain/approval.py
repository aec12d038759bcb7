"""Which compose file of a source may run here: pinned by hash, by the gate the first time, then by the operator."""

from dataclasses import dataclass
from enum import StrEnum

from ogpu_provider.domain.units import Address


class OnChange(StrEnum):
    """What becomes of a source whose compose file is not the approved one."""

    ASK = "ask"  # it is not served until the operator approves the new file
    SAME_IMAGES = "same-images"  # as ask, but a file that names the same images is approved by itself
    NEVER = "never"  # it is not served, and nobody can approve it


@dataclass(frozen=True, slots=True)
class ImageOffer:
    """A tag whose registry has something else under it than what runs: `used` and `offered` are digests, `since` is
    when that was noticed, in unix seconds.
    """

    image: str
    used: str
    offered: str
    since: float


@dataclass(frozen=True, slots=True)
class Approval:
    """The file with this SHA-256 may run. `images`: as it names them; empty until the gate read it.

    `waived`: codes of gate rules that the operator lifted for this very file, and the `reason` given. `at`: unix
    seconds.
    """

    source: Address
    sha256: str
    at: float
    images: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()
    reason: str = ""
    by_operator: bool = False
