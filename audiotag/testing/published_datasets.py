"""Checks of published data sets, beyond those of every format."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from audiotag.data.clips import Clip, ClipSet, Dataset
from audiotag.data.published import PublishedDataset, Validation
from audiotag.errors import AudiotagError
from audiotag.testing.check import check, require, skip
from audiotag.testing.datasets import changed_at, decoded, read, source_of
from audiotag.testing.subjects import Subject

_OTHER_RATE = 8000


def _published(subject: Subject) -> PublishedDataset:
    dataset = subject.make(interface=Dataset)
    if not isinstance(dataset, PublishedDataset):
        skip("a generic format")
    return dataset


def split_of(clip: Clip) -> str | None:
    """The official split that a clip says it is in."""
    return dict(clip.extra).get("split")


@check("dataset")
def a_published_set_says_what_it_is(subject: Subject) -> None:
    """Licence, citation and homepage stand in the descriptor."""
    _published(subject)
    for name in ("licence", "citation", "homepage"):
        require(bool(getattr(subject.spec, name)), f"the descriptor has no {name}")


@check("dataset")
def every_official_split_is_there(subject: Subject) -> None:
    """Each clip has a split of the descriptor or a fold; the tiny version has two clips in each."""
    _published(subject)
    with source_of(subject) as source:
        clips = read(subject, source)
    splits = Counter(split_of(clip) for clip in clips if split_of(clip) is not None)
    unknown = sorted(str(split) for split in set(splits) - set(subject.spec.splits))
    require(not unknown, f"clips say that they are in {unknown}, which the descriptor does not name")
    lost = [clip.id for clip in clips if split_of(clip) is None and clip.fold is None]
    require(not lost, f"the clips {lost[:3]} have neither a split nor a fold")
    if subject.source is None:
        few = [split for split in subject.spec.splits if splits[split] < 2]
        require(not few, f"the tiny version has fewer than two clips in {few}")


@check("dataset")
def a_sound_copy_validates(subject: Subject) -> None:
    """`validate` finds every file of the tiny version, and tells how far it is."""
    dataset = _published(subject)
    told: list[tuple[int, int]] = []
    with source_of(subject) as source:
        found = dataset.validate(source, progress=lambda done, total: told.append((done, total)))
    require(isinstance(found, Validation), f"validate returns a {type(found).__name__}, not a Validation")
    require(found.checked > 0, "validate checks nothing")
    require(not found.missing, f"it misses {[str(path) for path in found.missing[:3]]}")
    require(not found.corrupt, f"it finds corrupt: {[str(path) for path, _ in found.corrupt[:3]]}")
    if subject.source is None:
        require(not found.extra, f"it finds files that do not belong there: {[str(path) for path in found.extra[:3]]}")
    require(bool(told) and told[-1][0] == told[-1][1], f"the last progress it tells is {told[-1:]}")


@check("dataset")
def damage_is_found(subject: Subject) -> None:
    """`validate` names a recording that is gone, and one that was cut short."""
    dataset = _published(subject)
    if subject.source is not None:
        skip("the source that was given stays as it is")
    damages: dict[str, Callable[[Path], object]] = {
        "gone": lambda path: path.unlink(),
        "cut short": lambda path: path.write_bytes(path.read_bytes()[:30]),
    }
    for what, damage in damages.items():
        with source_of(subject) as source:
            path = read(subject, source)[0].path
            damage(path)
            try:
                found = dataset.validate(source)
            except AudiotagError as error:
                require(path.name in str(error), f"a file is {what}, and the error does not name it: {error}")
                continue
        require(not found.complete, f"a file is {what}, and validate calls the set complete")
        named = found.missing if what == "gone" else tuple(file for file, _ in found.corrupt)
        # Lists may name recordings without their endings and prefixes.
        known = any(file.stem in path.name for file in named)
        require(known, f"{path.name} is {what}, and validate names {[file.name for file in named[:3]]}")


@check("dataset")
def its_preparation_can_be_read(subject: Subject) -> None:
    """`prepare` writes clips with the same labels, splits and folds, which `read` takes and `validate` finds sound."""
    dataset = _published(subject)
    with source_of(subject) as source, tempfile.TemporaryDirectory() as folder:
        before = read(subject, source)
        prepared = dataset.prepare(source, Path(folder) / "prepared", sample_rate=_OTHER_RATE)
        after = read(subject, prepared)
        require(_content(after) == _content(before), "clips, labels, splits or folds differ after preparation")
        for clip in list(after)[:4]:
            decoded(clip, _OTHER_RATE)
        found = dataset.validate(prepared)
        require(found.complete, "what it has prepared does not validate")


def _content(clips: ClipSet) -> Counter[tuple[object, ...]]:
    """The clips by what matters to training, whatever they are called now."""
    return Counter(
        (tuple(clips.labels[label].mid for label in clip.labels), split_of(clip), clip.fold) for clip in clips
    )


@check("dataset")
def an_interrupted_preparation_goes_on(subject: Subject) -> None:
    """`prepare`, stopped on its way, goes on in a second call and gives the whole set; a third does nothing anew."""
    dataset = _published(subject)

    def stop(done: int, total: int) -> None:
        if 0 < done < total:
            raise KeyboardInterrupt

    with source_of(subject) as source, tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "prepared"
        with suppress(KeyboardInterrupt):
            dataset.prepare(source, output, progress=stop)
        whole = dataset.prepare(source, output)
        require(_content(read(subject, whole)) == _content(read(subject, source)), "clips are missing or twice there")
        recordings = {clip.path for clip in read(subject, whole)}
        before = changed_at(recordings)
        dataset.prepare(source, output)
        require(changed_at(recordings) == before, "a second call rewrites recordings")
