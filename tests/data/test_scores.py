"""Files of scores: what is written is read, and clips and classes are matched by name."""

import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.scores import Scores, ScoresFile
from audiotag.errors import ManifestError, OptionError
from audiotag.labels import LabelSet, composed

VALUES = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], dtype=np.float32)


def clip_set(ids, mids):
    return ClipSet(tuple(Clip(name, Path(name)) for name in ids), LabelSet.from_names(mids))


@pytest.fixture
def stored(tmp_path):
    """A pair as stored teacher scores come: half precision, and a map of rows."""
    np.save(tmp_path / "teacher.npy", np.array([[-2, 0, 2], [1, 1, 1], [3, 2, -9]], dtype=np.float16))
    (tmp_path / "teacher.json").write_text('{"x": 2, "y": 0}')
    return tmp_path / "teacher.npy"


names = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(composed),
    min_size=1,
    max_size=5,
    unique=True,
)


@settings(max_examples=40)
@given(st.data(), names, names)
def test_what_is_written_is_read_and_aligned_whatever_the_order(data, ids, mids):
    values = np.random.default_rng(0).random((len(ids), len(mids)), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        Scores(values, tuple(ids), tuple(mids)).write(Path(folder, "s.npz"))
        scores = ScoresFile.read(Path(folder, "s.npz"))
    assert (scores.ids, scores.mids) == (tuple(ids), tuple(mids))
    np.testing.assert_array_equal(scores.scores, values)
    rows, columns = (data.draw(st.permutations(range(len(one)))) for one in (ids, mids))
    clips = clip_set([ids[row] for row in rows], [mids[column] for column in columns])
    aligned, missing = scores.aligned(clips)
    assert missing == () and aligned.dtype == np.float32
    np.testing.assert_array_equal(aligned, values[np.ix_(rows, columns)])


def test_clips_without_scores_are_nan_and_named():
    scores = Scores(VALUES, ("x", "y"), ("a", "b", "c"))
    aligned, missing = scores.aligned(clip_set(["new", "y"], ["c", "a"]))
    assert missing == ("new",)
    np.testing.assert_array_equal(aligned, np.array([[np.nan, np.nan], [0.6, 0.4]], dtype=np.float32))


def test_classes_without_scores_are_an_error_or_nan():
    scores = Scores(VALUES, ("x", "y"), ("a", "b", "c"), "s.npz")
    clips = clip_set(["x"], ["a", "z"])
    with pytest.raises(ManifestError, match=r"s\.npz: 1 of the 2 classes have no scores: 'z'"):
        scores.aligned(clips)
    np.testing.assert_array_equal(
        scores.aligned(clips, missing_classes="nan")[0], np.array([[0.1, np.nan]], dtype=np.float32)
    )
    with pytest.raises(ManifestError, match="2 of the 2 classes"):
        scores.aligned(clip_set(["x"], ["v", "w"]), missing_classes="nan")
    with pytest.raises(OptionError, match="'zero'"):
        scores.aligned(clips, missing_classes="zero")


def test_no_clip_in_common_is_an_error():
    with pytest.raises(ManifestError, match=r"none of the 1 clips.*'x\.wav' there, 'x', 'y' here"):
        Scores(VALUES, ("x", "y"), ("a", "b", "c")).aligned(clip_set(["x.wav"], ["a"]))


@pytest.mark.parametrize(
    ("values", "ids", "mids", "message"),
    [
        (VALUES, ("x",), ("a", "b", "c"), r"\(2, 3\), for 1 clips and 3 classes"),
        (VALUES, ("x", "y"), ("a", "b"), r"for 2 clips and 2 classes"),
        (VALUES, ("x", "x"), ("a", "b", "c"), "the clip 'x' occurs twice"),
        (VALUES, ("x", "y"), ("a", "b", "a"), "the class 'a' occurs twice"),
        (VALUES[:0], (), ("a", "b", "c"), "there is no clip"),
        (VALUES[:, :0], ("x", "y"), (), "there is no class"),
        (VALUES * 2, ("x", "y"), ("a", "b", "c"), "score of c in the clip 'y' is 1.2"),
        (-VALUES, ("x", "y"), ("a", "b", "c"), "score of a in the clip 'x' is -0.1 .*6 scores"),
        (VALUES * np.float32(np.nan), ("x", "y"), ("a", "b", "c"), "is nan"),
    ],
)
def test_wrong_scores(values, ids, mids, message):
    with pytest.raises(ManifestError, match=message):
        Scores(values, ids, mids)


def test_stored_teacher_scores_are_read_by_their_map(stored):
    labels = LabelSet.from_names("abc")
    scores = ScoresFile.read(stored, labels=labels, logits=True)
    assert scores.ids == ("x", "y") and scores.mids == ("a", "b", "c")
    np.testing.assert_allclose(scores.scores[1], [0.1192, 0.5, 0.8808], atol=1e-4)
    assert scores.scores.dtype == np.float32
    one = ScoresFile.read(stored, labels=labels, logits=True, only=["q", "y", "y"])
    assert one.ids == ("y",)
    np.testing.assert_array_equal(one.scores, scores.scores[1:])
    with pytest.raises(ManifestError, match="logits"):
        ScoresFile.read(stored, labels=labels)
    with pytest.raises(ManifestError, match=r"none of the [01] clips wanted"):
        ScoresFile.read(stored, labels=labels, logits=True, only=["q"])
    with pytest.raises(OptionError, match="which classes"):
        ScoresFile.read(stored)
    with pytest.raises(ManifestError, match="2 clips and 2 classes"):
        ScoresFile.read(stored, labels=LabelSet.from_names("ab"), logits=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist.*Pickles are not read"),
        ("[1]", "must be an object"),
        ("{}", "not a map of rows"),
        ("{", "not valid JSON"),
        ('{"x": 0, "x": 1}', "'x' occurs twice"),
        ('{"x": true}', "x must be a whole number"),
        ('{"x": -1}', "x must be a whole number of at least 0, not -1"),
        ('{"x": 3, "y": 0}', "'x' is in row 3, and there are 3 rows"),
    ],
)
def test_wrong_maps_of_rows(stored, text, message):
    sidecar = stored.with_suffix(".json")
    sidecar.unlink()
    if text is not None:
        sidecar.write_text(text)
    with pytest.raises(ManifestError, match=message):
        ScoresFile.read(stored, labels=LabelSet.from_names("abc"), logits=True)


