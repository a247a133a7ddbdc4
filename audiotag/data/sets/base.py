"""What published data sets of recordings have in common: preparation, checks, and the form that preparation writes.

A data set says what its own lists say (`RecordedSet.listing`); reading, preparing and validating follow from that, for
the published files and for the prepared ones alike.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audiotag.audio.encoding import encode_lossless
from audiotag.data.checking import check_recordings, in_parallel
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.formats.manifest import JsonManifest, write_manifest
from audiotag.data.prepared import MARKER, LeftOut, Preparation, read_preparation
from audiotag.data.published import Progress, PublishedDataset, Validation
from audiotag.data.recording import read_clip
from audiotag.data.rows import Row, clips_from_rows, resolve_path
from audiotag.data.selection import select_split, splits_of
from audiotag.display import brief_repr
from audiotag.errors import AudioError, ManifestError, MissingExtraError, OptionError, UnknownNameError
from audiotag.files import write_atomically
from audiotag.folders import path_inside, refuse_links
from audiotag.host import get_host
from audiotag.labels import LabelSet

MANIFEST = "clips.json"
CLASSES = "class_labels_indices.csv"
_MAX_NAMED = 20


@brief_repr
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
        table: The list, where messages name it rather than the folder.
        skipped: Labels that the data set itself leaves out, label → number of clips.
    """

    rows: tuple[Row, ...]
    labels: LabelSet | None
    root: Path
    folders: tuple[Path, ...] = ()
    single_label: bool = False
    absent: tuple[tuple[Path, str], ...] = ()
    table: Path | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)


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
        try:
            found = read_preparation(source)
        except ManifestError:
            return False
        return self.is_published(source) if found is None else found.dataset == self.name

    def read(self, source: Path, *, root: Path | None = None, **reading: Any) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`."""
        if (prepared := self.preparation(source)) is not None:
            return self._read_prepared(source, prepared, root=root, **reading)
        listing = self.listing(source, root)
        required = {"single_label": listing.single_label, "labels_required": False, **reading}
        clips = clips_from_rows(
            listing.rows, source=listing.table or source, root=listing.root, own_labels=listing.labels, **required
        )
        skipped = dict(sorted({**listing.skipped, **clips.skipped}.items()))
        return replace(clips, skipped=skipped, absent=dict(Counter(split for _, split in listing.absent)))

    def preparation(self, source: Path) -> Preparation | None:
        """What `prepare` wrote about *source*; None where it did not write it.

        Raises:
            ManifestError: It did not finish, or prepared another data set there.
        """
        found = read_preparation(source)
        if found is not None and found.dataset != self.name:
            raise ManifestError(f"the data set {found.dataset!r} was prepared into it, not {self.name!r}", where=source)
        if found is not None and not found.complete:
            raise ManifestError(
                "its preparation did not finish",
                where=source,
                fix=f"Run audiotag data prepare {self.name} again; what is done is not repeated.",
            )
        return found

    def _read_prepared(
        self, source: Path, prepared: Preparation, *, labels: LabelSet | None = None, **reading: Any
    ) -> ClipSet:
        required = {**reading, "single_label": prepared.single_label, "labels_required": False}
        labels = LabelSet.from_csv(source / CLASSES) if labels is None else labels
        return replace(JsonManifest().read(source / MANIFEST, labels=labels, **required), absent=prepared.absent)

    def prepare(
        self, source: Path, output: Path, *, sample_rate: int | None = None, progress: Progress | None = None
    ) -> Path:
        """See `PublishedDataset.prepare`: mono 24-bit FLAC, a manifest of all clips and one of each split.

        A clip that resampling drives beyond [−1, 1] is written as a WAV of floats.
        """
        rate, clips = self.rate(sample_rate), self.read(source)
        places = _places(clips, output)
        begun = self.begin(output, sample_rate=rate, single_label=clips.single_label)

        def write(clip: Clip) -> Path | AudioError | MissingExtraError:
            place = places[clip.id]
            for suffix in (".flac", ".wav"):
                if (there := place.with_name(place.name + suffix)).is_file():
                    return there
            try:
                content, suffix = encode_lossless(read_clip(clip, rate), rate)
            except (AudioError, MissingExtraError) as error:
                return error
            write_atomically(there := place.with_name(place.name + suffix), content)
            return there

        self.finish(output, begun, clips, in_parallel(write, clips, progress))
        return output

    def rate(self, wanted: int | None) -> int:
        """Hz of the recordings that `prepare` writes; raises OptionError where *wanted* is no rate."""
        if wanted is not None and wanted < 1:
            raise OptionError(f"{wanted} Hz is not a sample rate", where=f"prepare {self.name}")
        return wanted or self.sample_rate

    def begin(self, output: Path, *, single_label: bool, **facts: Any) -> Preparation:
        """Mark *output* as a preparation under way.

        Raises:
            ManifestError: Something else lies there, it was begun with other facts, or holds links.
        """
        wanted = Preparation(self.name, self._plugin(), facts, single_label)
        found = read_preparation(output)
        if found is None and output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ManifestError("the output folder holds something else", where=output, fix="Name a new folder.")
        if found is not None and not found.is_same_work(wanted):
            raise ManifestError(
                f"another preparation was started there ({found}; now {wanted})", where=output, fix="Name a new folder."
            )
        refuse_links(output, error=ManifestError)
        wanted.write(output)
        return wanted

    def _plugin(self) -> str:
        """The distribution that brings the data set, empty where none has registered it."""
        try:
            return get_host().owner(get_host().dataset(self.name)).distribution
        except UnknownNameError:
            return ""

    def finish(self, output: Path, begun: Preparation, clips: ClipSet, written: Sequence[Path | Exception]) -> None:
        """Write the lists of the recordings that were *written*, and mark the preparation as done."""
        # What was cut out of a longer recording is a recording of its own now.
        prepared = replace(
            clips,
            clips=tuple(
                replace(clip, path=path, start=0.0, stop=None, member=None)
                for clip, path in zip(clips, written, strict=True)
                if isinstance(path, Path)
            ),
        )
        for split in splits_of(prepared):  # none where nothing could be read, which mark_complete reports
            write_manifest(select_split(prepared, split), output / f"{split}.json")
        clips.labels.to_csv(output / CLASSES)
        write_manifest(prepared, output / MANIFEST)
        self.mark_complete(output, begun, clips, written)

    def mark_complete(self, output: Path, begun: Preparation, clips: ClipSet, written: Sequence[object]) -> None:
        """Mark the preparation that `begin` began as done.

        Args:
            output: Its folder.
            begun: What `begin` gave.
            clips: Every clip of the data set.
            written: What became of each; an error for one that is left out.

        Raises:
            AudioError: Recordings could not be read. Unless that is true of all, the preparation is complete without
                them.
        """
        left_out = tuple(
            LeftOut(clip.id, dict(clip.extra).get("split", ""), str(error))
            for clip, error in zip(clips, written, strict=True)
            if isinstance(error, Exception)
        )
        if len(left_out) < len(clips):
            replace(begun, complete=True, left_out=left_out).write(output)
        if left_out:
            named = "; ".join(f"{clip.id!r} ({clip.reason})" for clip in left_out[:_MAX_NAMED])
            more = f"; {MARKER} names all" if len(left_out) > _MAX_NAMED else ""
            raise AudioError(
                f"{len(left_out)} of {len(clips)} recordings cannot be read: {named}{more}",
                where=clips.source,
                fix="Check them with `audiotag data validate`."
                if len(left_out) == len(clips)
                else f"They are left out of {output}, which is complete otherwise; the same command tries them again.",
            )

    def validate(self, source: Path, *, progress: Progress | None = None) -> Validation:
        """See `PublishedDataset.validate`; every recording is decoded to its end."""
        if self.preparation(source) is not None:
            listing = Listing((), LabelSet.from_csv(source / CLASSES), source, folders=(source / "audio",))
        else:
            listing = self.listing(source, None)
        found = check_recordings(self.read(source), listing.folders, progress)
        absent = tuple(resolve_path(str(path), listing.root) for path, _ in listing.absent)
        return replace(found, checked=found.checked + len(absent), missing=(*found.missing, *absent))


def _places(clips: ClipSet, output: Path) -> dict[str, Path]:
    """Where the recording of each clip goes, without its ending.

    Raises:
        ManifestError: The name of a clip or of a split cannot be that of a file in *output*, or two clips would be one
            file.
    """
    for split in splits_of(clips):
        path = path_inside(output, f"{split}.json", error=ManifestError, where=f"{clips.source}, split {split!r}")
        if path.parent != output or path.name.lower() in (MARKER, MANIFEST):
            raise ManifestError(
                f"no list can be called after the split {split!r}", where=clips.source, fix="Rename the split."
            )
    places: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for clip in clips:
        where = f"{clips.source}, clip {clip.id!r}"
        place = path_inside(output / "audio", clip.id, error=ManifestError, where=where).with_suffix("")
        if place in taken:
            raise ManifestError(
                f"it differs from {taken[place]!r} in its ending only, and both would be written to one file",
                where=where,
                fix="Give the clips other ids.",
            )
        taken[place] = clip.id
        places[clip.id] = place
    return places
