"""AudioSet: ten-second segments of YouTube videos, 527 classes.

Gemmeke et al., Audio Set: an ontology and human-labeled dataset for audio events, ICASSP 2017.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiotag.audio.encoded import EncodedAudio
from audiotag.audio.encoding import encode_mp3
from audiotag.data.archive import read_index, writing
from audiotag.data.checking import check_recordings, in_parallel
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.formats.hdf5 import Hdf5Archive
from audiotag.data.formats.tables import beginning, read_rows
from audiotag.data.prepared import read_preparation
from audiotag.data.published import Progress, Validation
from audiotag.data.recording import clip_info, read_clip, recording_of
from audiotag.data.rows import read_number
from audiotag.data.sets.base import CLASSES, Listing, RecordedSet
from audiotag.data.sets.segments import Segment, segment_listing
from audiotag.data.sets.tiny import write_lines, write_tiny_sound
from audiotag.errors import AudioError, ManifestError, MissingExtraError
from audiotag.labels import known_labels

SPLITS = ("balanced_train", "unbalanced_train", "eval")
_HEADER = ["YTID", "start_seconds", "end_seconds", "positive_labels"]
_ENCODED_AT_ONCE = 64


class AudioSet(RecordedSet):
    """Segment lists with a folder of clips, or HDF5 files of MP3s.

    Read are a folder with ``balanced_train_segments.csv``, ``unbalanced_train_segments.csv`` and ``eval_segments.csv``
    (those that are there), one such list, and a folder with ``…_segments_mp3.hdf`` files, which is what `prepare`
    writes (and which go before lists). The recordings of the lists are looked for in the whole folder, by the names
    that fetchers give them (see `audiotag.data.sets.segments.file_stems`); each file holds one segment. Segments
    without a recording are counted in `ClipSet.absent`, since no two copies of AudioSet hold the same videos, and are
    missing to `validate`.
    """

    name = "audioset"
    sample_rate = 32_000

    def listing(self, source: Path, root: Path | None) -> Listing:
        """See `RecordedSet.listing`."""
        if source.is_dir():
            lists = [path for split in SPLITS if (path := source / f"{split}_segments.csv").is_file()]
        else:
            lists = [source]
        if not lists:
            raise ManifestError("there is no list of segments in it", where=source, fix="Put eval_segments.csv there.")
        folder = root or (source if source.is_dir() else source.parent)
        segments = [segment for path in lists for segment in read_segments(path)]
        example = "the video's id, as in Y--4gqARaEJE.wav"
        return segment_listing(segments, known_labels("audioset"), folder, example=example)

    def is_published(self, source: Path) -> bool:
        """Whether it is a list of segments, or a folder with one or with archives."""
        if source.is_dir():
            return any((source / f"{split}_segments.csv").is_file() for split in SPLITS) or bool(_archives(source))
        return _is_segment_list(source)

    def read(self, source: Path, *, root: Path | None = None, **reading: Any) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`."""
        preparation, archives = self.preparation(source), _archives(source)
        if preparation is None and not archives:
            return super().read(source, root=root, **reading)
        parts = {split: Hdf5Archive().read(path, root=root, **reading) for split, path in archives.items()}
        if not parts:
            raise ManifestError("there is no archive in it", where=source, fix="Prepare it again.")
        return replace(
            next(iter(parts.values())),
            clips=tuple(replace(clip, extra=(("split", split),)) for split, part in parts.items() for clip in part),
            source=str(source),
            skipped=dict(sum((Counter(part.skipped) for part in parts.values()), Counter[str]())),
            absent={} if preparation is None else preparation.absent,
        )

    def prepare(
        self, source: Path, output: Path, *, sample_rate: int | None = None, progress: Progress | None = None
    ) -> Path:
        """See `PublishedDataset.prepare`: one HDF5 file of MP3s for each split.

        What is an MP3 already goes in byte for byte, unless *sample_rate* is given; everything else is encoded at that
        rate (32 kHz where none is given). Archives that are complete are not written again.

        Raises:
            MissingExtraError: h5py is not installed.
        """
        rate, clips = self.rate(sample_rate), self.read(source)
        before = read_preparation(output)
        begun = self.begin(output, sample_rate=rate, single_label=False, keeps_mp3=sample_rate is None)
        clips.labels.to_csv(output / CLASSES)
        done = 0
        failed: dict[str, Exception] = {}
        for split in SPLITS:
            part = [clip for clip in clips if dict(clip.extra).get("split") == split]
            path = output / f"{split}_segments_mp3.hdf"
            if path.is_file():
                known = {} if before is None else {clip.id: clip.reason for clip in before.left_out}
                there = {name.removesuffix(".mp3") for name in read_index(path).names}
                failed |= {
                    clip.id: AudioError(known.get(clip.id, "it was left out"), fix=f"Remove {path} to try it again.")
                    for clip in part
                    if clip.id not in there
                }
            elif part:
                failed |= self._write(
                    path, part, rate, sample_rate is None, len(clips.labels), _shifted(progress, done, len(clips))
                )
            done += len(part)
        self.mark_complete(output, begun, clips, [failed.get(clip.id) for clip in clips])
        return output

    def _write(
        self, path: Path, clips: list[Clip], rate: int, keep: bool, classes: int, progress: Progress | None
    ) -> dict[str, Exception]:
        """Write an archive, and say why which clips are not in it."""
        failed: dict[str, Exception] = {}

        def encode(clip: Clip) -> bytes | AudioError | MissingExtraError:
            try:
                if keep and clip_info(clip).format.startswith("MP3"):
                    recording = recording_of(clip)
                    return recording.content if isinstance(recording, EncodedAudio) else recording.read_bytes()
                return encode_mp3(read_clip(clip, rate), rate)
            except (AudioError, MissingExtraError) as error:
                return error

        with writing(path) as archive:
            # Encoded in parallel, written in order, and never more than a few clips in memory.
            for begin in range(0, len(clips), _ENCODED_AT_ONCE):
                block = clips[begin : begin + _ENCODED_AT_ONCE]
                for clip, content in zip(block, in_parallel(encode, block, None), strict=True):
                    if isinstance(content, bytes):
                        archive.add(f"{clip.id}.mp3", content, clip.labels, classes)
                    else:
                        failed[clip.id] = content
                if progress is not None:
                    progress(begin + len(block), len(clips))
        if len(failed) == len(clips):
            path.unlink()
        return failed

    def validate(self, source: Path, *, progress: Progress | None = None) -> Validation:
        """See `PublishedDataset.validate`; every recording is decoded to its end."""
        if self.preparation(source) or _archives(source):
            return check_recordings(self.read(source), (), progress)
        return super().validate(source, progress=progress)

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """See `PublishedDataset.write_tiny`: six segments in each of the three lists."""
        labels = known_labels("audioset")
        for place, split in enumerate(SPLITS):
            lines = ["# Segments csv made up by audiotag", "# num_ytids=6, num_segs=6", "# " + ", ".join(_HEADER)]
            for number in range(6):
                video = f"tiny{place}{number:02d}-_aB"
                classes = (number % 3, 3) if number % 2 else (number % 3,)
                mids = ",".join(labels.mids[index] for index in classes)
                lines.append(f'{video}, {30 * number}.000, {30 * number + 10}.000, "{mids}"')
                write_tiny_sound(folder / "audio" / split / f"Y{video}.flac", classes, seed)
            write_lines(folder / f"{split}_segments.csv", lines)
        return folder


