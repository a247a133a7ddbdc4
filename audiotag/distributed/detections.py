"""Reading detections, in whatever ``audiotag infer`` has left them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from audiotag.arguments import as_path
from audiotag.data.detection_files import detection_blocks
from audiotag.data.detections import DetectionBlock, DetectionRows, Detections
from audiotag.data.formats.events import audio_folder
from audiotag.distributed.merge import Survey
from audiotag.distributed.results_folder import ResultsFolder
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet, read_labels
from audiotag.places import exists


def read_detections(
    source: str | Path, *, root: str | Path | None = None, labels: str | Path | LabelSet | None = None
) -> Detections:
    """Read what a tagger has found: any format of ``audiotag infer`` that says which class is heard when.

    These are CSV, JSON, JSON lines, TSV (without scores), Parquet, a Raven selection table, and the folder of a run in
    shards, finished or not; also an Audacity label track beside its recording, and a folder with tracks or selection
    tables beside recordings. Tags of whole recordings are detections that last as long as these.

    Args:
        source: The file or folder.
        root: Folder that relative names of recordings count from. None for the current one if the first recording is
            there, and that of *source* (or ``audio`` in it) otherwise.
        labels: The classes, by mid or else by name. None for those that *source* names, sorted by mid.

    Returns:
        The detections. Whether their recordings exist is not looked at.

    Raises:
        ManifestError: A row is wrong, names a class that *labels* lack, or there is none and no *labels*.
        OptionError: A part of a run in shards is damaged.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    source = as_path("source", source)
    if not exists(source):
        raise ManifestError("there is no such file or folder", where=source, fix="Check the path.")
    root = None if root is None else as_path("root", root)
    folder = audio_folder(source)
    rows = DetectionRows(str(source))
    in_shards = source.is_dir() and any(source.glob("run-*.json"))
    for block in _of_shards(source) if in_shards else detection_blocks(source, root or folder):
        rows.add(block)
    return rows.finish(
        root,
        source if source.is_dir() and not in_shards else folder,
        None if labels is None else read_labels(labels),
    )


def _of_shards(source: Path) -> Iterator[DetectionBlock]:
    for columns in Survey(ResultsFolder(source)).rows():
        names = columns["filename"]
        yield DetectionBlock(
            {name: values.tolist() for name, values in columns.items()},
            lambda row, names=names: f"{source}, {names[row]}",  # type: ignore[misc]
        )
