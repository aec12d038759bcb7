"""How much of a stranger's request is borne."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallbackLimits:
    """Sizes in bytes, times in seconds.

    A request's header, and whatever part of its body is not done by then, must come within `window`; after that, every
    `window` must bring `pace` bytes a second, or the request is cut. So a sender that drips is gone within two windows,
    and a large body on a slow way has its time.

    `values`: of a JSON body, its keys included. `waiting`, `per_peer`, `per_source`: see Places. `drain`: how long open
    requests may take to finish when the server is closed.
    """

    body: int = 32 << 20
    header: int = 16 << 10
    depth: int = 128
    values: int = 1_000_000
    window: float = 6.0
    pace: int = 256 << 10
    waiting: int = 640
    per_peer: int = 64
    per_source: int = 32
    drain: float = 5.0
