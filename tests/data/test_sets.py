"""What is particular to one data set: its layout, labels and splits."""

import shutil

import pytest

from audiotag.data.reading import read_clips
from audiotag.data.sets.segments import Segment, file_stems
from audiotag.data.sniffing import load_dataset, sniff_format
from audiotag.data.sound_events import SoundEvent
from audiotag.errors import ManifestError
from audiotag.labels import known_labels


@pytest.fixture
def tiny_set(tmp_path):
    """Write the tiny version of a data set: ``tiny_set("fsd50k")``."""

    def write(name):
        return load_dataset(name).write_tiny(tmp_path / name)

    return write


class TestAudioSet:
    def test_one_list_is_read_by_itself(self, tiny_set):
        source = tiny_set("audioset")
        clips = read_clips(source / "eval_segments.csv", root=source / "audio")
        assert sniff_format(source / "eval_segments.csv") == "audioset"
        assert {dict(clip.extra)["split"] for clip in clips} == {"eval"}
        assert clips.labels == known_labels("audioset")
        assert clips[1].labels == (1, 3) and clips[1].id == "tiny201-_aB"

    def test_segments_without_a_recording_are_counted(self, tiny_set):
        source = tiny_set("audioset")
        for path in sorted((source / "audio" / "unbalanced_train").iterdir())[:4]:
            path.unlink()
        clips = read_clips(source)
        assert (len(clips), clips.absent) == (14, {"unbalanced_train": 4})
        assert read_clips(source, split="eval").absent == {}
        assert read_clips(source, split="eval,unbalanced_train").absent == {"unbalanced_train": 4}
        shutil.rmtree(source / "audio")
        with pytest.raises(ManifestError, match="none of the 18 segments has a recording"):
            read_clips(source)

    def test_the_names_that_fetchers_give(self):
        stems = list(file_stems(Segment("-abc_DEF012", 30.0, 40.0, (), "")))
        for name in (
            "-abc_DEF012",
            "Y-abc_DEF012",
            "-abc_DEF012_30",
            "-abc_DEF012_30_40",
            "-abc_DEF012_30000_40000",
            "-abc_DEF012_30000",
            "Y-abc_DEF012_30.000_40.000",
            "-abc_DEF012_000030",
        ):
            assert name in stems

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("x, 0.0, 10.0", "line 4: 3 cells"),
            ("x, soon, 10.0, /m/09x0r", "line 4: start_seconds is 'soon'"),
        ],
    )
    def test_wrong_lines(self, tiny_set, line, message):
        source = tiny_set("audioset")
        path = source / "eval_segments.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:3], line, *lines[3:]]))
        with pytest.raises(ManifestError, match=message):
            read_clips(source)

    def test_an_unknown_class(self, tiny_set):
        source = tiny_set("audioset")
        path = source / "eval_segments.csv"
        path.write_text(path.read_text().replace("/m/09x0r", "/m/none"))
        with pytest.raises(ManifestError, match=r"tiny200-_aB.*eval_segments\.csv, line 4.*/m/none"):
            read_clips(source)


class TestFsd50k:
    def test_labels_are_taken_by_mid(self, tiny_set):
        clips = read_clips(tiny_set("fsd50k"))
        assert clips.labels == known_labels("fsd50k")
        assert clips[0].id == "1000" and clips[0].labels == (0, 4)
        assert clips[0].path.parts[-2:] == ("FSD50K.dev_audio", "1000.wav")

    def test_one_list_is_read_by_itself(self, tiny_set):
        source = tiny_set("fsd50k")
        assert len(read_clips(source / "FSD50K.ground_truth" / "eval.csv")) == 4
        assert len(read_clips(source / "FSD50K.ground_truth" / "dev.csv", split="val")) == 4

    def test_an_unknown_split(self, tiny_set):
        source = tiny_set("fsd50k")
        path = source / "FSD50K.ground_truth" / "dev.csv"
        path.write_text(path.read_text().replace(",val", ",validation"))
        with pytest.raises(ManifestError, match="line 10: the split is 'validation'"):
            read_clips(source)

    def test_prepared_lists_are_plain_manifests(self, tiny_set, tmp_path):
        output = load_dataset("fsd50k").prepare(tiny_set("fsd50k"), tmp_path / "out")
        clips = read_clips(output / "train.json", labels=output / "class_labels_indices.csv")
        assert sniff_format(output / "train.json") == "json"
        assert (len(clips), clips[0].labels) == (8, (0, 4))


