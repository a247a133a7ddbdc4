"""A toy format and a toy published set, sound and broken in one way each."""

import pytest

from audiotag.testing import run_checks

FORMAT = """
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from audiotag.data.rows import Row, clips_from_rows
from audiotag.errors import ManifestError
from audiotag.plugin import Dataset, PublishedDataset, SoundEvent
from audiotag.data.published import Validation

CLIPS = [(f"{number}.wav", ("low", "high")[number % 2], ("train", "test")[number // 4]) for number in range(8)]

class Table(Dataset):
    list_name = "clips.odd"

    def table(self, source):
        return source

    def read(self, source, *, labels=None, root=None, unknown_labels="error", **options):
        table = self.table(source)
        try:
            text = table.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"it cannot be read: {error}", where=source) from error
        rows = []
        for number, line in enumerate(text.splitlines(), start=1):
            path, label, split = line.split(" ")
            extra = (("split", split),)
            rows.append(Row(where=f"line {number}", path=path, labels=[label], extra=extra))
        return clips_from_rows(rows, source=table, root=root, labels=labels, unknown_labels=unknown_labels)

    def recognises(self, source):
        return self.table(source).name == self.list_name and self.table(source).is_file()

    def write_tiny(self, folder, *, seed=0):
        folder.mkdir(parents=True)
        generator = np.random.default_rng(seed)
        for path, _, _ in CLIPS:
            soundfile.write(folder / path, 0.1 * generator.standard_normal(800), 16_000)
        (folder / self.list_name).write_text("".join(f"{' '.join(clip)}\\n" for clip in CLIPS))
        return folder / self.list_name
"""

SOUND = FORMAT + "\nclass Odd(Table):\n"

BROKEN = {
    "its_clips_are_sound": (
        "    def read(self, source, **more):\n"
        "        clips = super().read(source, **more)\n"
        "        return replace(clips, clips=(*clips.clips, clips.clips[0]))",
        "names of clips are empty or occur twice",
    ),
    "its_events_are_sound": (
        "    def read(self, source, **more):\n"
        "        clips = super().read(source, **more)\n"
        "        events = tuple(SoundEvent(0.0, 1.0, clips[0].labels[0]) for _ in range(2))\n"
        "        return replace(clips, clips=(replace(clips.clips[0], events=events), *clips.clips[1:]))",
        "two events of a class overlap or touch",
    ),
    "its_recordings_can_be_decoded": (
        "    def read(self, source, **more):\n"
        "        return super().read(source, root=source.parent / 'elsewhere', **more)",
        "cannot be read",
    ),
    "reading_twice_gives_the_same": (
        "    def read(self, source, **more):\n"
        "        clips = super().read(source, **more)\n"
        "        return clips.subset(np.random.default_rng().permutation(len(clips)))",
        "two readings differ",
    ),
    "it_keeps_to_the_classes_given": (
        "    def read(self, source, labels=None, **more):\n        return super().read(source, **more)",
        "other classes than those given",
    ),
    "unknown_labels_are_refused_or_counted": (
        "    def read(self, source, unknown_labels='skip', **more):\n"
        "        return super().read(source, unknown_labels='skip', **more)",
        "is dropped silently",
    ),
    "it_recognises_its_own_and_nothing_else": (
        "    def recognises(self, source):\n        return bool(source.read_text())",
        "recognises raises FileNotFoundError for 'missing'",
    ),
    "wrong_sources_are_refused": (
        "    def read(self, source, **more):\n"
        "        if not source.is_file(): raise OSError('no such file')\n"
        "        return super().read(source, **more)",
        "OSError: no such file",
    ),
    "reading_leaves_no_trace": (
        "    def read(self, source, **more):\n"
        "        (source.parent / 'cache').write_text('x')\n"
        "        return super().read(source, **more)",
        "changes files of the source",
    ),
    "the_tiny_source_is_tiny_and_repeats": (
        "    def write_tiny(self, folder, *, seed=0):\n"
        "        import time\n"
        "        return super().write_tiny(folder, seed=time.time_ns())",
        "is another one each time",
    ),
}


