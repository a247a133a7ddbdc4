"""The learner in closed form: what it knows is a sum over clips, whatever their order, device or history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import audiotag
from audiotag import AnalyticLearner, Label, LabelSet
from audiotag.errors import CheckpointError, LabelError, OptionError, OutputError, TrainingError

NAMES = ["bell", "knock", "bark"]
DIM = 6
PROBES = np.random.default_rng(99).standard_normal((20, DIM))
SEEDS = st.integers(0, 10_000)
KINDS = st.sampled_from([{}, {"single_label": False}, {"random_features": 9}])


def learner(**settings: Any) -> AnalyticLearner:
    return AnalyticLearner(LabelSet.from_names(NAMES), DIM, **settings)


def clips(seed: int, count: int = 24) -> tuple[NDArray[np.float64], list[str]]:
    generator = np.random.default_rng(seed)
    classes = np.arange(count) % len(NAMES)
    centres = 2 * generator.standard_normal((len(NAMES), DIM))
    return centres[classes] + generator.standard_normal((count, DIM)), [NAMES[place] for place in classes]


def taught(clips_seed: int, count: int = 24, **settings: Any) -> AnalyticLearner:
    one = learner(**settings)
    one.learn_clips(*clips(clips_seed, count))
    return one


def assert_same(one: AnalyticLearner, other: AnalyticLearner) -> None:
    assert one.labels == other.labels
    assert one.clips == pytest.approx(other.clips, abs=1e-9)
    np.testing.assert_allclose(one.counts, other.counts, atol=1e-9)
    np.testing.assert_allclose(one.scores(PROBES), other.scores(PROBES), atol=1e-9)


@given(SEEDS, KINDS)
def test_the_order_of_clips_does_not_matter(seed: int, kind: dict[str, Any]) -> None:
    embeddings, labels = clips(seed)
    other = learner(**kind)
    for place in np.random.default_rng(seed).permutation(len(labels)):
        other.learn(embeddings[place], labels[place])
    assert_same(taught(seed, **kind), other)


@given(SEEDS, KINDS, st.floats(0.1, 10))
def test_unlearning_undoes(seed: int, kind: dict[str, Any], weight: float) -> None:
    one, extra = taught(seed, **kind), np.random.default_rng(seed + 1).standard_normal(DIM)
    before = one.scores(PROBES)
    one.learn(extra, "bell", weight)
    assert np.abs(one.scores(PROBES) - before).max() > 1e-6
    one.unlearn(extra, "bell", weight)
    assert_same(one, taught(seed, **kind))


@given(SEEDS, KINDS, st.integers(1, 23))
def test_merged_learners_are_the_learner_of_all_clips(seed: int, kind: dict[str, Any], cut: int) -> None:
    embeddings, labels = clips(seed)
    first, second = learner(**kind), learner(**kind)
    first.learn_clips(embeddings[:cut], labels[:cut])
    second.learn_clips(embeddings[cut:], labels[cut:])
    before = second.counts
    assert_same(first.merge(second), taught(seed, **kind))
    assert (second.counts == before).all()
    assert first.clips == cut


def test_merging_matches_classes_by_mid() -> None:
    embeddings, labels = clips(0)
    first, second = learner(), AnalyticLearner(LabelSet.from_names(["meow", "bark"]), DIM)
    first.learn_clips(embeddings, labels)
    second.learn_clips(PROBES[:4], ["meow", "bark", "meow", "meow"])
    whole = AnalyticLearner(LabelSet.from_names([*NAMES, "meow"]), DIM)
    whole.learn_clips(np.concatenate([embeddings, PROBES[:4]]), [*labels, "meow", "bark", "meow", "meow"])
    assert_same(first.merge(second), whole)


def test_learners_of_different_settings_are_not_merged() -> None:
    with pytest.raises(OptionError, match="penalty, seed"):
        learner().merge(learner(penalty=1.0, seed=3))


def test_a_class_added_later_is_learnt_as_one_there_from_the_start() -> None:
    embeddings, labels = clips(1)
    late = AnalyticLearner(LabelSet.from_names(NAMES[:2]), DIM)
    others = [place for place, label in enumerate(labels) if label != "bark"]
    late.learn_clips(embeddings[others], [labels[place] for place in others])
    late.add_classes([Label("bark", "bark")])
    assert (late.scores(PROBES)[:, 2] == 0).all()
    barks = [place for place, label in enumerate(labels) if label == "bark"]
    late.learn_clips(embeddings[barks], ["bark"] * len(barks))
    assert_same(late, taught(1))


def test_a_class_removed_leaves_clips_of_none() -> None:
    embeddings, labels = clips(2)
    expected = AnalyticLearner(LabelSet.from_names(["bell", "bark"]), DIM)
    expected.learn_clips(embeddings, [[] if label == "knock" else [label] for label in labels])
    one = taught(2)
    one.remove_class("knock")
    assert_same(one, expected)


def test_a_weight_is_a_number_of_clips() -> None:
    embeddings, labels = clips(3)
    weighted, repeated = learner(penalty=0.3), learner(penalty=0.3)
    weighted.learn_clips(embeddings, labels, np.where(np.arange(24) < 5, 3.0, 1.0))
    repeated.learn_clips(np.concatenate([embeddings, embeddings[:5], embeddings[:5]]), [*labels, *labels[:5] * 2])
    np.testing.assert_array_equal(weighted.decisions(PROBES).argmax(axis=1), repeated.decisions(PROBES).argmax(axis=1))
    assert weighted.clips == repeated.clips


def test_forgetting_is_a_falling_weight() -> None:
    embeddings, labels = clips(4)
    faded, weighted = learner(forgetting=0.9), learner()
    faded.learn_clips(embeddings, labels)
    weighted.learn_clips(embeddings, labels, 0.9 ** np.arange(23, -1, -1))
    assert_same(faded, weighted)
    faded.unlearn(embeddings[0], labels[0], 0.9**23)
    weighted.unlearn(embeddings[0], labels[0], 0.9**23)
    assert_same(faded, weighted)


def test_all_unlearnt_is_nothing_learnt() -> None:
    one, (embeddings, labels) = taught(5), clips(5)
    for embedding, label in zip(embeddings, labels, strict=True):
        one.unlearn(embedding, label)
    assert one.clips == 0
    with pytest.raises(TrainingError, match="no clip"):
        one.scores(PROBES)
    with pytest.raises(OptionError, match="fewer clips"):
        one.unlearn(embeddings[0], labels[0])


def test_generalised_cross_validation_is_that_of_the_clips() -> None:
    """From the clips themselves: residuals and hat matrix, as in Golub, Heath & Wahba, equation 1.4."""
    embeddings, labels = clips(6)
    one, penalty = taught(6, single_label=False), 0.37
    rows = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    centred = rows - rows.mean(axis=0)
    hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(DIM), centred.T) + 1 / len(rows)
    targets = np.array([[label == name for name in NAMES] for label in labels], dtype=float)
    residuals = targets - hat @ targets
    expected = (residuals**2).sum() / len(rows) / (1 - np.trace(hat) / len(rows)) ** 2
    assert one.cross_validation_error(penalty) == pytest.approx(expected, rel=1e-9)
    best = one.cross_validation_error(one.chosen_penalty())
    assert all(best <= one.cross_validation_error(other) for other in np.logspace(-3, 2, 6))


@pytest.mark.parametrize("single_label", [True, False])
def test_scores_are_calibrated(single_label: bool) -> None:
    generator = np.random.default_rng(7)
    classes = generator.integers(0, 3, 3000)
    centres = np.eye(3, 16)
    embeddings = centres[classes] + 0.45 * generator.standard_normal((3000, 16))
    one = AnalyticLearner(LabelSet.from_names(NAMES), 16, single_label=single_label)
    one.learn_clips(embeddings[:600], [NAMES[place] for place in classes[:600]])
    scores, truth = one.scores(embeddings[600:]), np.eye(3)[classes[600:]]
    bins = np.digitize(scores, np.linspace(0, 1, 11)[1:-1])
    within = [bins == one for one in range(10)]
    error = sum(abs(scores[one].sum() - truth[one].sum()) for one in within) / scores.size
    assert error < 0.02  # expected calibration error, Naeini et al. 2015
    assert scores[:, 0].min() >= 0
    assert scores.max() <= 1


def test_one_clip_a_class_is_enough() -> None:
    one = learner()
    one.learn_clips(np.eye(3, DIM), NAMES)
    np.testing.assert_array_equal(one.scores(np.eye(3, DIM)).argmax(axis=1), [0, 1, 2])


def test_a_single_clip_can_be_asked() -> None:
    one = learner()
    one.learn(np.ones(DIM), "knock")
    np.testing.assert_array_equal(one.scores(PROBES).argmax(axis=1), 1)


def test_several_labels_a_clip() -> None:
    generator = np.random.default_rng(8)
    truth = generator.random((400, 3)) < 0.4
    embeddings = truth @ np.eye(3, DIM) + 0.2 * generator.standard_normal((400, DIM)) + 0.5
    one = learner(single_label=False)
    one.learn_clips(
        embeddings[:300],
        [[name for name, has in zip(NAMES, row, strict=True) if has] for row in truth[:300]],
    )
    assert ((one.scores(embeddings[300:]) > 0.5) == truth[300:]).mean() > 0.9


@pytest.mark.parametrize(
    "settings", [{}, {"single_label": False, "penalty": 0.5, "forgetting": 0.99, "random_features": 9, "seed": 4}]
)
def test_the_file_holds_all_and_no_clip(tmp_path: Path, settings: dict[str, Any]) -> None:
    one = taught(9, **settings)
    one.save(tmp_path / "learner")
    again = AnalyticLearner.load(tmp_path / "learner")
    np.testing.assert_array_equal(again.scores(PROBES), one.scores(PROBES))
    assert_same(again.merge(one), one.merge(one))
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "learner").read_bytes()
    features = settings.get("random_features", DIM)
    numbers = features * (features + 1) // 2 + features * (len(NAMES) + 1)
    assert (tmp_path / "learner").stat().st_size < 8 * numbers + 1000


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "learner"
    taught(0).save(path)
    whole = path.read_bytes()
    for cut in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError):
            AnalyticLearner.load(path)
    for old, new in ((b"dim", b"Dim"), (b"analytic learner", b"analytic_learner"), (b"knock", b"knoc\xff")):
        assert old in whole
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(CheckpointError):
            AnalyticLearner.load(path)
    for facts in ({}, {"format": "audiotag analytic learner", "format_version": 1}, []):
        save_file({"gram": np.zeros(3)}, path, metadata={"audiotag": json.dumps(facts)})
        with pytest.raises(CheckpointError):
            AnalyticLearner.load(path)
    with pytest.raises(CheckpointError):
        AnalyticLearner.load(tmp_path / "missing")
    with pytest.raises(OutputError):
        taught(0).save(path / "within a file")


def test_every_byte_that_is_flipped_is_noticed(tmp_path: Path) -> None:
    path, generator = tmp_path / "learner", np.random.default_rng(0)
    taught(0).save(path)
    whole, known = path.read_bytes(), AnalyticLearner.load(path)
    noticed = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(generator.integers(1, 256))]) + whole[place + 1 :])
        try:
            again = AnalyticLearner.load(path)
        except CheckpointError as error:
            noticed += "checksum" in str(error)
        else:  # nothing that is meant has changed: a space between
            assert again.to_bytes() == known.to_bytes()
    assert noticed > 8 * DIM * (DIM + 1) // 2


@pytest.mark.parametrize(
    ("embedding", "labels", "weight", "error"),
    [
        (np.zeros(DIM), "bell", 1.0, OptionError),
        (np.full(DIM, np.nan), "bell", 1.0, OptionError),
        (np.ones(DIM + 1), "bell", 1.0, OptionError),
        (np.ones(DIM), "bell", 0.0, OptionError),
        (np.ones(DIM), "bell", np.inf, OptionError),
        (np.ones(DIM), "moo", 1.0, LabelError),
        (np.ones(DIM), ["bell", "bark"], 1.0, LabelError),
    ],
)
def test_what_cannot_be_learnt_changes_nothing(embedding: Any, labels: Any, weight: float, error: Any) -> None:
    one = taught(0)
    with pytest.raises(error):
        one.learn(embedding, labels, weight)
    assert_same(one, taught(0))


@pytest.mark.parametrize(
    "settings", [{"penalty": 0.0}, {"forgetting": 1.1}, {"random_features": -1}, {"random_features": 10**6}]
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        audiotag.AnalyticLearner(LabelSet.from_names(NAMES), DIM, **settings)
