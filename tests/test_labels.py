import csv
import io
import json
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.csv_text import read_cell
from audiotag.errors import LabelError
from audiotag.labels import Label, LabelSet, composed, known_labels, read_labels

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool)
# A quote before a formula is taken for the one that our own writer puts there.
PLAIN_ROW = st.tuples(TEXT, TEXT).filter(lambda row: all(read_cell(text) == text for text in row))
ROWS = st.lists(PLAIN_ROW, min_size=1, max_size=20, unique_by=lambda row: composed(row[0]))


def as_csv(rows, header="index,mid,display_name"):
    out = io.StringIO()
    out.write(header + "\n")
    csv.writer(out).writerows(rows)
    return out.getvalue()


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "class_labels_indices.csv"
    path.write_text(text, encoding=encoding, newline="")
    return path


@given(rows=ROWS, seed=st.integers(0, 100))
def test_rows_in_any_order_give_the_classes_in_index_order(tmp_path_factory, rows, seed):
    numbered = [(index, mid, name) for index, (mid, name) in enumerate(rows)]
    random.Random(seed).shuffle(numbered)
    labels = LabelSet.from_csv(written(tmp_path_factory.mktemp("labels"), as_csv(numbered)))
    assert [(label.mid, label.name) for label in labels] == [(composed(mid), composed(name)) for mid, name in rows]