@pytest.mark.parametrize(
    ("extensions", "check", "message"),
    [
        ("()", "it_says_what_its_sources_are_called", "names no extensions"),
        ('("odd",)', "it_says_what_its_sources_are_called", "with their dot"),
        ('(".other",)', "it_recognises_its_own_and_nothing_else", "none of its extensions"),
    ],
)
def test_a_format_that_nobody_would_ask_fails(install_part, extensions, check, message):
    spec = f'DatasetSpec(name="odd", factory="odd_part:Odd", summary="Odd", extensions={extensions})'
    install_part("dataset", SOUND + "    pass\n", spec)
    (result,) = [result for result in run_checks("odd").results if result.check == check]
    assert result.status == "failed" and message in result.message


@pytest.mark.parametrize("check", BROKEN)
def test_a_format_that_breaks_a_rule_fails_its_check(result_of, check):
    source, message = BROKEN[check]
    result = result_of("dataset", SOUND + source + "\n", check)
    assert result.status == "failed", result
    assert message in result.message


def test_a_format_that_keeps_the_rules_passes(install_part):
    install_part("dataset", SOUND + "    pass\n")
    report = run_checks("odd")
    assert [str(result) for result in report.results if not result.ok] == []


def test_a_format_without_a_tiny_source_is_checked_on_one_that_is_given(install_part, tmp_path):
    install_part("dataset", SOUND + "    pass\n")
    from odd_part import Odd

    source = Odd().write_tiny(tmp_path / "mine")
    install_part("dataset", FORMAT.replace("def write_tiny", "def write_other") + "\nclass Odd(Table):\n    pass\n")
    without, given = run_checks("odd"), run_checks("odd", source=source)
    assert without.ok and given.ok
    assert given.run - without.run == 9


PUBLISHED = (
    FORMAT
    + """
class Set(PublishedDataset, Table):
    def table(self, source):
        return source / self.list_name

    def recognises(self, source):
        return (source / self.list_name).is_file()

    def write_tiny(self, folder, *, seed=0):
        return Table.write_tiny(self, folder, seed=seed).parent

    def prepare(self, source, output, *, sample_rate=None, progress=None):
        output.mkdir(exist_ok=True)
        clips = self.read(source)
        for done, clip in enumerate(clips, start=1):
            target = output / clip.path.name
            if not target.exists():
                target.write_bytes(clip.path.read_bytes())
            if progress is not None:
                progress(done, len(clips))
        (output / self.list_name).write_text(self.table(source).read_text())
        return output

    def validate(self, source, *, progress=None):
        clips = self.read(source)
        missing, corrupt = [], []
        for done, clip in enumerate(clips, start=1):
            if not clip.path.is_file():
                missing.append(clip.path)
            elif clip.path.stat().st_size < 100:
                corrupt.append((clip.path, "short"))
            if progress is not None:
                progress(done, len(clips))
        return Validation(len(clips), tuple(missing), tuple(corrupt))

class Odd(Set):
"""
)

BROKEN_SETS = {
    "every_official_split_is_there": (
        "    def read(self, source, **more):\n"
        "        clips = super().read(source, **more)\n"
        "        return replace(clips, clips=tuple(replace(clip, extra=()) for clip in clips))",
        "have neither a split nor a fold",
    ),
    "a_sound_copy_validates": (
        "    def validate(self, source, *, progress=None):\n        return Validation(0)",
        "validate checks nothing",
    ),
    "damage_is_found": (
        "    def validate(self, source, *, progress=None):\n        return Validation(8)",
        "0.wav is gone|a file is gone, and validate calls the set complete",
    ),
    "its_preparation_can_be_read": (
        "    def prepare(self, source, output, **more):\n"
        "        super().prepare(source, output, **more)\n"
        "        table = output / self.list_name\n"
        "        table.write_text(table.read_text().replace('test', 'train'))\n"
        "        return output",
        "differ after preparation",
    ),
    "an_interrupted_preparation_goes_on": (
        "    def prepare(self, source, output, **more):\n"
        "        for path in output.glob('*.wav'): path.unlink()\n"
        "        return super().prepare(source, output, **more)",
        "rewrites recordings",
    ),
}


@pytest.mark.parametrize("check", BROKEN_SETS)
def test_a_published_set_that_breaks_a_rule_fails_its_check(result_of, check):
    source, message = BROKEN_SETS[check]
    result = result_of("published", PUBLISHED + source + "\n", check)
    assert result.status == "failed", result
    assert any(part in result.message for part in message.split("|")), result.message


def test_a_published_set_that_keeps_the_rules_passes(install_part):
    install_part("published", PUBLISHED + "    pass\n")
    report = run_checks("odd")
    assert [str(result) for result in report.results if not result.ok] == []
    assert "skipped" not in report.counts
