"""Xid errors of the NVIDIA driver: whose fault each is.

Names: NVIDIA, "XID Errors" (docs.nvidia.com/deploy/xid-errors). Which of them an application can cause on a healthy
card: the health check of NVIDIA's own Kubernetes device plugin, which takes a card out for every other number, known
or not. 63 and 92 are reports of errors that were mended; they are noted only.
"""

from enum import StrEnum


class Fault(StrEnum):
    """`note`: mended already, worth a line in the log."""

    CARD = "card"
    APPLICATION = "application"
    NOTE = "note"


APPLICATION = frozenset({13, 31, 43, 45, 68, 109})
NOTES = frozenset({63, 92})
NAMES = {
    13: "graphics engine exception",
    31: "memory page fault of a program",
    32: "corrupted push buffer",
    38: "driver firmware error",
    43: "reset channel of a program",
    45: "preemptive cleanup after earlier errors",
    48: "double-bit ECC error",
    56: "display engine error",
    57: "error programming the video memory interface",
    58: "unstable video memory interface",
    61: "internal micro-controller breakpoint",
    62: "internal micro-controller halt",
    63: "row of memory remapped",
    64: "row of memory could not be remapped",
    65: "video processor exception",
    68: "video decoder exception",
    69: "graphics engine class error",
    74: "NVLink error",
    79: "fallen off the bus",
    80: "corrupted data sent to the card",
    92: "many single-bit ECC errors",
    94: "contained ECC error",
    95: "uncontained ECC error",
    109: "context switch timeout",
    110: "security fault",
    119: "timeout of the card's system processor",
    120: "error of the card's system processor",
    140: "unrecovered ECC error",
    143: "initialisation error of the card",
    154: "recovery action needed",
}


def fault_of(number: int) -> Fault:
    """A number that nobody knows is held against the card."""
    if number in APPLICATION:
        return Fault.APPLICATION
    return Fault.NOTE if number in NOTES else Fault.CARD


def named(number: int) -> str:
    """`Xid 79 (fallen off the bus)`."""
    name = NAMES.get(number)
    return f"Xid {number} ({name})" if name else f"Xid {number}"