class TestEsc:
    def test_esc10_is_a_part_of_esc50(self, tiny_set):
        source = tiny_set("esc50")
        whole, part = read_clips(source), read_clips(source, format="esc10")
        assert whole.labels.names == ("dog", "rooster", "cow", "rain")
        assert part.labels.names == ("dog", "rooster", "rain")
        assert {clip.path for clip in part} < {clip.path for clip in whole}

    def test_a_list_of_esc10_alone_needs_no_mark(self, assets):
        clips = read_clips(assets / "assets/esc10", format="esc10")
        assert len(clips) == 320 and len(clips.labels) == 10

    def test_other_classes_need_the_mark(self, tiny_set, tmp_path):
        whole = (tiny_set("esc50") / "meta/esc50.csv").read_text()
        path = tmp_path / "unmarked.csv"
        path.write_text(whole.replace(",esc10,", ",part,"))
        with pytest.raises(ManifestError, match="'cow' is not a class of ESC-10"):
            read_clips(path, format="esc10")

    def test_the_real_folder(self, assets):
        folder = assets / "assets/esc10"
        clips = read_clips(folder)
        assert sniff_format(folder) == "esc50"
        assert len(clips) == 320 and clips.folds() == (1, 2, 3, 4)

    def test_two_lists_in_a_folder(self, tiny_set):
        source = tiny_set("esc50")
        shutil.copy(source / "meta" / "esc50.csv", source / "meta" / "mine.csv")
        with pytest.raises(ManifestError, match="holds 2 lists"):
            read_clips(source, format="esc50")


class TestDcase20:
    def test_devices_and_places_are_kept(self, tiny_set):
        clips = read_clips(tiny_set("dcase20"))
        assert dict(clips[0].extra) == {"split": "train", "identifier": "lyon-1000", "source_label": "s4"}
        assert len(clips.labels) == 10 and clips.single_label
        assert clips[0].id == "airport-lyon-1000-0-s4"

    def test_meta_alone(self, tiny_set):
        source = tiny_set("dcase20")
        assert sniff_format(source / "meta.csv") == "dcase20"
        assert len(read_clips(source / "meta.csv", split="test")) == 6


class TestOpenMic:
    def test_what_nobody_was_asked_is_unknown(self, tiny_set):
        clips = read_clips(tiny_set("openmic"))
        known = clips.known()
        assert known is not None and (known.sum(axis=1) == 2).all()
        assert clips[0].labels == (0,) and clips[0].unknown == (2, 3)
        assert not (clips.targets().astype(bool) & ~known).any()

    def test_relevance_decides(self, tiny_set):
        source = tiny_set("openmic")
        path = source / "openmic-2018-aggregated-labels.csv"
        path.write_text(path.read_text().replace("000000_0,banjo,0.08", "000000_0,banjo,0.5"))
        assert read_clips(source)[0].labels == (0, 1)

    def test_the_mask_survives_another_class_list(self, tiny_set):
        clips = read_clips(tiny_set("openmic"), labels=["cello", "accordion", "flute"], unknown_labels="skip")
        assert clips[0].labels == (1,) and clips[0].unknown == (0,)

    def test_a_clip_in_no_partition(self, tiny_set):
        source = tiny_set("openmic")
        path = source / "partitions" / "split01_train.csv"
        path.write_text("\n".join(path.read_text().splitlines()[1:]))
        with pytest.raises(ManifestError, match="1 clips are in no partition, 000000_0"):
            read_clips(source)


class TestVggSound:
    def test_one_class_a_segment(self, tiny_set):
        source = tiny_set("vggsound")
        clips = read_clips(source)
        assert clips.single_label and clips.labels.names == ("dog barking", "playing flute", "waterfall burbling")
        assert clips[3].id == "tiny0003-_a_000030"
        assert len(read_clips(source / "vggsound.csv", split="test")) == 6

    def test_a_video_gives_the_pictures(self, tiny_set):
        source = tiny_set("vggsound")
        sound = source / "audio" / "tiny0000-_a_000000.wav"
        (source / "video").mkdir()
        (source / "video" / "tiny0000-_a_000000.mp4").touch()
        only = source / "video" / "tiny0001-_a_10.mp4"
        (source / "audio" / "tiny0001-_a_000010.wav").rename(only)
        clips = read_clips(source)
        assert (clips[0].path, clips[0].video_path) == (sound, source / "video" / "tiny0000-_a_000000.mp4")
        assert (clips[1].path, clips[1].video_path) == (only, only)

    def test_classes_of_absent_segments_stay(self, tiny_set):
        source = tiny_set("vggsound")
        for path in (source / "audio").glob("tiny*"):
            if int(path.name[4:8]) % 3 == 2:
                path.unlink()
        clips = read_clips(source)
        assert (len(clips), clips.absent, len(clips.labels)) == (10, {"train": 3, "test": 2}, 3)


