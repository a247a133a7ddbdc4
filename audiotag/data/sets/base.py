"""What published data sets of recordings have in common: preparation, checks, and the form that preparation writes.

A data set says what its own lists say (`RecordedSet.listing`); reading, preparing and validating follow from that, for
the published files and for the prepared ones alike.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from audiotag.audio.encoding import encode_lossless
from audiotag.data.checking import check_recordings, in_parallel
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.formats.manifest import JsonManifest, write_manifest
from audiotag.data.published import Progress, PublishedDataset, Validation
from audiotag.data.recording import read_clip
from audiotag.data.rows import Row, clips_from_rows, resolve_path
from audiotag.data.selection import select_split, splits_of
from audiotag.errors import ManifestError, OptionError
from audiotag.files import write_atomically
from audiotag.labels import LabelSet

MARKER = "audiotag-dataset.json"
"""The file that says of a folder which data set was prepared into it."""
MANIFEST = "clips.json"
CLASSES = "class_labels_indices.csv"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Listing:
    """What the lists of a data set say.

    Attributes:
        rows: The clips, with paths relative to *root*.
        labels: The classes; None where no clip has one.
        root: Folder of the recordings.
        folders: Folders that hold recordings of this data set and nothing else.
        single_label: Whether each clip has exactly one class.
        absent: Recordings that are listed and not there, where that is the usual state, with their official split
            (empty where there is none); they are not among the rows.
    """

    rows: tuple[Row, ...]
    labels: LabelSet | None
    root: Path
    folders: tuple[Path, ...] = ()
    single_label: bool = False
    absent: tuple[tuple[Path, str], ...] = ()


class RecordedSet(PublishedDataset):
    """A published data set whose clips are files of their own.

    Attributes:
        name: The name it is registered under; written into what `prepare` makes.
        sample_rate: Hz that the field uses for it, and `prepare` writes.
    """

    name: str
    sample_rate: int

    @abstractmethod
    def listing(self, source: Path, root: Path | None) -> Listing:
        """What the published lists say.

        Args:
            source: The folder as published, or a list in it.
            root: Folder of the recordings, None for where they were published.

        Raises:
            ManifestError: *source* is not this data set, or a list is wrong.
        """

    @abstractmethod
    def is_published(self, source: Path) -> bool:
        """Whether *source* is the folder as published, or a list in it; must be quick, exact, and never raise."""

    def recognises(self, source: Path) -> bool:
        """Whether it is the folder as published, a list in it, or what `prepare` wrote."""
        marker = _marker(source)
        return marker.get("dataset") == self.name if marker else self.is_published(source)

    def read(
        self,
        source: Path,
        *,
        labels: LabelSet | None = None,
        root: Path | None = None,
        unknown_labels: str = "error",
        **options: Any,
    ) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`."""
        if self.is_prepared(source):
            return self.read_prepared(source, labels=labels, root=root, unknown_labels=unknown_labels)
        listing = self.listing(source, root)
        clips = clips_from_rows(
            listing.rows,
            source=source,
            root=listing.root,
            labels=labels,
            own_labels=listing.labels,
            unknown_labels=unknown_labels,
            single_label=listing.single_label,
            labels_required=False,
        )
        return replace(clips, absent=dict(Counter(split for _, split in listing.absent)))

    def is_prepared(self, source: Path) -> bool:
        """Whether `prepare` wrote *source*.

        Raises:
            ManifestError: It did not finish, or prepared another data set there.
        """
        marker = _marker(source)
        if not marker:
            return False
        if marker.get("dataset") != self.name:
            raise ManifestError(
                f"the data set {marker.get('dataset')!r} was prepared into it, not {self.name!r}", where=source
            )
        if not marker.get("complete"):
            raise ManifestError(
                "its preparation did not finish",
                where=source,
                fix=f"Run audiotag data prepare {self.name} again; what is done is not repeated.",
            )
        return True

    def read_prepared(
        self, source: Path, *, labels: LabelSet | None, root: Path | None, unknown_labels: str
    ) -> ClipSet:
        """The clips of a folder that `prepare` wrote."""
        return JsonManifest().read(
            source / MANIFEST,
            labels=LabelSet.from_csv(source / CLASSES) if labels is None else labels,
            root=root,
            unknown_labels=unknown_labels,
            single_label=bool(_marker(source).get("single_label")),
            labels_required=False,
        )

    def prepare(
        self, source: Path, output: Path, *, sample_rate: int | None = None, progress: Progress | None = None
    ) -> Path:
        """See `PublishedDataset.prepare`: mono 24-bit FLAC, a manifest of all clips and one of each split.

        A clip that resampling drives beyond [−1, 1] is written as a WAV of floats.
        """
        rate = self.sample_rate if sample_rate is None else sample_rate
        if rate < 1:
            raise OptionError(f"{rate} Hz is no sample rate", where=f"prepare {self.name}")
        clips = self.read(source)
        marker = self.begin(output, sample_rate=rate, single_label=clips.single_label)

        def write(clip: Clip) -> str:
            place = PurePosixPath("audio", PurePosixPath(clip.id.lstrip("/")).with_suffix(""))
            for suffix in (".flac", ".wav"):
                if (output / f"{place}{suffix}").is_file():
                    return f"{place}{suffix}"
            content, suffix = encode_lossless(read_clip(clip, rate), rate)
            write_atomically(output / f"{place}{suffix}", content)
            return f"{place}{suffix}"

        paths = in_parallel(write, clips, progress)
        if len(set(paths)) < len(paths):
            raise ManifestError(
                "two clips differ in their endings only, and would be written to one file", where=source
            )
        self.finish(output, marker, clips, paths)
        return output

    def begin(self, output: Path, **facts: Any) -> dict[str, Any]:
        """Mark *output* as a preparation under way.

        Raises:
            ManifestError: Something else lies there, or was begun with other facts.
        """
        wanted = {
            "format": "audiotag-dataset",
            "format_version": _FORMAT_VERSION,
            "dataset": self.name,
            "complete": False,
            **facts,
        }
        found = _marker(output)
        if not found and output.exists() and any(output.iterdir()):
            raise ManifestError("the output folder holds something else", where=output, fix="Name a new folder.")
        if found and {**found, "complete": False} != wanted:
            raise ManifestError(
                f"another preparation was begun there ({_shown(found)}; now {_shown(wanted)})",
                where=output,
                fix="Name a new folder.",
            )
        write_json(output / MARKER, wanted)
        return wanted

    def finish(self, output: Path, marker: dict[str, Any], clips: ClipSet, paths: Sequence[str]) -> None:
        """Write the lists of what lies under *paths*, and mark the preparation as done."""
        # What was cut out of a longer recording is a recording of its own now.
        moved = zip(clips, paths, strict=True)
        written = tuple(replace(clip, path=output / path, start=0.0, stop=None, member=None) for clip, path in moved)
        prepared = replace(clips, clips=written)
        for split in splits_of(prepared):
            write_manifest(select_split(prepared, split), output / f"{split}.json")
        clips.labels.to_csv(output / CLASSES)
        write_manifest(prepared, output / MANIFEST)
        self.mark_complete(output, marker)

    def mark_complete(self, output: Path, marker: dict[str, Any]) -> None:
        """Mark the preparation that `begin` began as done."""
        write_json(output / MARKER, {**marker, "complete": True})

    def validate(self, source: Path, *, progress: Progress | None = None) -> Validation:
        """See `PublishedDataset.validate`; every recording is decoded to its end."""
        if self.is_prepared(source):
            listing = Listing((), LabelSet.from_csv(source / CLASSES), source, folders=(source / "audio",))
        else:
            listing = self.listing(source, None)
        found = check_recordings(self.read(source), listing.folders, progress)
        absent = tuple(resolve_path(str(path), listing.root) for path, _ in listing.absent)
        return replace(found, checked=found.checked + len(absent), missing=(*found.missing, *absent))


def write_json(path: Path, content: Any) -> None:
    """Write *content* as JSON, atomically."""
    write_atomically(path, (json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())


def _marker(source: Path) -> dict[str, Any]:
    """What the marker of a prepared folder says, empty where there is none."""
    try:
        content = json.loads((source / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("format") == "audiotag-dataset" else {}


def _shown(marker: dict[str, Any]) -> str:
    return ", ".join(f"{key} {marker[key]}" for key in marker if key not in ("format", "format_version", "complete"))
