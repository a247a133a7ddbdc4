"""Tables of events as people and programs write them, and what ``audiotag infer`` writes read again."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.audio.encoding import write_sound
from audiotag.data.clips import Clip
from audiotag.data.listed import can_stream
from audiotag.data.reading import read_clips
from audiotag.data.rows import Row, clips_from_rows
from audiotag.data.sets.tiny import tiny_sound, write_lines
from audiotag.data.sniffing import sniff_format
from audiotag.errors import ManifestError, OptionError
from audiotag.inference.events import Event
from audiotag.inference.inputs import find_clips
from audiotag.inference.writers import Result, open_output
from audiotag.labels import LabelSet, composed


def said(clips):
    """Id → its events with the names of classes; None where nobody has said when."""
    return {
        clip.id: clip.events and [(event.onset, event.offset, clips.labels[event.index].name) for event in clip.events]
        for clip in clips
    }


def recordings(folder, *names):
    for name in names:
        write_sound(folder / name, tiny_sound((0,), 0), 16_000, "PCM_16")


DOG_AND_SPEECH = {"a.wav": [(0.5, 2.0, "Dog"), (1.5, 3.0, "Speech")]}


class TestTables:
    @pytest.mark.parametrize(
        ("name", "lines"),
        [
            ("dcase.tsv", ["filename\tonset\toffset\tevent_label", "a.wav\t0.5\t2\tDog", "a.wav\t1.5\t3\tSpeech"]),
            ("sed.csv", ["event_label,offset,onset,filename", "Dog,2,0.5,a.wav", "Speech,3,1.5,a.wav"]),
            (
                "named.txt",
                [
                    "file\tscene_label\tevent_onset\tevent_offset\tevent_label",
                    "a.wav\thome\t0.5\t2\tDog",
                    "a.wav\thome\t1.5\t3\tSpeech",
                ],
            ),
            ("bare.txt", ["a.wav\t0.5\t2\tDog", "a.wav\t1.5\t3\tSpeech"]),
            ("scene.txt", ["a.wav\thome\t0.5\t2\tDog", "a.wav\thome\t1.5\t3\tSpeech"]),
            ("identified.txt", ["a.wav\thome\t0.5\t2\tDog\tm\tid1", "a.wav\thome\t1.5\t3\tSpeech\tm\tid2"]),
            ("semicolon.csv", ["a.wav;0.5;2;Dog", "a.wav;1.5;3;Speech"]),
        ],
    )
    def test_every_layout_says_the_same(self, tmp_path, name, lines):
        path = write_lines(tmp_path / name, lines)
        assert sniff_format(path) == "events"
        assert said(read_clips(path, check_files=False)) == DOG_AND_SPEECH

    def test_a_list_of_scenes_has_weak_labels(self, tmp_path):
        path = write_lines(tmp_path / "meta.txt", ["audio/a.wav\tbus", "audio/b.wav\tpark"])
        clips = read_clips(path, check_files=False)
        assert [(clip.id, clip.labels, clip.events) for clip in clips] == [
            ("audio/a.wav", (0,), None),
            ("audio/b.wav", (1,), None),
        ]

    @pytest.mark.parametrize("beside", ["events_durations.tsv", "durations.tsv", None])
    def test_durations_list_the_silent_and_cut_events(self, tmp_path, beside):
        table = write_lines(tmp_path / "events.tsv", ["filename\tonset\toffset\tevent_label", "a.wav\t1\t10.02\tDog"])
        lengths = write_lines(tmp_path / (beside or "x.tsv"), ["filename\tduration", "a.wav\t10.0", "b.wav\t7.5"])
        options = {} if beside else {"format_options": {"durations": str(lengths)}}
        clips = read_clips(table, check_files=False, **options)
        assert said(clips) == {"a.wav": [(1, 10, "Dog")], "b.wav": ()}
        lengths.write_text("filename\tduration\na.wav\t0.5\n")
        with pytest.raises(ManifestError, match=r"line 2 \(a.wav\): the event 'Dog' begins at 1 s.*to 0.5 s"):
            read_clips(table, check_files=False, **options)
        lengths.write_text("filename\tduration\na.wav\t0\n")
        with pytest.raises(ManifestError, match="line 2: the recording lasts 0 s"):
            read_clips(table, check_files=False, **options)

    def test_durations_of_several_tables_are_nobodys(self, tmp_path):
        for part in ("train", "test"):
            write_lines(tmp_path / f"{part}.tsv", ["filename\tonset\toffset\tevent_label", f"{part}.wav\t0\t1\tDog"])
        write_lines(tmp_path / "durations.tsv", ["filename\tduration", "train.wav\t10", "test.wav\t10"])
        assert set(said(read_clips(tmp_path / "train.tsv", check_files=False))) == {"train.wav"}

    def test_a_line_without_times_says_that_nothing_is_heard(self, tmp_path):
        table = write_lines(
            tmp_path / "e.tsv", ["filename\tonset\toffset\tevent_label", "a.wav\t\t\t", "b.wav\t0\t1\tDog"]
        )
        assert said(read_clips(table, check_files=False)) == {"a.wav": (), "b.wav": [(0, 1, "Dog")]}

    def test_an_event_as_a_clip_has_what_is_heard_in_it(self, tmp_path):
        table = write_lines(tmp_path / "e.txt", ["a.wav\t0.5\t2\tDog", "a.wav\t1.5\t3\tSpeech", "a.wav\t8\t9\tDog"])
        clips = read_clips(table, check_files=False, format_options={"events": True})
        assert [(clip.start, clip.stop) for clip in clips] == [(0.5, 2), (1.5, 3), (8, 9)]
        assert list(said(clips).values()) == [
            [(0, 1.5, "Dog"), (1, 1.5, "Speech")],
            [(0, 0.5, "Dog"), (0, 1.5, "Speech")],
            [(0, 1, "Dog")],
        ]


class TestCsv:
    def write(self, folder, *lines, columns="path,labels,onset,offset"):
        return write_lines(folder / "clips.csv", [columns, *lines])

    def test_lines_of_a_clip_are_its_events(self, tmp_path):
        path = self.write(
            tmp_path,
            "a.wav,Dog,0.5,2,train",
            'a.wav,"Chink, clink",1,3,train',
            "b.wav,none,,,test",
            "a.wav,Dog;Cat,5,6,train",
            "c.wav,Cat;Dog,,,test",
            "d.wav,Cat,,,test",
            "d.wav,Dog,1,2,test",
            columns="path,labels,onset,offset,split",
        )
        clips = read_clips(path, check_files=False)
        assert said(clips) == {
            "a.wav": [(0.5, 2, "Dog"), (1, 3, "Chink, clink"), (5, 6, "Cat"), (5, 6, "Dog")],
            "b.wav": (),
            "c.wav": None,
            "d.wav": [(1, 2, "Dog")],
        }
        assert [[clips.labels.names[label] for label in clip.labels] for clip in clips][2:] == [["Cat", "Dog"]] * 2
        assert [dict(clip.extra)["split"] for clip in clips] == ["train", "test", "test", "test"]

    def test_parts_of_a_recording_are_clips_of_their_own(self, tmp_path):
        path = self.write(
            tmp_path, "a.wav,Dog,1,2,0,5", "a.wav,Dog,4,9,5,10", columns="path,labels,onset,offset,start,stop"
        )
        assert said(read_clips(path, check_files=False)) == {
            "a.wav@0-5": [(1, 2, "Dog")],
            "a.wav@5-10": [(0, 4, "Dog")],
        }

    def test_tagging_takes_each_recording_once(self, tmp_path):
        path = self.write(tmp_path, "a.wav,Dog,1,2", "a.wav,Dog,3,4", "b.wav,none,,")
        assert not can_stream(path)
        assert [clip.id for clip in find_clips([path])] == ["a.wav", "b.wav"]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("a.wav,Dog,1,", "line 2: the event has no offset"),
            ("a.wav,Dog,,2", "line 2: the event has no onset"),
            ("a.wav,,1,2", "line 2: the event has no label"),
            ("a.wav,Dog,x,2", "line 2: onset is 'x'"),
            ("a.wav,Dog,3,2", r"line 2 \(a.wav\): the event 'Dog' begins at 3 s"),
        ],
    )
    def test_wrong_lines(self, tmp_path, line, message):
        with pytest.raises(ManifestError, match=message):
            read_clips(self.write(tmp_path, line), check_files=False)

    def test_one_of_the_two_columns_alone(self, tmp_path):
        with pytest.raises(ManifestError, match="the column 'offset' is missing"):
            read_clips(self.write(tmp_path, "a.wav,Dog,1", columns="path,labels,onset"), check_files=False)


class TestLabelTracks:
    def test_a_track_beside_each_recording(self, tmp_path):
        recordings(tmp_path, "a.wav", "b.wav", "deep/c.flac")
        write_lines(tmp_path / "a.txt", ["0.500000\t2.000000\tDog", "\\\t100.0\t4000.0", "1.5\t3\tGlass, chink; clink"])
        write_lines(tmp_path / "b.txt", [])
        write_lines(tmp_path / "deep" / "c.ann", ["0.25 1.5 car passing by"])
        assert sniff_format(tmp_path) == "audacity"
        assert said(read_clips(tmp_path)) == {
            "a.wav": [(0.5, 2, "Dog"), (1.5, 3, "Glass, chink; clink")],
            "b.wav": (),
            "deep/c.flac": [(0.25, 1.5, "car passing by")],
        }
        assert said(read_clips(tmp_path / "a.txt"))["a.wav"][0] == (0.5, 2, "Dog")

    def test_recordings_without_a_track(self, tmp_path):
        recordings(tmp_path, "a.wav", "b.wav")
        write_lines(tmp_path / "a.txt", ["0\t0.3\tDog"])
        with pytest.raises(
            ManifestError, match=r"1 of 2 recordings have no file of labels beside them: b\.wav.*silent"
        ):
            read_clips(tmp_path)
        silent = read_clips(tmp_path, format_options={"without_labels": "silent"})
        assert said(silent) == {"a.wav": [(0, 0.3, "Dog")], "b.wav": ()}
        assert len(read_clips(tmp_path, format_options={"without_labels": "skip"})) == 1
        with pytest.raises(OptionError, match="without_labels is 'x'"):
            read_clips(tmp_path, format_options={"without_labels": "x"})

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("1\t1\tpoint", "line 2: the event begins at 1 s and ends at 1 s"),
            ("1\t2\t", "line 2: the event has no label"),
            ("one\t2\tDog", "line 2: onset is 'one'"),
            ("1,5\t2,5\tDog", "line 2: onset is '1,5'"),
        ],
    )
    def test_wrong_lines(self, tmp_path, line, message):
        recordings(tmp_path, "a.wav")
        with pytest.raises(ManifestError, match=message):
            read_clips(write_lines(tmp_path / "a.txt", ["0\t1\tCat", line]), format="audacity")

    def test_a_track_needs_its_recording(self, tmp_path):
        track = write_lines(tmp_path / "a.txt", ["0\t1\tCat"])
        with pytest.raises(ManifestError, match="no recording called 'a' lies beside it"):
            read_clips(track)
        recordings(tmp_path, "a.wav", "a.flac")
        with pytest.raises(ManifestError, match="2 recordings are called 'a'"):
            read_clips(track)

    def test_other_texts_beside_recordings_are_no_tracks(self, tmp_path):
        recordings(tmp_path / "Dog", "a.wav")
        write_lines(tmp_path / "Dog" / "a.txt", ["He said 2 things"])
        write_lines(tmp_path / "notes.txt", ["1\t2\tthree"])
        assert sniff_format(tmp_path) == "folder"


class TestRaven:
    HEAD = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"

    def test_tables_beside_recordings(self, tmp_path):
        recordings(tmp_path, "a.wav", "b.b.wav", "c.wav")
        rows = ["1\tWaveform 1\t1\t0.5\t2\t0\t8000\tDog", "1\tSpectrogram 1\t1\t0.5\t2\t100\t900\tDog"]
        write_lines(tmp_path / "a.Table.1.selections.txt", [f"{self.HEAD}\tAnnotation", *rows])
        write_lines(tmp_path / "a.Table.2.selections.txt", [f"{self.HEAD}\tAnnotation", rows[0].replace("Dog", "Cat")])
        write_lines(tmp_path / "b.b.txt", [f"{self.HEAD}\tmine", "1\tSpectrogram 1\t1\t0\t1\t0\t9\tOwl"])
        write_lines(tmp_path / "c.selections.txt", [f"{self.HEAD}\tSpecies"])
        assert sniff_format(tmp_path) == "raven"
        assert said(read_clips(tmp_path)) == {
            "a.wav": [(0.5, 2, "Cat"), (0.5, 2, "Dog")],
            "b.b.wav": [(0, 1, "Owl")],
            "c.wav": (),
        }
        assert said(read_clips(tmp_path / "b.b.txt")) == {"b.b.wav": [(0, 1, "Owl")]}

    def test_a_table_of_a_sequence(self, tmp_path):
        recordings(tmp_path, "a.wav", "b.wav")
        head = f"{self.HEAD}\tBegin File\tFile Offset (s)\tCommon Name\tSpecies Code"
        rows = ["1\tS\t1\t0.5\t2\t0\t9\ta.wav\t0.5\tOwl\towl1", "2\tS\t1\t11\t12.5\t0\t9\tb.wav\t1\tOwl\towl1"]
        table = write_lines(tmp_path / "all.txt", [head, *rows])
        assert said(read_clips(table)) == {"a.wav": [(0.5, 2, "Owl")], "b.wav": [(1, 2.5, "Owl")]}
        code = read_clips(table, format_options={"column": "Species Code"})
        assert code.labels.names == ("owl1",)
        write_lines(
            table, [line.replace("\tFile Offset (s)", "\tX").replace("\t0.5\tOwl", "\t\tOwl") for line in (head, *rows)]
        )
        with pytest.raises(ManifestError, match=r"line 3: its times run on over several recordings"):
            read_clips(table)

    def test_the_column_of_labels_must_be_told(self, tmp_path):
        table = write_lines(tmp_path / "a.txt", [f"{self.HEAD}\tone\ttwo", "1\tS\t1\t0\t1\t0\t9\tx\ty"])
        recordings(tmp_path, "a.wav")
        with pytest.raises(ManifestError, match=r"no column of labels is known.*column='…'"):
            read_clips(table)
        assert read_clips(table, format_options={"column": "two"}).labels.names == ("y",)


names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8).filter(
    lambda text: (
        text.strip() == text and composed(text) == text and "\xad" not in text and " ".join(text.split()) == text
    )
)
labels = names | st.sampled_from(["=SUM(1)", "'=x", "-1", "@a", 'Glass, "chink"', "a;b|c", "none", "Dog"])
times = st.tuples(st.integers(0, 9_000), st.integers(1, 3_000)).map(lambda one: (one[0] / 1000, sum(one) / 1000))
events = st.lists(st.tuples(times, labels), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    recordings(folder, "=a.wav", "b, b.wav")
    return folder


@pytest.mark.parametrize(
    ("format", "ending", "reader"),
    [("csv", "csv", "events"), ("tsv", "tsv", "events"), ("raven", "txt", "raven"), ("audacity", "txt", "audacity")],
)
@settings(deadline=None, max_examples=60)
@given(lists=st.lists(events, min_size=1, max_size=2))
def test_what_infer_writes_is_read_again(sounds, format, ending, reader, lists):
    if format == "audacity":  # its labels do not say of which recording they are
        lists = lists[:1]
    every = sorted({label for own in lists for _, label in own})
    mids = {label: f"/m/{number}" for number, label in enumerate(every)}
    paths = [sounds / "=a.wav", sounds / "b, b.wav"][: len(lists)]
    file = paths[0].with_suffix(".txt") if format == "audacity" else sounds / f"out.{ending}"
    with open_output(format, file, high_frequency=8000.0, overwrite=True) as output:
        for path, own in zip(paths, lists, strict=False):
            rows = tuple(Event(onset, offset, label, mids[label], 0.5) for (onset, offset), label in sorted(own))
            output.write(Result(Clip(path.stem, path), 20.0, rows))
    try:
        assert sniff_format(file) == reader
        found = read_clips(file, format=reader)
    finally:
        file.unlink()
    rows = [
        Row(str(path), str(path), None, events=[(*time, label) for time, label in own])
        for path, own in zip(paths, lists, strict=False)
    ]
    expected = clips_from_rows(rows, source=Path("x"), labels=LabelSet.from_names(every))
    for clip, wanted in zip(found, expected, strict=True):
        assert clip.path.resolve() == wanted.path.resolve()
        by_name = sorted((on, off, found.labels[index].name) for on, off, index in clip.events)
        assert by_name == sorted((on, off, every[index]) for on, off, index in wanted.events)