class TestAudioSetStrong:
    def test_clips_are_called_after_segments_and_have_their_events(self, tiny_set):
        source = tiny_set("audioset_strong")
        assert sniff_format(source) == sniff_format(source / "audioset_eval_strong.tsv") == "audioset_strong"
        clips = {clip.id: clip for clip in read_clips(source)}
        assert clips["tiny001-_aB_30000"].events == (SoundEvent(0, 0.4, 3), SoundEvent(0, 0.5, 1))
        assert {dict(clip.extra)["split"] for clip in clips.values()} == {"train", "eval"}
        assert read_clips(source).labels == known_labels("audioset_strong")

    def test_classes_that_nobody_trains_on_are_left_out_and_counted(self, tiny_set):
        source = tiny_set("audioset_strong")
        table = source / "audioset_eval_strong.tsv"
        first, header = table.read_text(), "segment_id\tstart_time_seconds\tend_time_seconds\tlabel"
        extra = "tiny100-_aB_0\t0\t0.2\t/m/028v0c\ntiny100-_aB_0\t0.3\t0.4\t/m/028v0c\ngone_7000\t1\t2\t/m/07jdr\n"
        table.write_text(first + extra)
        clips = read_clips(table)
        assert (len(clips), clips.skipped, clips.absent) == (4, {"/m/028v0c": 1}, {"eval": 1})
        table.write_text(first + "tiny100-_aB_0\t0.3\t0.2\t/m/07jdr\n")
        with pytest.raises(ManifestError, match=r"tiny100-_aB_0.*begins at 0.3 s and ends at 0.2 s"):
            read_clips(table)
        table.write_text(f"{header}\nnobegin\t0\t1\t/m/07jdr\n")
        with pytest.raises(ManifestError, match="line 2: the beginning in segment_id is 'nobegin'"):
            read_clips(table)

    def test_names_of_recordings(self, tiny_set):
        source = tiny_set("audioset_strong")
        for path in (source / "audio" / "eval").iterdir():
            path.rename(path.with_name(f"Y{path.name}"))
        assert len(read_clips(source)) == 8


class TestDesed:
    def test_clips_have_the_classes_of_their_events(self, tiny_set):
        clips = {clip.id: clip for clip in read_clips(tiny_set("desed"))}
        strong = clips["validation/validation/validation_1.wav"]
        assert strong.labels == (1, 4)
        assert strong.events == (SoundEvent(0, 0.5, 1), SoundEvent(0, 0.5, 4))
        assert clips["validation/validation/validation_3.wav"].labels == ()
        assert clips["train/weak/weak_1.wav"].labels == (1, 4)

    def test_a_table_alone(self, tiny_set):
        source = tiny_set("desed")
        table = source / "metadata" / "validation" / "validation.tsv"
        assert sniff_format(table) == "events"
        assert len(read_clips(table)) == 4


class TestEvents:
    TABLE = "filename\tonset\toffset\tevent_label\na.wav\t0.5\t2\tDog\na.wav\t1.5\t3\tSpeech\nb.wav\t\t\t\n"

    def write(self, folder, text=TABLE):
        path = folder / "events.tsv"
        path.write_text(text, encoding="utf-8")
        return path

    def test_clip_labels(self, tmp_path):
        clips = read_clips(self.write(tmp_path), check_files=False)
        assert clips.labels.names == ("Dog", "Speech")
        assert [(clip.id, clip.labels, clip.start, clip.stop) for clip in clips] == [
            ("a.wav", (0, 1), 0.0, None),
            ("b.wav", (), 0.0, None),
        ]
        assert [clip.events for clip in clips] == [(SoundEvent(0.5, 2, 0), SoundEvent(1.5, 3, 1)), ()]

    def test_events_as_clips(self, tmp_path):
        clips = read_clips(self.write(tmp_path), check_files=False, events=True)
        assert [(clip.start, clip.stop, clip.labels) for clip in clips] == [(0.5, 2.0, (0, 1)), (1.5, 3.0, (0, 1))]

    def test_weak_labels(self, tmp_path):
        path = self.write(tmp_path, "filename\tevent_labels\na.wav\tDog,Speech\nb.wav\tDog\n")
        assert [clip.labels for clip in read_clips(path, check_files=False)] == [(0, 1), (0,)]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("a.wav\t2\t1\tDog", "line 2: the event begins at 2 s and ends at 1 s"),
            ("a.wav\tx\t1\tDog", "line 2: onset is 'x'"),
            ("a.wav\t0\t1\t", "line 2: the event has no label"),
        ],
    )
    def test_wrong_rows(self, tmp_path, line, message):
        path = self.write(tmp_path, f"filename\tonset\toffset\tevent_label\n{line}\n")
        with pytest.raises(ManifestError, match=message):
            read_clips(path, check_files=False)
