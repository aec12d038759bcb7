"""Several sources on one card: whether the operator allows it, and how much each is known to take."""

from collections.abc import Collection
from dataclasses import dataclass

from ogpu_provider.domain.learnt import Fact, Knowledge

RESERVE = 1 << 30


@dataclass(frozen=True, slots=True)
class Sharing:
    """`reserve`: bytes of a shared card that nobody is given. `knowledge` is read, never written."""

    knowledge: Knowledge
    reserve: int = RESERVE

    def need(self, images: Collection[str], card: str) -> int:
        """Bytes of a card of this model that containers of these images take together at their peaks.

        `images`: a digest for each container that uses the card. 0 if it is not known of one of them.
        """
        peaks = [self.knowledge.highest(Fact.PEAK_MEMORY, image, card) for image in images]
        return 0 if None in peaks else sum(int(peak or 0) for peak in peaks)
