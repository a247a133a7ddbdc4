"""Random numbers for policies: cheap one by one, and their state can be saved at any point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.documents import plain_json
from audiotag.errors import StoreError

BLOCK = 1024
"""Numbers drawn at a time; a call into numpy costs far more than one number."""

_BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64, np.random.MT19937)
}


class Draws:
    """Uniform numbers from an explicit numpy generator, taken from it in blocks.

    Only the raw bits of the generator are used; numpy promises those to stay the same across versions, so a saved
    state goes on with the same numbers years later.

    Args:
        generator: The source. It is advanced by whole blocks, so do not share it.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._source = generator.bit_generator
        self._refill()

    def _refill(self) -> None:
        self._before = self._source.state
        self._block: list[float] = ((self._source.random_raw(BLOCK) >> np.uint64(11)) * 2.0**-53).tolist()
        self._used = 0

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if self._used == BLOCK:
            self._refill()
        number = self._block[self._used]
        self._used += 1
        return number

    def below(self, bound: int) -> int:
        """A whole number in [0, *bound*), all equally likely (to within *bound* / 2**53)."""
        return int(self.uniform() * bound)

    def weighted(self, weights: NDArray[np.float64]) -> int:
        """An index drawn with probability proportional to *weights* (≥ 0, at least one above 0)."""
        total = weights.cumsum()
        # A number below 1 times a sum is below the sum, also after rounding; so what is found has a weight.
        return int(total.searchsorted(self.uniform() * total[-1], side="right"))

    def state_dict(self) -> dict[str, Any]:
        """The generator before the current block and the numbers of the block used up, as plain JSON types."""
        return {"generator": plain_json(self._before), "used": self._used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            StoreError: The state is not one of ours.
        """
        try:
            source = _BIT_GENERATORS[state["generator"]["bit_generator"]](0)
            source.state = _arrays(state["generator"])
            used = state["used"]
            if type(used) is not int or not 0 <= used <= BLOCK:
                raise ValueError(f"{used!r:.40} numbers are used of a block of {BLOCK}")
        except (KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError) as error:
            raise StoreError(f"the saved state of the random generator cannot be used: {error!r}") from error
        self._source = source
        self._refill()
        self._used = used


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _arrays(part) for key, part in value.items()}
    if isinstance(value, list):
        return np.array(value, dtype=np.uint64)
    return value
