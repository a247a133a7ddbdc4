"""Each format reads what it should and names what is wrong."""

import json
from pathlib import Path

import pytest

from audiotag.audio.decoding import AUDIO_SUFFIXES
from audiotag.data.reading import read_clips
from audiotag.errors import ManifestError, OptionError
from audiotag.inference.inputs import find_clips
from audiotag.labels import Label, LabelSet

CLASSES = LabelSet(
    [
        Label("/m/1", "Speech"),
        Label("/m/2", "Child speech, kid speaking"),
        Label("/m/3", "Dog"),
        Label("/m/4", "Rail; tram"),
    ],
    "classes",
)


def manifest(folder: Path, *entries: object) -> Path:
    path = folder / "clips.json"
    path.write_text(json.dumps({"data": list(entries)}), encoding="utf-8")
    return path


def table(folder: Path, text: str, name: str = "clips.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, **options):
    return read_clips(path, check_files=False, **options)


class TestJsonManifest:
    def test_reads_every_field(self, tmp_path):
        entry = {
            "video_id": "v1",
            "wav": "a/b c.wav",
            "video_path": "frames",
            "labels": "/m/3,/m/1",
            "fold": 2,
            "start": 1.5,
            "stop": 4,
            "split": "test",
        }
        (clip,) = read(manifest(tmp_path, entry), labels=CLASSES)
        assert clip.id == "v1"
        assert clip.path == tmp_path / "a/b c.wav"
        assert clip.video_path == tmp_path / "frames"
        assert clip.labels == (0, 2)
        assert (clip.fold, clip.start, clip.stop) == (2, 1.5, 4.0)
        assert clip.extra == (("split", "test"),)

    def test_names_with_commas_are_found_in_text_and_lists(self, tmp_path):
        path = manifest(
            tmp_path,
            {"wav": "a.wav", "labels": "Dog,Child speech, kid speaking,Speech"},
            {"wav": "b.wav", "labels": ["Child speech, kid speaking", "/m/3"]},
        )
        clips = read(path, labels=CLASSES)
        assert [clip.labels for clip in clips] == [(0, 1, 2), (1, 2)]

    def test_without_a_class_list_the_labels_are_sorted(self, tmp_path):
        path = manifest(tmp_path, {"wav": "a", "labels": "zebra, ant"}, {"wav": "b", "labels": ["moth"]})
        clips = read(path)
        assert clips.labels.mids == ("ant", "moth", "zebra")
        assert [clip.labels for clip in clips] == [(0, 2), (1,)]

    def test_bare_audioset_mids_get_their_names(self, tmp_path):
        clips = read(manifest(tmp_path, {"wav": "a", "labels": "/m/09x0r"}))
        assert clips.labels[0] == Label("/m/09x0r", "Speech")

    def test_windows_paths(self, tmp_path):
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "a.wav").touch()
        clips = read_clips(manifest(tmp_path, {"wav": "sub\\a.wav", "labels": "x"}))
        assert clips[0].path == tmp_path / "sub" / "a.wav"
        assert clips[0].id == "sub/a.wav"

    def test_a_file_really_named_with_a_backslash_is_found(self, tmp_path):
        (tmp_path / "odd\\name.wav").touch()
        clips = read_clips(manifest(tmp_path, {"wav": "odd\\name.wav", "labels": "x"}))
        assert clips[0].path == tmp_path / "odd\\name.wav"

    def test_root_and_absolute_paths(self, tmp_path):
        path = manifest(tmp_path, {"wav": "a.wav", "labels": "x"}, {"wav": "/abs/b.wav", "labels": "x"})
        clips = read(path, root=tmp_path / "elsewhere")
        assert [clip.path for clip in clips] == [tmp_path / "elsewhere/a.wav", Path("/abs/b.wav")]

    def test_byte_order_mark(self, tmp_path):
        path = tmp_path / "clips.json"
        path.write_text('{"data": [{"wav": "ä.wav", "labels": "x"}]}', encoding="utf-8-sig")
        assert read(path)[0].path.name == "ä.wav"

    def test_an_empty_list_says_none_of_the_classes(self, tmp_path):
        path = manifest(tmp_path, {"wav": "a", "labels": []}, {"wav": "b", "labels": "Dog"})
        clips = read(path, labels=CLASSES)
        assert clips[0].labels == ()
        assert clips.targets().tolist() == [[0, 0, 0, 0], [0, 0, 1, 0]]

    def test_unknown_label_names_clip_label_and_close_match(self, tmp_path):
        path = manifest(tmp_path, {"video_id": "v7", "wav": "a", "labels": "Speech,Dgo"})
        with pytest.raises(ManifestError, match=r"'v7'.*'Dgo' is not a class of classes.*'Dog'"):
            read(path, labels=CLASSES)

    def test_unknown_labels_skipped_and_counted(self, tmp_path):
        path = manifest(
            tmp_path,
            {"wav": "a", "labels": "Speech,Cat"},
            {"wav": "b", "labels": "Cat,Bee"},
            {"wav": "c", "labels": "Dog"},
        )
        clips = read(path, labels=CLASSES, unknown_labels="skip")
        assert clips.skipped == {"Bee": 1, "Cat": 2}
        assert [clip.labels for clip in clips] == [(0,), (), (2,)]

    def test_skipping_in_a_single_label_set_leaves_the_clip_out(self, tmp_path):
        path = manifest(tmp_path, {"wav": "a", "labels": "Cat"}, {"wav": "c", "labels": "Dog"})
        clips = read(path, labels=CLASSES, unknown_labels="skip", single_label=True)
        assert [clip.id for clip in clips] == ["c"]
        assert clips.single_label

    def test_a_name_shared_by_classes_is_refused(self, tmp_path):
        twins = LabelSet([Label("/m/1", "Bell"), Label("/m/2", "Bell")])
        path = manifest(tmp_path, {"wav": "a", "labels": "Bell"})
        for mode in ("error", "skip"):
            with pytest.raises(ManifestError, match="several classes"):
                read(path, labels=twins, unknown_labels=mode)

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"video_id": "v9", "wav": "a.wav"}, "'v9'.*no labels"),
            ({"wav": "a.wav", "labels": "  "}, "a.wav.*no labels"),
            ({"wav": "a.wav", "labels": None}, "a.wav.*no labels"),
            ({"wav": "a.wav", "labels": ["x", " "]}, "a.wav.*empty"),
            ({"wav": "a.wav", "labels": 3}, "a.wav.*labels is 3"),
            ({"video_id": "v9", "labels": "x"}, "'v9'.*'wav'"),
            ({"wav": "  ", "labels": "x"}, "entry 1.*'wav'"),
            ({"wav": "a.wav", "labels": "x", "start": -1}, "a.wav.*begins"),
            ({"wav": "a.wav", "labels": "x", "start": 3, "stop": 3}, "a.wav.*begins"),
            ({"wav": "a.wav", "labels": "x", "start": "soon"}, "start is 'soon'"),
            ({"wav": "a.wav", "labels": "x", "stop": float("nan")}, "stop is nan"),
            ({"wav": "a.wav", "labels": "x", "fold": 1.5}, "fold is 1.5"),
            ({"wav": "a.wav", "labels": "x", "video_path": 4}, "video_path is 4"),
            ("a.wav", "entry 1.*not an object"),
        ],
    )
    def test_wrong_entries_are_named(self, tmp_path, entry, message):
        with pytest.raises(ManifestError, match=message):
            read(manifest(tmp_path, entry))

    def test_labels_may_be_missing_when_not_required(self, tmp_path):
        path = manifest(tmp_path, {"wav": "a"}, {"wav": "b", "labels": "Dog"})
        clips = read(path, labels=CLASSES, labels_required=False)
        assert [clip.labels for clip in clips] == [(), (2,)]

    def test_repeated_ids(self, tmp_path):
        path = manifest(
            tmp_path, {"video_id": "v", "wav": "a", "labels": "x"}, {"video_id": "v", "wav": "b", "labels": "x"}
        )
        with pytest.raises(ManifestError, match=r"'v' occurs twice \(entry 1 and entry 2\)"):
            read(path)

    def test_repeated_recordings_without_ids(self, tmp_path):
        path = manifest(tmp_path, {"wav": "a", "labels": "x"}, {"wav": "a", "labels": "y"})
        with pytest.raises(ManifestError, match="occurs twice"):
            read(path)

    def test_parts_of_a_recording_get_ids_of_their_own(self, tmp_path):
        path = manifest(
            tmp_path,
            {"wav": "a", "labels": "x", "stop": 2.5},
            {"wav": "a", "labels": "x", "start": 2.5},
        )
        assert [clip.id for clip in read(path)] == ["a@0-2.5", "a@2.5-end"]

    def test_parts_that_differ_by_little_have_ids_of_their_own(self, tmp_path):
        starts = (10000.12, 10000.14)
        path = manifest(tmp_path, *({"wav": "a", "labels": "x", "start": start} for start in starts))
        assert [clip.id for clip in read(path)] == ["a@10000.12-end", "a@10000.14-end"]

    def test_a_key_that_stands_twice_is_an_error(self, tmp_path):
        path = tmp_path / "clips.json"
        path.write_text('{"data": [{"wav": "a.wav", "labels": "x", "wav": "b.wav"}]}')
        with pytest.raises(ManifestError, match="the key 'wav' occurs twice"):
            read(path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{broken", "not valid JSON"),
            ('{"data": []}', "no clips"),
            ('{"clips": []}', "'data'"),
            ("[1]", "'data'"),
            ("", "is empty"),
        ],
    )
    def test_wrong_files(self, tmp_path, text, message):
        path = tmp_path / "clips.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ManifestError, match=message):
            read_clips(path)


