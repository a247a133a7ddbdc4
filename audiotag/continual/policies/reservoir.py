"""Reservoir sampling: every example ever offered is equally likely to be in the store."""

from __future__ import annotations

from audiotag.continual.policy import Decision, Example, StoragePolicy


class Reservoir(StoragePolicy):
    """Algorithm R (Vitter, Random sampling with a reservoir, ACM TOMS 11(1), 1985).

    The n-th example is stored with probability capacity / n, in the place of a stored one drawn uniformly; so after n
    offers each has been kept with probability capacity / n. Labels play no part. Shrinking gives up examples drawn
    uniformly, which keeps that property; after growing, the next examples fill the new room, and are over-represented
    until the stream has gone on for a while.
    """

    name = "reservoir"

    def decide(self, example: Example) -> Decision:
        """See `StoragePolicy.decide`."""
        slot = self.draws.below(self.offers)
        probability = self.capacity / self.offers
        if slot < self.capacity:
            return self.replace(slot, example, "drawn", probability)
        return self.skip("not drawn", probability)

    def victim(self) -> int:
        """A slot, all equally likely."""
        return self.any_slot()
