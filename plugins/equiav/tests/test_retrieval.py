from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audiotag_equiav.pairs import read_pairs
from audiotag_equiav.pretraining_network import PretrainingNetwork, PretrainingOptions
from audiotag_equiav.retrieval import embed_pairs, load_pretrained, partner_ranks, retrieve, score_retrieval
from safetensors.torch import save_file

from audiotag.plugin import CheckpointError, OptionError, numpy_generator, read_clips


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_figures_agree_with_the_golden_ones(assets: Path, chunk: int) -> None:
    golden = json.loads((assets / "golden" / "recipes.json").read_text())["retrieval"]
    result = score_retrieval(golden["audio"], golden["video"], chunk=chunk)
    for name, direction in result.directions().items():
        expected = golden[name]
        figures = direction.figures()
        assert figures == {
            "R@1": pytest.approx(expected["R1"]),
            "R@5": pytest.approx(expected["R5"]),
            "R@10": pytest.approx(expected["R10"]),
            "median_rank": pytest.approx(expected["MR"]),
        }


def test_ranks_do_not_depend_on_the_chunk() -> None:
    generator = numpy_generator(0)
    queries, candidates = generator.normal(size=(50, 6)), generator.normal(size=(50, 6))
    whole = partner_ranks(queries, candidates, chunk=50)
    similarity = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    ).T
    assert np.array_equal(whole, (similarity >= np.diag(similarity)[:, None]).sum(axis=1))
    for chunk in (1, 3, 16, 49):
        assert np.array_equal(partner_ranks(queries, candidates, chunk=chunk), whole)


def test_embeddings_that_are_all_alike_find_nothing() -> None:
    alike = np.ones((20, 4))
    assert (partner_ranks(alike, alike, chunk=6) == 20).all()


@pytest.mark.parametrize(("queries", "candidates", "chunk"), [(3, 4, 2), (0, 0, 2), (3, 3, 0)])
def test_what_cannot_be_ranked_is_refused(queries: int, candidates: int, chunk: int) -> None:
    with pytest.raises(OptionError):
        partner_ranks(np.ones((queries, 2)), np.ones((candidates, 2)), chunk)


def test_values_that_are_not_finite_never_count_as_found() -> None:
    broken = np.ones((3, 2))
    broken[1, 0] = np.nan
    with pytest.raises(OptionError, match="finite"):
        partner_ranks(broken, np.ones((3, 2)))


@pytest.mark.parametrize("setting", [{"centroid_count": 0}, {"batch_size": 0}, {"chunk": 0}, {"workers": -1}])
def test_nothing_at_a_time_is_refused(
    write_pairs: Callable[..., Path], tiny_pretraining: PretrainingOptions, setting: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match=next(iter(setting))):
        retrieve(PretrainingNetwork(tiny_pretraining), read_pairs(write_pairs(2)), **{"workers": 0, **setting})


@pytest.mark.parametrize("stated", ["{", "[]", "3", "[" * 5000, '{"depth": "x"}', '{"invented": 1}'])
def test_weights_that_state_nonsense_are_one_error(tmp_path: Path, stated: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "pretrained.safetensors", metadata={"options": stated})
    with pytest.raises((CheckpointError, OptionError)):
        load_pretrained(tmp_path)


def test_an_embedding_depends_on_the_clip_and_the_seed_alone(
    write_pairs: Callable[..., Path], tiny_pretraining: PretrainingOptions
) -> None:
    clips = read_pairs(write_pairs(5))
    torch.manual_seed(0)
    network = PretrainingNetwork(tiny_pretraining).eval()
    sounds, pictures = embed_pairs(network, clips, seed=1, batch_size=2, workers=0)
    again, _ = embed_pairs(network, clips.subset([3, 1]), seed=1, batch_size=8, workers=0)
    np.testing.assert_allclose(again, sounds[[3, 1]], atol=1e-5)
    other, _ = embed_pairs(network, clips, seed=2, workers=0)
    assert not np.allclose(other, sounds, atol=1e-4)
    assert sounds.shape == pictures.shape == (5, 16)


def test_results_are_written_as_json_and_csv(tmp_path: Path) -> None:
    generator = numpy_generator(0)
    embeddings = generator.normal(size=(12, 4))
    result = score_retrieval(embeddings, embeddings[::-1], ids=[f"clip {index}" for index in range(12)])
    result.write(tmp_path / "out", seed=7)
    content = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    assert content["seed"] == 7 and content["clips"] == 12
    assert content["audio_to_video"] == result.audio_to_video.figures()
    with (tmp_path / "out" / "retrieval.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["direction"] for row in rows] == ["audio_to_video", "video_to_audio"]
    assert float(rows[1]["median_rank"]) == result.video_to_audio.median_rank
    with (tmp_path / "out" / "ranks.csv").open(newline="") as file:
        ranks = [int(row["audio_to_video"]) for row in csv.DictReader(file)]
    assert ranks == list(result.audio_to_video.ranks)


def test_labels_do_not_matter_for_pairs(write_pairs: Callable[..., Path]) -> None:
    path = write_pairs(3)
    content = json.loads(path.read_text())
    for entry in content["data"]:
        del entry["labels"]
    path.write_text(json.dumps(content))
    assert [clip.id for clip in read_pairs(path).clips] == ["clip 0", "clip 1", "clip 2"]
    assert len(read_clips(path, labels_required=False, labels=["x"])) == 3