def test_only_leaves_other_clips_of_an_npz_out(tmp_path):
    Scores(VALUES, ("x", "y"), ("a", "b", "c")).write(tmp_path / "s.npz")
    assert ScoresFile.read(tmp_path / "s.npz", only=["y", "q"]).ids == ("y",)
    with pytest.raises(ManifestError, match=r"none of the [01] clips wanted"):
        ScoresFile.read(tmp_path / "s.npz", only=[])
    with pytest.raises(OptionError, match="names its own classes"):
        ScoresFile.read(tmp_path / "s.npz", labels=LabelSet.from_names("abc"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mids": None}, "no array mids"),
        ({"ids": np.array([1, 2])}, "ids is int64"),
        ({"ids": np.array(["x", "y"], dtype=object)}, "cannot be read.*pickle"),
        ({"ids": np.array(["x"])}, "2 rows of scores and 1 ids"),
        ({"scores": VALUES[0]}, r"float32 \(3,\)"),
        ({"scores": VALUES > 0.5}, "bool"),
    ],
)
def test_wrong_npz(tmp_path, change, message):
    arrays = {"scores": VALUES, "ids": np.array(["x", "y"]), "mids": np.array(["a", "b", "c"]), **change}
    np.savez(tmp_path / "s.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ManifestError, match=message):
        ScoresFile.read(tmp_path / "s.npz")


def test_wrong_files(tmp_path):
    with pytest.raises(ManifestError, match="does not exist"):
        ScoresFile.read(tmp_path / "none.npz")
    with pytest.raises(ManifestError, match="neither"):
        ScoresFile.read(tmp_path / "scores.csv")
    for content in (b"", b"PK\x03\x04 cut", json.dumps({}).encode()):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ManifestError, match=r"bad\.npz.*cannot be read"):
            ScoresFile.read(tmp_path / "bad.npz")
    np.save(tmp_path / "array.npy", VALUES)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(ManifestError, match=r"array\.npz: it is one array"):
        ScoresFile.read(tmp_path / "array.npz")
    with pytest.raises(OptionError, match=r"\.npz"):
        Scores(VALUES, ("x", "y"), ("a", "b", "c")).write(tmp_path / "s.npy")


def test_nan_logits_are_an_error(tmp_path):
    arrays = {"scores": VALUES * np.nan, "ids": np.array(["x", "y"]), "mids": np.array(["a", "b", "c"])}
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(ManifestError, match="NaN among the logits"):
        ScoresFile.read(tmp_path / "s.npz", logits=True)


def npz_with_header(path, shape, dtype="<f4", *, compressed=True):
    """An archive whose array of scores claims to be of *shape*."""
    np.savez(path, ids=np.array(["x"]), mids=np.array(["a"]))
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("scores.npy", content.getvalue() + bytes(4))


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2**40, 2**40), (10**12,), (0, 10**12), (2, 2)])
def test_a_header_is_believed_only_as_far_as_the_file_goes(tmp_path, shape):
    npz_with_header(tmp_path / "s.npz", shape)
    with pytest.raises(ManifestError, match="does not fit its size"):
        ScoresFile.read(tmp_path / "s.npz")
    with (tmp_path / "s.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.write(bytes(4))
    (tmp_path / "s.json").write_text('{"x": 0}')
    with pytest.raises(ManifestError, match=r"s\.npy"):
        ScoresFile.read(tmp_path / "s.npy", labels=LabelSet.from_names(["a"]))


def test_texts_that_are_none_are_refused(tmp_path):
    ids = np.array(["x", "y"])
    for code in (0x110000, 0xD800):
        ids.view(np.uint32)[1] = code
        np.savez(tmp_path / "s.npz", scores=VALUES, ids=ids, mids=np.array(["a", "b", "c"]))
        with pytest.raises(ManifestError, match="cannot be read"):
            ScoresFile.read(tmp_path / "s.npz")
