"""What verdicts teach, what is asked next, and what the random ones say of a class."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.data.detections import Detections
from audiotag.errors import OptionError
from audiotag.labels import LabelSet
from audiotag.review import Learning, Query, ReviewStore, keep_embeddings, wilson_interval

LABELS = LabelSet.from_names(["Bark", "Speech"])
COUNT, DIM = 200, 12


def make(folder: Path, seed: int = 0) -> tuple[ReviewStore, np.ndarray]:
    """A review whose detections are right where the first number of their embedding is positive."""
    draws = np.random.default_rng(seed)
    review = ReviewStore.create(folder, LABELS)
    onsets = np.arange(COUNT, dtype=np.float64)
    indices = np.arange(COUNT) % 2
    review.add_detections(
        Detections(
            recordings=np.zeros(COUNT, dtype=np.int32),
            indices=indices.astype(np.int32),
            onsets=onsets,
            offsets=onsets + 1,
            scores=draws.uniform(0.3, 0.7, COUNT).astype(np.float32),
            names=["/sounds/a.wav"],
            begins=[None],
            labels=LABELS,
            root=Path(),
            source="made up",
        )
    )
    right = draws.random(COUNT) < 0.5
    vectors = 0.3 * draws.standard_normal((COUNT, DIM))
    vectors[:, 0] += np.where(right, 1.0, -1.0)
    vectors[:, 1] += indices
    keep_embeddings(review, [[number] for number in range(1, COUNT + 1)], vectors, model="made up")
    return review, right


def scores(review: ReviewStore) -> dict[int, float]:
    return {event.number: event.score for event in review.page(limit=1000).events if event.score is not None}


def judge(review: ReviewStore, right: np.ndarray, numbers: list[int]) -> None:
    for number in numbers:
        verdict = review.confirm if right[number - 1] else review.reject
        verdict(number, version=review.event(number).version, who="Ada")


def test_scores_of_what_nobody_has_judged_follow_the_verdicts(tmp_path: Path) -> None:
    review, right = make(tmp_path / "review")
    learning = Learning(review)
    assert learning.update() == []
    before = scores(review)
    judge(review, right, list(range(1, 41)))
    moves = learning.update()
    after = scores(review)
    others = np.arange(41, COUNT + 1)

    def ranked(given: dict[int, float]) -> float:
        """How often a right one has the higher score of the two (area under the ROC curve)."""
        good, bad = (np.array([given[number] for number in others[right[40:] == one]]) for one in (True, False))
        return float((good[:, None] > bad).mean())

    assert ranked(before) < 0.6 and ranked(after) > 0.97
    assert {move.label.name for move in moves} == {"Bark", "Speech"}
    for move in moves:
        own = [number for number in after if LABELS[(number - 1) % 2] == move.label]
        assert move.events == len(own) and move.mean_after == pytest.approx(np.mean([after[one] for one in own]))
        assert move.mean_before == pytest.approx(np.mean([before[one] for one in own]))
        assert move.above_after == sum(after[one] >= 0.5 for one in own)
    assert learning.update() == []


def test_undoing_unlearns(tmp_path: Path) -> None:
    review, right = make(tmp_path / "review")
    learning = Learning(review)
    judge(review, right, [1, 2, 3, 4, 5, 6])
    learning.update()
    kept, sums = scores(review), learning.learner.sums.gram.copy()
    judge(review, right, [7, 8, 9])
    learning.update()
    assert scores(review) != kept
    for _ in range(3):
        review.undo("Ada")
    learning.update()
    assert scores(review) == pytest.approx(kept, abs=2e-4)
    assert np.allclose(np.tril(learning.learner.sums.gram), np.tril(sums), atol=1e-9)
    for _ in range(6):
        review.undo("Ada")
    learning.update()
    first = {event.number: event.detected_score for event in review.page(limit=1000).events}
    assert scores(review) == pytest.approx(first, abs=2e-4)


def test_another_process_learns_the_same(tmp_path: Path) -> None:
    review, right = make(tmp_path / "review")
    learning = Learning(review)
    for numbers in ([1, 2, 3], [4, 5, 6, 7], [8]):
        judge(review, right, numbers)
        learning.update()
    review.change_label(10, "Bark", version=0, who="Ben")
    learning.update()
    other = Learning(ReviewStore(review.folder))
    other.update()
    assert np.allclose(other.learner.sums.by_class, learning.learner.sums.by_class)
    assert other.learner.counts.tolist() == learning.learner.counts.tolist()


def test_events_of_one_part_share_what_is_learnt(tmp_path: Path) -> None:
    """Bark is confirmed where Speech is believed: it is a clip of both, until Speech is rejected."""
    review = ReviewStore.create(tmp_path / "review", LABELS, thresholds=0.5)
    review.add_detections(
        Detections(
            np.zeros(2, np.int32),
            np.zeros(2),
            np.ones(2),
            np.array([0, 1], np.int32),
            np.array([0.4, 0.6], np.float32),
            ["/a.wav"],
            [None],
            LABELS,
            Path(),
            "made up",
        )
    )
    keep_embeddings(review, [[1, 2]], np.ones((1, DIM)), model="made up")
    learning = Learning(review)
    review.confirm(1, version=0, who="Ada")
    learning.update()
    assert learning.learner.clips == 1 and learning.learner.counts.tolist() == [1, 1]
    review.reject(2, version=0, who="Ada")
    learning.update()
    assert learning.learner.clips == 1 and learning.learner.counts.tolist() == [1, 0]


def test_what_is_unlike_all_that_was_judged_comes_first(tmp_path: Path) -> None:
    review, right = make(tmp_path / "review")
    learning = Learning(review)
    judge(review, right, [number for number in range(1, 101) if right[number - 1]])
    asked = learning.unlike(limit=10)
    assert len({event.number for event in asked}) == 10
    assert not any(right[event.number - 1] for event in asked[:5])
    assert all(event.label.name == "Bark" for event in learning.unlike(Query(labels=("Bark",)), limit=100))
    for event in asked:
        review.reject(event.number, version=0, who="Ada")
    assert not {event.number for event in asked} & {event.number for event in learning.unlike(limit=50)}


def test_the_uncertain_ones_are_those_near_the_threshold_of_their_class(tmp_path: Path) -> None:
    review, _ = make(tmp_path / "review")
    review.set_threshold("Speech", 0.65)
    asked = review.uncertain(limit=COUNT)
    distances = [abs((event.score or 0) - (0.65 if event.label.name == "Speech" else 0.5)) for event in asked]
    assert len(asked) == COUNT and distances == sorted(distances)


def test_precision_counts_random_draws_only(tmp_path: Path) -> None:
    review, right = make(tmp_path / "review")
    assert math.isnan(review.precision("Bark").estimate)
    judge(review, right, [event.number for event in review.page(limit=30).events])
    assert review.precision("Bark").judged == 0, "the highest scores are no sample"
    drawn = review.draw(Query(labels=("Bark",)), limit=25)
    assert {event.number for event in review.draw(Query(labels=("Bark",)), limit=25)} == {one.number for one in drawn}
    assert all(event.drawn and event.label.name == "Bark" and event.status == "unreviewed" for event in drawn)
    judge(review, right, [event.number for event in drawn])
    sample = review.page(Query(drawn=True), limit=1000).events
    found = review.precision("Bark", 0.0)
    assert found.judged == len(sample) >= 25 and found.detections == COUNT / 2 and found.waiting == 0
    assert found.correct == sum(right[event.number - 1] for event in sample)
    assert (found.low, found.high) == wilson_interval(found.correct, found.judged)
    high = review.precision("Bark", 0.5)
    assert high.judged == sum((event.detected_score or 0) >= 0.5 for event in sample)
    assert review.precision("Speech", 0.0).judged == 0
    # A correction of the class is no confirmation of what the model said.
    wrong = next(event for event in sample if event.status == "confirmed")
    review.change_label(wrong.number, "Speech", version=wrong.version, who="Ada")
    assert review.precision("Bark", 0.0).correct == found.correct - 1


def test_draws_from_a_part_do_not_distort_the_whole(tmp_path: Path) -> None:
    review, right = make(tmp_path / "review")
    judge(review, right, [event.number for event in review.draw(Query(least_score=0.6), limit=30)])
    events = sorted(review.page(limit=1000).events, key=lambda event: event.number)
    found = review.precision("Bark", 0.0)
    assert found.judged < sum(event.drawn and event.label.name == "Bark" for event in events)
    assert review.precision("Bark", 0.6).judged == sum(event.drawn and event.label.name == "Bark" for event in events)


def test_the_threshold_for_a_precision_is_the_lowest_that_reaches_it(tmp_path: Path) -> None:
    review, _ = make(tmp_path / "review")
    for event in review.draw(limit=COUNT):
        verdict = review.confirm if (event.detected_score or 0) > 0.5 else review.reject
        verdict(event.number, version=0, who="Ada")
    found = review.threshold_for("Bark", 1.0)
    assert found is not None and 0.5 < found.threshold < 0.52 and found.estimate == 1.0
    loose = review.threshold_for("Bark", 0.8)
    assert loose is not None and loose.threshold < found.threshold and loose.estimate >= 0.8
    assert review.threshold_for("Bark", 1.0, least=COUNT) is None


@given(judged=st.integers(1, 300), share=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.8, 0.95, 0.99]))
def test_wilson_s_interval_solves_its_equation(judged: int, share: float, confidence: float) -> None:
    """Its ends p are those where the estimate lies z standard errors of p away."""
    from statistics import NormalDist

    correct = round(share * judged)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = wilson_interval(correct, judged, confidence)
    assert 0 <= low <= correct / judged <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert abs(correct / judged - end) == pytest.approx(z * math.sqrt(end * (1 - end) / judged), rel=1e-6)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 100))
def test_the_interval_holds_the_truth_about_as_often_as_it_says(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over the places of the random order: the sample is no better and no worse than the whole."""
    draws = np.random.default_rng(seed)
    truth = draws.random(500) < 0.7
    hits = 0
    for _ in range(200):
        sample = draws.permutation(truth)[:40]
        low, high = wilson_interval(int(sample.sum()), 40)
        hits += low <= truth.mean() <= high
    assert hits >= 180


def test_embeddings_of_another_model_are_refused(tmp_path: Path) -> None:
    review, _ = make(tmp_path / "review")
    for vectors, model in ((np.ones((1, DIM)), "other"), (np.ones((1, DIM + 1)), "made up")):
        with pytest.raises(OptionError, match="another model"):
            keep_embeddings(review, [[1]], vectors, model=model)
    with pytest.raises(OptionError, match="zero"):
        keep_embeddings(review, [[1]], np.zeros((1, DIM)), model="made up")
    with pytest.raises(OptionError, match="no embeddings"):
        Learning(ReviewStore.create(tmp_path / "other", LABELS))