def read_segments(path: Path) -> Iterator[Segment]:
    """The lines of a segment list.

    Raises:
        ManifestError: It cannot be read, or a line is not ``YTID, start_seconds, end_seconds, "mids"``.
    """
    split = path.name.removesuffix("_segments.csv")
    for line, cells in read_rows(path):
        if cells[0].startswith("#"):
            continue
        place = f"{path}, line {line}"
        if len(cells) != len(_HEADER):
            raise ManifestError(
                f"{len(cells)} cells", where=place, fix=f'Each line is: {", ".join(_HEADER[:3])}, "mid,mid"'
            )
        yield Segment(
            video=cells[0],
            start=read_number(cells[1], "start_seconds", place),
            stop=read_number(cells[2], "end_seconds", place),
            labels=tuple(mid.strip() for mid in cells[3].split(",") if mid.strip()),
            where=f"{path.name}, line {line}",
            split=split if split in SPLITS else "",
        )


def _is_segment_list(path: Path) -> bool:
    """Whether the comments at the top name the four columns."""
    for line in beginning(path).splitlines()[:10]:
        if not line.startswith("#"):
            return False
        if [cell.strip() for cell in line.removeprefix("#").split(",")] == _HEADER:
            return True
    return False


def _archives(source: Path) -> dict[str, Path]:
    """Split → archive, of those in the folder."""
    return {split: path for split in SPLITS if (path := source / f"{split}_segments_mp3.hdf").is_file()}


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)
