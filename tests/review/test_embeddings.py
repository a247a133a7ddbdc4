"""Embeddings of events, from a model and from an index of similar sounds."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from audiotag import SimilarityIndex
from audiotag.data.detections import Detections
from audiotag.host import get_host
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.model import Model
from audiotag.review import ReviewStore, embed_events, embed_from_index
from audiotag.review.embeddings import read_matrix

LABELS = LabelSet.from_names(["a", "b", "c"])
RATE = 8000


@pytest.fixture
def tagger(tiny: ModuleType) -> Tagger:
    torch.manual_seed(0)
    network = tiny.TinyBackbone(3, width=16)
    return Tagger(Model(network, get_host().backbone("tiny"), {"width": 16}, LABELS, "tiny"))


@pytest.fixture
def review(tmp_path: Path) -> ReviewStore:
    """Two events of one part, one of another, and one of a recording that is not there."""
    sound = 0.1 * np.random.default_rng(0).standard_normal(6 * RATE)
    sound[: 3 * RATE] *= np.sin(np.arange(3 * RATE) / 3)
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    store = ReviewStore.create(tmp_path / "review", LABELS)
    store.add_detections(
        Detections(
            np.array([0, 0, 0, 1], np.int32),
            np.array([0.5, 0.5, 4.0, 0.0]),
            np.array([2.5, 2.5, 4.2, 1.0]),
            np.array([0, 1, 2, 0], np.int32),
            np.full(4, 0.5, np.float32),
            ["a.wav", "gone.wav"],
            [None, None],
            LABELS,
            tmp_path,
            "made up",
        )
    )
    return store


def test_a_model_embeds_each_part_once(review: ReviewStore, tagger: Tagger) -> None:
    sound, gone = embed_events(review, tagger)
    assert (sound.path.name, sound.events, sound.error) == ("a.wav", 3, None)
    assert (gone.path.name, gone.events) == ("gone.wav", 0) and gone.error is not None
    matrix = read_matrix(review)
    assert matrix is not None and matrix.events.tolist() == [1, 2, 3] and matrix.rows.tolist() == [0, 0, 1]
    samples = soundfile.read(review.folder.parent / "a.wav", dtype="float32")[0]
    for row, (start, stop) in enumerate([(0.5, 2.5), (3.6, 4.6)]):  # a short one with what is around it
        expected = tagger.embed(samples[round(start * RATE) : round(stop * RATE)], RATE)[0]
        assert np.allclose(matrix.vectors[row], expected / np.linalg.norm(expected), atol=2e-3)
    assert [one.path.name for one in embed_events(review, tagger)] == ["gone.wav"]


def test_an_index_gives_the_window_that_covers_most(review: ReviewStore, tagger: Tagger, tmp_path: Path) -> None:
    index = SimilarityIndex.create(tmp_path / "index", tagger, window=1.0)
    list(index.add(tagger, [tmp_path / "a.wav"]))
    sound, gone = embed_from_index(review, index)
    assert sound.events == 3 and "does not have" in str(gone.error)
    matrix = read_matrix(review)
    assert matrix is not None
    times, vectors = index.embeddings_of(tmp_path / "a.wav")
    assert times.tolist() == [[second, second + 1] for second in range(6)]
    assert np.allclose(matrix.vectors[matrix.rows[0]], vectors[1], atol=1e-3)
    assert np.allclose(matrix.vectors[matrix.rows[2]], vectors[4], atol=1e-3)
    assert len(index.embeddings_of("elsewhere.wav")[0]) == 0