@given(rows=ROWS)
def test_writing_and_reading_give_the_same_set(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("labels") / "classes.csv"
    labels = LabelSet(Label(mid, name) for mid, name in rows)
    labels.to_csv(path)
    assert LabelSet.from_csv(path) == labels


@given(rows=ROWS, data=st.data())
def test_a_gap_or_a_repeat_in_the_indices_is_an_error(tmp_path_factory, rows, data):
    indices = list(range(len(rows)))
    position = data.draw(st.integers(0, len(rows) - 1))
    wrong = data.draw(st.integers(-3, len(rows) + 3).filter(lambda index: index != position))
    indices[position] = wrong
    text = as_csv([(index, *row) for index, row in zip(indices, rows, strict=True)])
    with pytest.raises(LabelError, match=r"class_labels_indices\.csv: .*(missing|again)"):
        LabelSet.from_csv(written(tmp_path_factory.mktemp("labels"), text))


@given(text=st.text(max_size=200))
def test_any_text_gives_labels_or_a_label_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("labels") / "any.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        labels = LabelSet.from_csv(path)
    except LabelError as error:
        assert "any.csv" in str(error)
    else:
        assert len(labels) >= 1


def test_the_real_home_list_in_its_own_row_order(assets, tmp_path):
    rows = json.loads((assets / "facts" / "home_classes.json").read_text())
    assert [row[0] for row in rows] != sorted(row[0] for row in rows), "the file is out of order, as it is at home"
    labels = LabelSet.from_csv(written(tmp_path, as_csv(rows)))
    assert len(labels) == 21
    assert labels.names[3] == "Walk, footsteps"
    assert labels.names[10] == "Inside, small room"
    assert labels.names[20] == "Television"
    assert labels.index("/m/02dgv") == labels.index("Door") == 19
    assert labels == known_labels("home")


@pytest.mark.parametrize(
    ("name", "count"), [("audioset", 527), ("audioset_strong", 447), ("fsd50k", 200), ("home", 21)]
)
def test_the_lists_of_the_core(name, count):
    labels = known_labels(name)
    assert len(labels) == count == len(set(labels.mids))


@pytest.mark.parametrize("name", ["audioset", "audioset_strong", "fsd50k"])
def test_the_lists_of_the_core_are_the_real_ones(assets, name):
    rows = json.loads((assets / "facts" / f"{name}_classes.json").read_text())
    rows = sorted(rows, key=lambda row: row[0]) if isinstance(rows[0][0], int) else list(enumerate(rows))
    flat = [row if len(row) == 3 else (row[0], *row[1]) for row in rows]
    assert known_labels(name).mids == tuple(row[1] for row in flat)
    assert known_labels(name).names == tuple(row[2] for row in flat)


def test_an_unknown_list_names_those_there_are():
    with pytest.raises(
        LabelError, match=r"'audiset'.*Did you mean 'audioset'.*audioset, audioset_strong, fsd50k, home"
    ):
        read_labels("audiset")
    with pytest.raises(LabelError, match=r"no_such_package"):
        known_labels("no_such_package:classes.csv")


@pytest.mark.parametrize("name", ["os:x", "json:x", "audiotag:", "../home", "x" * 300, ":x", "audiotag:a\0b"])
def test_what_a_descriptor_names_in_a_broken_way_is_a_label_error(name):
    with pytest.raises(LabelError):
        known_labels(name)


@pytest.mark.parametrize("ending", ["x", "x.csv", ""])
def test_text_of_a_user_or_a_file_imports_nothing(plugin_folder, ending):
    """As ``--labels``, and as ``"labels"`` in a run's record that somebody has sent."""
    (plugin_folder / "sneaky.py").write_text("raise SystemExit('imported')")
    with pytest.raises(LabelError):
        read_labels(f"sneaky:{ending}")
    assert "sneaky" not in sys.modules


@pytest.mark.parametrize("text", ["a\0b", "a\0b.csv", "x" * 300, "x" * 300 + ".csv", "", "../home", "."])
def test_text_that_names_no_file_is_a_label_error(text):
    with pytest.raises(LabelError):
        read_labels(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the first line has nothing, and lacks index, mid, display_name"),
        ("index,mid,display_name\n", r"the class list is empty"),
        ("index,name\n0,Dog\n", r"has index, name, and lacks mid, display_name.*must read: index,mid,display_name"),
        ("index,mid,display_name\n0,/m/1\n", r"line 2 has too few values"),
        ("index,mid,display_name\n0,,Dog\n", r"line 2 has too few values"),
        ("index,mid,display_name\n0,/m/1,Dog, barking\n", r"line 2 has too many values.*quotes"),
        ("index,mid,display_name\nzero,/m/1,Dog\n", r"'zero' in line 2 is not a whole number"),
        ("index,mid,display_name\n0,/m/1,Dog\n0,/m/2,Cat\n", r"index 0 stands in line 2 and again in line 3"),
        ("index,mid,display_name\n1,/m/1,Dog\n", r"need the indices 0 to 0, and 0 is missing"),
        ("index,mid,display_name\n0,/m/1,Dog\n5,/m/2,Cat\n9,/m/3,Cow\n", r"0 to 2, and 1, 2 are missing"),
        ("index,mid,display_name\n0,/m/1,Dog\n1,/m/1,Cat\n", r"'/m/1' stands at index 0 and again at 1"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(LabelError, match=rf"class_labels_indices\.csv: .*{message}"):
        LabelSet.from_csv(written(tmp_path, text))


def test_another_encoding_is_a_label_error(tmp_path):
    with pytest.raises(LabelError, match=r"class_labels_indices\.csv"):
        LabelSet.from_csv(written(tmp_path, "index,mid,display_name\n0,/m/1,Bär\n", "latin-1"))


def test_what_excel_calls_unicode_is_read(tmp_path):
    assert LabelSet.from_csv(written(tmp_path, "index,mid,display_name\n0,/m/1,Bär\n", "utf-16")).names == ("Bär",)


def test_a_byte_order_mark_windows_lines_and_spaces_do_no_harm(tmp_path):
    text = '\ufeffindex,mid,display_name\r\n1, /m/2 ,Cat\r\n0,/m/1,"Dog, barking"\r\n'
    assert LabelSet.from_csv(written(tmp_path, text)).names == ("Dog, barking", "Cat")


def test_missing_files_and_folders_are_label_errors(tmp_path):
    with pytest.raises(LabelError, match=r"none\.csv: the file does not exist"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(LabelError, match=r"cannot be read"):
        LabelSet.from_csv(tmp_path)


ANIMALS = LabelSet([Label("/m/1", "Dog"), Label("/m/2", "Cat"), Label("/m/3", "Bat"), Label("/m/4", "Bat")], "animals")


def test_classes_are_found_by_mid_name_and_label():
    assert [ANIMALS.index(key) for key in ("/m/2", "Cat", Label("/m/2", "anything"))] == [1, 1, 1]
    assert "Dog" in ANIMALS and "/m/4" in ANIMALS and Label("/m/1", "?") in ANIMALS
    assert "Cow" not in ANIMALS and "Bat" not in ANIMALS and None not in ANIMALS


def test_a_name_of_two_classes_needs_the_mid():
    with pytest.raises(LabelError, match=r"'Bat' stands for several classes \(/m/3, /m/4\).*Use the mid"):
        ANIMALS.index("Bat")


def test_an_unknown_class_gets_close_matches():
    with pytest.raises(LabelError, match=r"animals: there is no class 'Dgo'\. Did you mean 'Dog'\?"):
        ANIMALS.index("Dgo")


def test_sets_of_another_order_are_matched_by_mid():
    other = LabelSet([Label("/m/9", "Dog"), Label("/m/2", "Katze"), Label("/m/1", "Hund")])
    assert ANIMALS.positions_in(other) == [2, 1, None, None]
    change = ANIMALS.change_to(other)
    assert (change.kept, change.added, change.dropped) == (("/m/2", "/m/1"), ("/m/9",), ("/m/3", "/m/4"))
    assert str(change) == "2 classes kept, 1 added, 2 dropped"


def test_extending_appends_only_what_is_new():
    extended = ANIMALS.extended([Label("/m/2", "Kitten"), Label("/m/5", "Cow")])
    assert extended.mids == ("/m/1", "/m/2", "/m/3", "/m/4", "/m/5")
    assert extended.names[1] == "Cat"


def test_names_serve_as_mids_where_there_are_none():
    assert read_labels(["Dog", "Cat"]).mids == ("Dog", "Cat")
    with pytest.raises(LabelError, match=r"'Dog' stands at index 0 and again at 1"):
        read_labels(["Dog", "Dog"])
    with pytest.raises(LabelError, match=r"empty"):
        read_labels([])


def test_read_labels_takes_names_files_and_sets(tmp_path):
    assert read_labels("home") is known_labels("home")
    assert read_labels(ANIMALS) is ANIMALS
    ANIMALS.to_csv(tmp_path / "animals.csv")
    assert read_labels(str(tmp_path / "animals.csv")) == ANIMALS
    assert hash(read_labels(tmp_path / "animals.csv")) == hash(ANIMALS)