class TestCsvTable:
    def test_reads_every_column(self, tmp_path):
        path = table(
            tmp_path,
            "path,labels,id,fold,start,stop,video_path,split,site\n"
            'x/a.wav,"/m/1,/m/3",c1,2,0.5,1.5,frames,train,kitchen\n\n'
            "b.wav,Dog,,,,,,test,\n",
        )
        first, second = read(path, labels=CLASSES)
        assert (first.id, first.fold, first.start, first.stop) == ("c1", 2, 0.5, 1.5)
        assert first.labels == (0, 2)
        assert first.extra == (("split", "train"), ("site", "kitchen"))
        assert (second.id, second.fold, second.start, second.stop) == ("b.wav", None, 0.0, None)

    def test_separators(self, tmp_path):
        path = table(tmp_path, 'path,labels\na,"x,y"\nb,"x, z;y"\nc,y|x\n')
        clips = read(path)
        assert clips.labels.mids == ("x", "x, z", "y")
        assert [clip.labels for clip in clips] == [(0, 2), (1, 2), (0, 2)]

    def test_known_names_win_over_separators(self, tmp_path):
        path = table(tmp_path, 'path,labels\na,"Child speech, kid speaking,Dog"\nb,Rail; tram;Dog\n')
        assert [clip.labels for clip in read(path, labels=CLASSES)] == [(1, 2), (2, 3)]

    @pytest.mark.parametrize("delimiter", ["\t", ";"])
    def test_other_delimiters(self, tmp_path, delimiter):
        text = "path,labels,fold\na.wav,Dog,1\n".replace(",", delimiter)
        assert read(table(tmp_path, text), labels=CLASSES)[0].labels == (2,)

    def test_none_of_the_classes(self, tmp_path):
        path = table(tmp_path, "path,labels\na,none\nb,Dog\n")
        assert [clip.labels for clip in read(path, labels=CLASSES)] == [(), (2,)]
        assert [clip.labels for clip in read(path, labels=["none", "Dog"])] == [(0,), (1,)]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("path,labels\na.wav,\n", "line 2.*a.wav.*no labels"),
            ("path,labels\na.wav,x\n,y\n", "line 3.*empty"),
            ("path,labels\na.wav,x,y\n", "line 2.*3 cells"),
            ("path,labels\na.wav\n", "line 2.*1 cells.*a cell for each column"),
            ("path,labels\n", "no clips"),
            ("path,labels,labels\na,b,c\n", "'labels' occurs twice"),
            ("path,labels,start\na,b,late\n", "line 2.*start is 'late'"),
            ("path,labels,fold\na,b,first\n", "line 2.*fold is 'first'"),
            ("path,tags\na,b\n", "the column 'labels' is missing; there are: path, tags"),
            ("", "is empty"),
        ],
    )
    def test_wrong_tables(self, tmp_path, text, message):
        with pytest.raises(ManifestError, match=message):
            read(table(tmp_path, text))

    def test_single_label_names_the_clip_with_two(self, tmp_path):
        path = table(tmp_path, "path,labels\na,x\nb,x;y\n")
        assert not read(path).single_label
        with pytest.raises(ManifestError, match=r"line 3 \(b\).*2 labels"):
            read(path, single_label=True)

    def test_split(self, tmp_path):
        path = table(tmp_path, "path,labels,split\na,x,train\nb,y,test\n")
        clips = read(path, split="test")
        assert [clip.id for clip in clips] == ["b"]
        assert clips.labels.mids == ("x", "y")
        with pytest.raises(ManifestError, match=r"'dev'.*test, train"):
            read(path, split="dev")

    def test_binary_file(self, tmp_path):
        path = tmp_path / "clips.csv"
        path.write_bytes(b"path,labels\n\xff\xfe\x00,x\n")
        with pytest.raises(ManifestError, match="cannot be read"):
            read(path)


