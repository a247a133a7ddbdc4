"""Messages of some classes only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audiotag.labels import Label
from audiotag.live.messages import Message, Output


class ChosenOutput(Output):
    """Hands on what is about some classes, and how the device is; not that others begin.

    Args:
        output: Takes it; closed with this one.
        classes: The classes.
    """

    def __init__(self, output: Output, classes: Iterable[Label]) -> None:
        self._output = output
        self._mids = {label.mid for label in classes}

    def send(self, message: Message) -> None:
        """Hand it on, or not."""
        if message.label is None or message.label.mid in self._mids:
            self._output.send(message)

    def problems(self) -> Mapping[str, int]:
        """Those of the output."""
        return self._output.problems()

    def close(self) -> None:
        """Close the output."""
        self._output.close()
