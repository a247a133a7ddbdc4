"""ESC-50, ESC-10 and sets laid out like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row, clips_from_rows, read_fold
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

_COLUMNS = ("filename", "fold", "target", "category")


class Esc50(Dataset):
    """A CSV with the columns ``filename,fold,target,category`` and an ``audio`` folder.

    The folder lies beside the CSV or one folder up (the layout of ESC-50); without one the recordings are
    looked for beside the CSV. Each clip has one class. Classes are ordered by ``target``, gaps allowed
    (ESC-10 is a part of ESC-50), and the category serves as mid. Other columns are kept in `Clip.extra`.

    Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015.
    """

    def read(
        self,
        source: Path,
        *,
        labels: LabelSet | None = None,
        root: Path | None = None,
        unknown_labels: str = "error",
        single_label: bool = True,
        **options: Any,
    ) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`."""
        rows = []
        categories: dict[int, str] = {}
        targets: dict[str, int] = {}
        for line, cells in read_table(source, _COLUMNS):
            place = f"{source}, line {line}"
            target, category = cells["target"], cells["category"]
            if not target.isdecimal():
                raise ManifestError(f"target is {target!r}, not a whole number from 0", where=place)
            number = int(target)
            if categories.setdefault(number, category) != category:
                raise ManifestError(
                    f"target {target} is {category!r} here and {categories[number]!r} above",
                    where=place,
                    fix="Each target must stand for one category.",
                )
            if targets.setdefault(category, number) != number:
                raise ManifestError(
                    f"{category!r} has target {target} here and {targets[category]} above",
                    where=place,
                    fix="Each category must have one target.",
                )
            extra = tuple((column, cell) for column, cell in cells.items() if column not in _COLUMNS)
            rows.append(
                Row(
                    where=f"line {line}",
                    path=cells["filename"],
                    labels=(category,) if category else None,
                    fold=read_fold(cells["fold"], place),
                    extra=extra,
                )
            )
        ordered = [categories[target] for target in sorted(categories)]
        return clips_from_rows(
            rows,
            source=source,
            root=_audio_folder(source) if root is None else root,
            labels=labels,
            own_labels=LabelSet.from_names(ordered, str(source)) if all(ordered) and ordered else None,
            unknown_labels=unknown_labels,
            single_label=single_label,
        )

    def recognises(self, source: Path) -> bool:
        """Whether the first line names the four columns."""
        return set(_COLUMNS) <= set(columns_of(source))


def _audio_folder(source: Path) -> Path:
    for folder in (source.parent / "audio", source.parent.parent / "audio"):
        if folder.is_dir():
            return folder
    return source.parent