class TestEsc50:
    TEXT = "filename,fold,target,category,take\nb.ogg,1,10,rain,A\na.ogg,2,0,dog,B\nc.ogg,2,10,rain,A\n"

    def test_classes_are_ordered_by_target_with_gaps(self, tmp_path):
        clips = read(table(tmp_path, self.TEXT))
        assert clips.labels.mids == ("dog", "rain")
        assert clips.single_label
        assert [clip.labels for clip in clips] == [(1,), (0,), (1,)]
        assert clips.folds() == (1, 2)
        assert clips[0].extra == (("take", "A"),)

    @pytest.mark.parametrize("audio", ["audio", "../audio", "."])
    def test_the_audio_folder_is_found(self, tmp_path, audio):
        folder = tmp_path / "meta"
        folder.mkdir()
        (folder / audio).mkdir(exist_ok=True)
        for name in "abc":
            (folder / audio / f"{name}.ogg").touch()
        assert len(read_clips(table(folder, self.TEXT))) == 3

    def test_one_target_for_two_categories(self, tmp_path):
        path = table(tmp_path, "filename,fold,target,category\na,1,0,dog\nb,1,0,cat\n")
        with pytest.raises(ManifestError, match=r"line 3.*target 0 is 'cat' here and 'dog'"):
            read(path)

    def test_one_category_with_two_targets(self, tmp_path):
        path = table(tmp_path, "filename,fold,target,category\na,1,0,dog\nb,1,1,dog\n")
        with pytest.raises(ManifestError, match=r"line 3: 'dog' has target 1 here and 0 above"):
            read(path)

    @pytest.mark.parametrize(
        ("line", "message"),
        [("a,1,-1,dog", "target is '-1'"), ("a,x,1,dog", "fold is 'x'"), ("a,1,1,", "no labels")],
    )
    def test_wrong_rows(self, tmp_path, line, message):
        path = table(tmp_path, f"filename,fold,target,category\n{line}\n")
        with pytest.raises(ManifestError, match=message):
            read(path)

    def test_given_classes_decide_the_order(self, tmp_path):
        clips = read(table(tmp_path, self.TEXT), labels=["rain", "sun", "dog"])
        assert [clip.labels for clip in clips] == [(0,), (2,), (0,)]

    def test_real_esc10(self, assets):
        clips = read_clips(assets / "assets/esc10/esc10.csv")
        assert len(clips) == 320
        assert clips.labels.names[:3] == ("dog", "rain", "sea_waves")
        assert clips.folds() == (1, 2, 3, 4)
        train, held_out = clips.split_fold(2)
        assert (len(train), len(held_out)) == (240, 80)


class TestClassFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ["dog/b.wav", "dog/a/x.FLAC", "Cat & co/c.mp3", ".cache/z.wav", "dog/.hidden.wav", "dog/n.txt"]:
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "set"

    def test_every_ending_that_infer_reads_is_found(self, tmp_path):
        for number, ending in enumerate(sorted(AUDIO_SUFFIXES)):
            (tmp_path / "Rain").mkdir(exist_ok=True)
            (tmp_path / "Rain" / f"{number}{ending.upper() if number % 2 else ending}").touch()
        assert len(read(tmp_path)) == len(AUDIO_SUFFIXES)
        assert len(find_clips([tmp_path])) == len(AUDIO_SUFFIXES)

    def test_linked_folders_are_searched_once(self, folder, tmp_path):
        before = len(read(folder))
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "more.wav").touch()
        (elsewhere / "back").symlink_to(elsewhere)
        (folder / "dog" / "linked").symlink_to(elsewhere)
        assert len(read(folder)) == before + 1

    def test_sorted_classes_and_clips(self, folder):
        clips = read_clips(folder)
        assert clips.labels.names == ("Cat & co", "dog")
        assert [clip.id for clip in clips] == ["Cat & co/c.mp3", "dog/b.wav", "dog/a/x.FLAC"]
        assert clips.single_label
        assert [clip.labels for clip in clips] == [(0,), (1,), (1,)]

    def test_class_list(self, folder):
        labels = LabelSet([Label("/m/0bt9lr", "dog"), Label("/m/c", "Cat & co"), Label("/m/b", "Bird")])
        clips = read_clips(folder, labels=labels)
        assert [clip.labels for clip in clips] == [(1,), (0,), (0,)]
        with pytest.raises(ManifestError, match=r"'Cat & co' is not a class"):
            read_clips(folder, labels=["dog"])
        assert len(read_clips(folder, labels=["dog"], unknown_labels="skip")) == 2

    def test_empty_class_folder(self, folder):
        (folder / "Bird").mkdir()
        with pytest.raises(ManifestError, match=r"Bird: the class folder holds no recordings"):
            read_clips(folder)
        assert len(read_clips(folder, labels=["Bird", "dog", "Cat & co"])) == 3

    def test_loose_recordings(self, folder):
        (folder / "loose.wav").touch()
        with pytest.raises(ManifestError, match=r"1 recordings lie outside .*loose\.wav"):
            read_clips(folder)

    def test_nothing_inside(self, tmp_path):
        with pytest.raises(ManifestError, match="no clips"):
            read_clips(tmp_path)


