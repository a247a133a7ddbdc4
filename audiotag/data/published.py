"""The interface of a published data set: a format that also knows its own files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audiotag.data.clips import Dataset
from audiotag.display import brief_repr

Progress = Callable[[int, int], None]
"""Told (files done, files in all)."""


@brief_repr
@dataclass(frozen=True)
class Validation:
    """What `PublishedDataset.validate` found.

    Attributes:
        checked: Number of files that should be there.
        missing: Files that are not.
        corrupt: (file, why): there, and not what they should be.
        extra: Files that the data set does not have.
    """

    checked: int
    missing: tuple[Path, ...] = ()
    corrupt: tuple[tuple[Path, str], ...] = ()
    extra: tuple[Path, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every file is there and sound; extra files do no harm."""
        return not self.missing and not self.corrupt


class PublishedDataset(Dataset):
    """A data set that people download: its official splits, its preparation, and checks of its files.

    `read` takes the folder of the data set as published or as `prepare` wrote it, or a list in it, and gives each clip
    its official split as ``("split", name)`` in `Clip.extra`, or its `Clip.fold`. Facts about the data set (licence,
    citation, addresses, splits) stand in its descriptor.
    """

    @abstractmethod
    def prepare(
        self, source: Path, output: Path, *, sample_rate: int | None = None, progress: Progress | None = None
    ) -> Path:
        """Write the data set in a form that trains fast and can be read again.

        Args:
            source: The folder as published, archives unpacked.
            output: A new folder, or one that an interrupted call left; what is done is not repeated.
            sample_rate: Hz of the recordings written; None for the rate that the field uses for this data set.
            progress: Told how far it is.

        Returns:
            What `read` takes.

        Raises:
            ManifestError: *source* is not this data set.
            AudioError: Recordings cannot be read; the message names them. All others are prepared, and *output* can be
                read.
        """

    @abstractmethod
    def validate(self, source: Path, *, progress: Progress | None = None) -> Validation:
        """Check the files against the data set's own lists.

        Corrupt is what cannot be read or, where the data set states checksums, has another one.

        Args:
            source: As `read` takes it.
            progress: Told how far it is.

        Raises:
            ManifestError: *source* is not this data set.
        """

    @abstractmethod
    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write a tiny made-up version, laid out as the published one, that every other method takes.

        It has at least two clips in every official split (or fold), and is under 1 MB.

        Args:
            folder: A new folder.
            seed: Seed of the sounds.

        Returns:
            What `read` takes.
        """
