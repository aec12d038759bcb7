"""How long a task would take from now, part by part, in seconds. What was not learnt yet is said to be unknown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """`pull`: what is left of the images at the bandwidth measured. `cold`: from containers to the first answer.

    Both are 0 where the project is up. `run`: at the quantile that the operator chose; None if the function never ran
    here. `pin`, and `chain`: the blocks until the response is in. `unmeasured`: bytes to pull at a bandwidth that
    nobody has seen yet; they count 0.
    """

    pull: float = 0.0
    cold: float = 0.0
    run: float | None = None
    pin: float = 0.0
    chain: float = 0.0
    unmeasured: int = 0

    @property
    def total(self) -> float:
        return self.pull + self.cold + (self.run or 0.0) + self.pin + self.chain

    def __str__(self) -> str:
        run = "run not known yet" if self.run is None else f"run {self.run:.1f}"
        parts = [f"pull of {self.unmeasured >> 20} MiB not known yet"] if self.unmeasured else []
        parts += [f"pull {self.pull:.0f}"] if self.pull else []
        parts += [f"start {self.cold:.1f}"] if self.cold else []
        return ", ".join([*parts, run, f"pin {self.pin:.1f}", f"blocks {self.chain:.1f}"]) + " s"