class TestReading:
    def test_missing_source(self, tmp_path):
        with pytest.raises(ManifestError, match=r"none\.json.*does not exist"):
            read_clips(tmp_path / "none.json")

    def test_missing_recordings_are_counted_and_named(self, tmp_path):
        (tmp_path / "here.wav").touch()
        path = manifest(tmp_path, *({"wav": f"{name}.wav", "labels": "x"} for name in ["here", *"abcdefg"]))
        with pytest.raises(ManifestError, match=r"recordings are missing \(7\): .*a\.wav.*e\.wav, …"):
            read_clips(path)

    def test_unknown_ending(self, tmp_path):
        with pytest.raises(ManifestError, match=r"no format.*json: .*folder: "):
            read_clips(table(tmp_path, "x", "clips.doc"))

    def test_the_format_can_be_named(self, tmp_path):
        path = table(tmp_path, "path,labels\na,b\n", "clips.txt")
        assert len(read(path, format="csv")) == 1

    def test_two_formats_that_fit_are_named(self, tmp_path):
        path = table(tmp_path, "filename,fold,target,category,path,labels\na,1,0,x,a,x\n")
        with pytest.raises(ManifestError, match=r"several formats \(csv, esc50\)"):
            read(path)

    def test_unknown_options_are_refused(self, tmp_path):
        path = manifest(tmp_path, {"wav": "a", "labels": "x"})
        with pytest.raises(OptionError, match=r"'single_labels'.*'single_label'"):
            read(path, single_labels=True)
        with pytest.raises(OptionError, match="'ignore'"):
            read(path, unknown_labels="ignore")


