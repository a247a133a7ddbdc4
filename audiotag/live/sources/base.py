"""What a source of sound is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.display import brief_repr
from audiotag.errors import OptionError


@brief_repr
@dataclass(frozen=True)
class SourceSettings:
    """What a user says of a source beside its name; None where nothing is said.

    Attributes:
        sample_rate: Hz.
        channels: How many.
        sample_format: How samples are written: ``"s16"``, ``"s24"``, ``"s32"``, ``"f32"`` or ``"u8"``.
    """

    sample_rate: int | None = None
    channels: int | None = None
    sample_format: str | None = None

    def refuse(self, source: str) -> None:
        """Refuse settings for a *source* that knows its own.

        Raises:
            OptionError: There are some.
        """
        given = {"--rate": self.sample_rate, "--channels": self.channels, "--sample-format": self.sample_format}
        for option, value in given.items():
            if value is not None:
                raise OptionError(f"{option} is given, and the source knows its own", where=source, fix="Leave it out.")


@dataclass(frozen=True, slots=True, eq=False)
class SoundBlock:
    """Sound that has just come.

    Attributes:
        samples: float32 (samples, channels) in [−1, 1].
        sample_rate: Hz.
        lost: Seconds of sound that are known to be missing before it.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    lost: float = 0.0


class LiveSource(ABC):
    """Sound that comes by itself: a microphone, a camera, a radio station.

    Attributes:
        name: What messages call it.
        waits: Whether whoever sends waits until the sound is taken (a pipe, a file); where not, what comes while the
            machine is busy for too long is lost.
        endless: Whether its end is a fault, after which it is tried again.
    """

    name: str
    waits: bool = False
    endless: bool = True

    @abstractmethod
    def blocks(self) -> Iterator[SoundBlock]:
        """Open it, and give the sound as it comes; called again where it has failed. Runs in a thread of its own.

        Raises:
            AudiotagError: It cannot be opened, or has gone away.
        """

    @abstractmethod
    def close(self) -> None:
        """Make `blocks` end soon, and the source be let go of. Called from another thread, perhaps more than once."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A whole recording.

    Attributes:
        path: The file.
        done: To be called when all that is heard in it has been told: it will not come again.
    """

    path: Path
    done: Callable[[], None]


class RecordingSource(ABC):
    """Whole recordings that appear one by one.

    Attributes:
        name: What messages call it.
    """

    name: str

    @abstractmethod
    def recordings(self) -> Iterator[Recorded | None]:
        """Each recording as it appears; None now and then while none does. Ends after `close`.

        Raises:
            AudiotagError: They cannot be looked for.
        """

    @abstractmethod
    def close(self) -> None:
        """Make `recordings` end."""
