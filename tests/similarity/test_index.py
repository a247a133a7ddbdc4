"""The index of embeddings: what it finds, what it survives, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag import SimilarityIndex
from audiotag.cli.main import main
from audiotag.data.clips import Clip
from audiotag.errors import AudiotagError, OptionError, StoreError
from audiotag.host import get_host
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.model import Model
from audiotag.similarity import index as module

RATE = 8000
DIM = 16


def tagger_of(tiny: ModuleType, seed: int = 0) -> Tagger:
    torch.manual_seed(seed)
    network = tiny.TinyBackbone(3, width=DIM)
    labels = LabelSet.from_names(["a", "b", "c"], "three")
    return Tagger(Model(network, get_host().backbone("tiny"), {"width": DIM}, labels, "tiny"))


@pytest.fixture
def tagger(tiny: ModuleType) -> Tagger:
    return tagger_of(tiny)


@pytest.fixture
def empty(tagger: Tagger, tmp_path: Path) -> SimilarityIndex:
    return SimilarityIndex.create(tmp_path / "sounds.index", tagger)


def pulses(place: float, seconds: float = 1.0) -> np.ndarray:
    """A sound whose energy lies at *place* (0 to 1) of each 10 ms, which is what the tiny network hears."""
    within = (np.arange(round(seconds * RATE)) % 80) / 80
    return (0.5 * np.exp(-(((within - place) / 0.1) ** 2))).astype(np.float32)


def write(path: Path, place: float, seconds: float = 1.0) -> Path:
    soundfile.write(path, pulses(place, seconds), RATE)
    return path


def recording(folder: Path, number: int) -> Path:
    """A file that an index may say it has embeddings of."""
    path = folder / f"{number}.wav"
    path.touch()
    return path


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_what_sounds_alike_is_found_and_the_question_is_left_out(
    empty: SimilarityIndex, tagger: Tagger, tmp_path: Path
) -> None:
    paths = [write(tmp_path / f"{place}.wav", place) for place in (0.2, 0.22, 0.8, 0.82)]
    assert [added.error for added in empty.add(tagger, paths)] == [None] * 4
    for question, nearest in ((0, 1), (1, 0), (2, 3), (3, 2)):
        matches = empty.search_like(tagger, paths[question], 3)
        assert len(matches) == 3
        assert matches[0].path == paths[nearest]
        assert paths[question] not in {match.path for match in matches}
        assert [match.similarity for match in matches] == sorted((one.similarity for one in matches), reverse=True)


def test_similarity_is_the_cosine_of_embeddings(empty: SimilarityIndex, tagger: Tagger, tmp_path: Path) -> None:
    path = write(tmp_path / "low.wav", 0.2)
    list(empty.add(tagger, [path]))
    wave = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    sound, _ = soundfile.read(path, dtype="float32")
    (match,) = empty.search_like(tagger, (wave, RATE))
    expected = unit(tagger.embed(wave, RATE)) @ unit(tagger.embed(sound, RATE)).T
    assert match.similarity == pytest.approx(float(expected[0, 0]), abs=1e-6)


def test_a_long_recording_is_found_by_its_part(empty: SimilarityIndex, tagger: Tagger, tmp_path: Path) -> None:
    wave = np.concatenate([pulses(0.2, 2.0), pulses(0.8, 2.0)])
    soundfile.write(tmp_path / "long.wav", wave, RATE)
    other = write(tmp_path / "high.wav", 0.8)
    list(empty.add(tagger, [tmp_path / "long.wav"]))
    assert len(empty) == 4
    best = empty.search_like(tagger, other, 2)
    assert {(match.onset, match.offset) for match in best} == {(2.0, 3.0), (3.0, 4.0)}
    part = empty.search_like(tagger, Clip(id="part", path=other, start=0.2, stop=0.9), 2)
    assert {match.onset for match in part} == {2.0, 3.0}


def test_adding_again_passes_over_what_is_there_and_takes_what_has_changed(
    empty: SimilarityIndex, tagger: Tagger, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.wav", 0.2)
    assert [added.known for added in empty.add(tagger, [path, path])] == [False, True]
    write(path, 0.8, seconds=2.0)
    assert [added.known for added in empty.add(tagger, [path])] == [False]
    assert (empty.recordings, len(empty)) == (1, 2)
    (match, _) = empty.search_like(tagger, write(tmp_path / "b.wav", 0.8), 5)
    assert match.similarity > 0.99


def test_removed_recordings_are_not_found(empty: SimilarityIndex, tagger: Tagger, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{place}.wav", place) for place in (0.2, 0.22, 0.8)]
    list(empty.add(tagger, paths))
    assert empty.remove(paths[1])
    assert not empty.remove(paths[1])
    assert [match.path for match in empty.search_like(tagger, paths[0], 5)] == [paths[2]]


def test_a_recording_that_cannot_be_read_is_told_and_the_rest_goes_on(
    empty: SimilarityIndex, tagger: Tagger, tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    good = write(tmp_path / "good.wav", 0.2)
    missing, broken, fine = empty.add(tagger, [tmp_path / "none.wav", tmp_path / "text.wav", good])
    assert "none.wav" in str(missing.error)
    assert "text.wav" in str(broken.error)
    assert fine.error is None
    assert empty.recordings == 1


def test_other_models_are_refused(empty: SimilarityIndex, tiny: ModuleType, tmp_path: Path) -> None:
    other = tagger_of(tiny, seed=1)
    with pytest.raises(OptionError, match="this model is another"):
        next(empty.add(other, [write(tmp_path / "a.wav", 0.2)]))
    with pytest.raises(OptionError, match="this model is another"):
        empty.search_like(other, tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("rows", "told"),
    [(np.zeros((1, DIM)), "zero"), (np.full((1, DIM), np.nan), "zero or not"), (np.ones((1, 3)), "shape")],
)
def test_embeddings_that_cannot_be_compared_are_refused(
    empty: SimilarityIndex, tmp_path: Path, rows: np.ndarray, told: str
) -> None:
    with pytest.raises(AudiotagError, match=told):
        empty.add_embeddings(recording(tmp_path, 0), [(0, 1)], rows)
    with pytest.raises(AudiotagError, match=told):
        empty.search(rows[0])
    assert len(empty) == 0


def test_a_folder_that_is_no_index_or_is_damaged_is_told(empty: SimilarityIndex, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no index here"):
        SimilarityIndex(tmp_path)
    empty.add_embeddings(recording(tmp_path, 0), [(0, 1)], np.ones((1, DIM)))
    os.truncate(empty.folder / "embeddings.f32", 7)
    with pytest.raises(StoreError, match="embeddings are missing"):
        empty.search(np.ones(DIM))
    (empty.folder / "index.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"index\.sqlite3|index"):
        SimilarityIndex(empty.folder)


def filled(index: SimilarityIndex, folder: Path, rows: np.ndarray, each: int = 10) -> None:
    for first in range(0, len(rows), each):
        part = rows[first : first + each]
        times = [(place, place + 1) for place in range(len(part))]
        index.add_embeddings(recording(folder, first // each), times, part)


def test_many_are_found_through_a_graph_almost_as_well_as_one_by_one(
    empty: SimilarityIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT", 500)
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((2000, DIM)).astype(np.float32)
    filled(empty, tmp_path, rows[:1900])
    empty.refresh(threads=1)
    assert list(empty.folder.glob("graph-*.usearch"))
    filled_more = rows[1900:]
    empty.add_embeddings(tmp_path / "0.wav", [(0, 1)] * 100, filled_more)  # in the place of ten rows, beside the graph
    kept = np.concatenate([rows[10:1900], filled_more])
    hits = 0
    for question in generator.standard_normal((50, DIM)).astype(np.float32):
        truth = np.sort(unit(kept) @ unit(question))[::-1][:10]
        exact = [match.similarity for match in empty.search(question, 10, exact=True)]
        np.testing.assert_allclose(exact, truth, atol=1e-6)
        found = [match.similarity for match in empty.search(question, 10)]
        hits += np.isclose(np.array(found)[:, None], truth, atol=1e-6).any(1).sum()
    assert hits >= 0.95 * 500


def test_a_graph_grows_and_the_old_one_goes(
    empty: SimilarityIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT", 100)
    rows = np.random.default_rng(0).standard_normal((450, DIM)).astype(np.float32)
    filled(empty, tmp_path, rows[:150])
    empty.refresh()
    filled(empty, tmp_path, rows[150:], each=300)
    empty.refresh()
    assert [path.name for path in empty.folder.glob("graph-*")] == ["graph-450.usearch"]
    with SimilarityIndex(empty.folder) as opened:
        assert opened.search(rows[103], 1)[0].similarity == pytest.approx(1, abs=1e-6)
        graph = empty.folder / "graph-450.usearch"
        graph.write_bytes(graph.read_bytes()[:-9])
    with SimilarityIndex(empty.folder) as opened, pytest.raises(StoreError, match="graph of the index is damaged"):
        opened.search(rows[103])


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_search_agrees_with_plain_comparison(data: st.DataObject) -> None:
    import tempfile

    from audiotag.similarity.database import Database

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts = {"model": "m", "fingerprint": "f", "dim": 4, "window": 1.0, "hop": 1.0}
        Database.create(folder, facts)
        (folder / "embeddings.f32").touch()
        generator = np.random.default_rng(data.draw(st.integers(0, 1000)))
        kept: dict[Path, np.ndarray] = {}
        with SimilarityIndex(folder) as index:
            for number in data.draw(st.lists(st.integers(0, 5), max_size=8)):
                path = recording(folder, number)
                rows = generator.standard_normal((data.draw(st.integers(1, 4)), 4)).astype(np.float32)
                index.add_embeddings(path, [(0.0, 1.0)] * len(rows), rows)
                kept[path] = rows
                if data.draw(st.booleans()):
                    index.remove(path)
                    del kept[path]
            question = generator.standard_normal(4).astype(np.float32)
            k = data.draw(st.integers(1, 10))
            found = index.search(question, k)
        truth = sorted(
            ((float(unit(row) @ unit(question)), path) for path, rows in kept.items() for row in rows),
            key=lambda one: -one[0],
        )[:k]
        np.testing.assert_allclose([one.similarity for one in found], [one[0] for one in truth], atol=1e-5)


_ADD_FOREVER = """
import sys
from pathlib import Path
import numpy as np
from audiotag import SimilarityIndex
folder = Path(sys.argv[1])
index = SimilarityIndex(folder / "sounds.index")
for number in range(10**6):
    path = folder / f"{number}.wav"
    path.touch()
    index.add_embeddings(path, [(0, 1), (1, 2)], np.eye(16, dtype=np.float32)[[number % 16, (number + 1) % 16]])
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 5, 17])
def test_what_was_added_survives_a_kill(empty: SimilarityIndex, tmp_path: Path, after: int) -> None:
    command = [sys.executable, "-c", _ADD_FOREVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= after:
                process.kill()
                break
    with SimilarityIndex(empty.folder) as index:
        assert index.recordings > after
        assert len(index) == 2 * index.recordings
        (first, second) = index.search(np.eye(DIM)[1], 2)
        assert first.similarity == second.similarity == 1.0
        index.add_embeddings(recording(tmp_path, 10**6), [(0, 1)], np.ones((1, DIM)))
        assert index.search(np.ones(DIM), 1)[0].path.name == "1000000.wav"


def test_the_command_line(tiny: ModuleType, tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for place in (0.2, 0.22, 0.8):
        write(sounds / f"{place}.wav", place)
    weights = tmp_path / "weights.pt"
    torch.manual_seed(0)
    torch.save(tiny.TinyBackbone(21, width=3).state_dict(), weights)
    index = str(tmp_path / "sounds.index")

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["index", *arguments])
        assert result.exit_code == code, result.output
        return result.stdout

    run("build", index, str(sounds), "--model", "tiny_home", "--weights", str(weights), "--quiet")
    write(sounds / "0.82.wav", 0.82)
    (sounds / "text.wav").write_text("no sound")
    assert "text.wav" in CliRunner().invoke(main, ["index", "add", index, str(sounds)]).stderr
    facts = json.loads(run("info", index, "--json"))
    assert (facts["model"], facts["recordings"], facts["embeddings"]) == ("tiny_home", 4, 4)
    best, *_ = json.loads(run("search", index, str(sounds / "0.8.wav"), "--json"))
    assert Path(best["path"]).name == "0.82.wav"
    assert (
        "0.82.wav" in run("search", index, str(sounds / "0.8.wav"), "--start", "0.1", "--stop", "0.5").splitlines()[1]
    )
    run("remove", index, str(sounds / "0.82.wav"))
    assert "0.82.wav" not in run("search", index, str(sounds / "0.8.wav"))