class TestHowPeopleWriteLists:
    def test_paths_alone_are_enough_to_tag(self, tmp_path):
        path = table(tmp_path, "path\na.wav\nb.wav\n")
        assert [clip.path.name for clip in find_clips([path])] == ["a.wav", "b.wav"]
        with pytest.raises(ManifestError, match="the column 'labels' is missing; there are: path"):
            read(path)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ("file,label", r"its first line are file,label\. The columns must be, for csv: path,labels; .*esc50: file"),
            ("path,label", "'labels' is missing; there are: path, label"),
            ("filename,category,fold", "'target' is missing; there are: filename, category, fold"),
        ],
    )
    def test_columns_found_and_missing_are_named(self, tmp_path, columns, message):
        with pytest.raises(ManifestError, match=message):
            read(table(tmp_path, f"{columns}\na.wav,b,1\n"))

    @pytest.mark.parametrize(
        "text",
        [
            "sep=;\r\npath;labels\r\na.wav;Speech\r\n",
            "\n\npath,labels\na.wav,Speech\n",
            "path,labels\ra.wav,Speech\r",
            "path,labels\na.wav,Speech,,\n",
            'path,labels,notes\r\na.wav,Speech,"two\r\nlines"\r\n',
        ],
    )
    def test_what_spreadsheets_add_is_passed_over(self, tmp_path, text):
        path = tmp_path / "clips.csv"
        path.write_bytes(text.encode())
        (clip,) = read(path, labels=CLASSES)
        assert (clip.path, clip.labels) == (tmp_path / "a.wav", (0,))
        assert [found.path for found in find_clips([path])] == [clip.path]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    def test_encodings(self, tmp_path, encoding):
        (tmp_path / "clips.csv").write_text("path,labels\r\nä.wav,Käuzchen\r\n", encoding=encoding)
        (tmp_path / "clips.json").write_text('{"data": [{"wav": "ä.wav", "labels": "Käuzchen"}]}', encoding=encoding)
        for name in ("clips.csv", "clips.json"):
            clips = read(tmp_path / name)
            assert (clips.labels.names, clips[0].path.name) == (("Käuzchen",), "ä.wav")

    def test_another_encoding_says_what_to_do(self, tmp_path):
        (tmp_path / "clips.csv").write_bytes("path,labels\na.wav,Käuzchen\n".encode("latin-1"))
        with pytest.raises(ManifestError, match=r"not text in UTF-8.*Save it as UTF-8"):
            read(tmp_path / "clips.csv")

    @pytest.mark.parametrize("row", ["a.wav,Dog,,\n", "a.wav,Dog\n"])
    def test_columns_without_a_name_and_a_cell(self, tmp_path, row):
        assert read(table(tmp_path, f"path,labels,,\n{row}")).labels.names == ("Dog",)

    def test_a_table_with_tabs_may_be_called_so(self, tmp_path):
        (tmp_path / "clips.tsv").write_text("path\tlabels\na.wav\tDog\n")
        assert read(tmp_path / "clips.tsv").labels.names == ("Dog",)
        assert [clip.path for clip in find_clips([tmp_path / "clips.tsv"])] == [tmp_path / "a.wav"]

    def test_a_space_before_a_quote(self, tmp_path):
        clips = read(table(tmp_path, 'path, labels\na.wav, "x,y"\n'))
        assert clips.labels.names == ("x", "y") and clips[0].labels == (0, 1)

    @pytest.mark.parametrize("look", ["Bell\u00a0ring", "\ufeffBell ring", "Be\u00adll ring\u200b", "Bell\u3000ring"])
    def test_one_class_whatever_invisible_is_in_its_name(self, tmp_path, look):
        clips = read(table(tmp_path, f"path,labels\na.wav,Bell ring\nb.wav,{look}\n"))
        assert clips.labels.names == ("Bell ring",)
        assert read(tmp_path / "clips.csv", labels=[look, "Dog"])[1].labels == (0,)

    def test_one_class_however_its_accents_are_written(self, tmp_path):
        one, two = "Café", "Cafe\u0301"
        clips = read(table(tmp_path, f"path,labels\na.wav,{one}\nb.wav,{two}\n"))
        assert clips.labels.names == (one,) and [clip.labels for clip in clips] == [(0,), (0,)]
        clips = read(manifest(tmp_path, {"wav": "a.wav", "labels": [two]}), labels=[two])
        assert clips[0].labels == (0,) and two in clips.labels and clips.labels.index(two) == 0
        rows = f"filename,fold,target,category\na.wav,1,0,{one}\nb.wav,1,0,{two}\n"
        assert read(table(tmp_path, rows)).labels.names == (one,)
        for name in (one, two):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name / f"{len(name)}.wav").touch()
        assert read(tmp_path / "set").labels.names == (one,)

    @pytest.mark.parametrize("label", ["a\x1b[2Jb", "a\0b", "a\nb", "\ud800"])
    def test_control_characters_in_labels(self, tmp_path, label):
        with pytest.raises(ManifestError, match=r"entry 1 .*holds control characters"):
            read(manifest(tmp_path, {"wav": "a.wav", "labels": [label]}))
