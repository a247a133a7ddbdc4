"""Times of a review: pages, verdicts, and new scores after a correction.

    OMP_NUM_THREADS=2 python benchmarks/review.py [--events 100000] [--embedded 10000] [--dim 960]

Detections are made up: embeddings lie around a centre for each class, and about half of the detections of a class are
of another.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.data.detections import Detections
from audiotag.labels import LabelSet
from audiotag.review import Learning, Query, ReviewStore, keep_embeddings

LABELS = LabelSet.from_names([f"class {number}" for number in range(50)])
RECORDINGS = 2000


def made_up(count: int, draws: np.random.Generator) -> Detections:
    onsets = draws.uniform(0, 3600, count)
    return Detections(
        recordings=draws.integers(0, RECORDINGS, count).astype(np.int32),
        indices=draws.integers(0, len(LABELS), count).astype(np.int32),
        onsets=onsets,
        offsets=onsets + draws.uniform(0.1, 10, count),
        scores=draws.random(count).astype(np.float32),
        names=[f"/sounds/{number}.wav" for number in range(RECORDINGS)],
        begins=[datetime(2026, 1, 1) + timedelta(hours=number) for number in range(RECORDINGS)],
        labels=LABELS,
        root=Path(),
        source="made up",
    )


def timed(what: str, work: Callable[[], Any], repeats: int = 20) -> Any:
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    print(f"{what:52} {1e3 * np.median(seconds):9.2f} ms   at most {1e3 * max(seconds):9.2f} ms")
    return result


def storage(folder: Path, count: int, draws: np.random.Generator) -> None:
    review = ReviewStore.create(folder, LABELS)
    detections = made_up(count, draws)
    timed(f"add {count} detections", lambda: review.add_detections(detections), 1)
    for order in ("score", "class", "date", "recording", "reviewed"):
        page = timed(f"page of 100, by {order}", lambda order=order: review.page(Query(order=order)))
        timed("    the next", lambda order=order, page=page: review.page(Query(order=order), after=page.after))
    queries = {
        "two classes": Query(labels=("class 3", "class 7")),
        "a class, scores from .9": Query(labels=("class 3",), least_score=0.9),
        "confirmed (none)": Query(status=("confirmed",)),
        "one day, by date": Query(begin=datetime(2026, 2, 1), end=datetime(2026, 2, 2), order="date"),
        "drawn (none)": Query(drawn=True),
    }
    for what, query in queries.items():
        timed(f"page of {what}", lambda query=query: review.page(query))
        timed("    count", lambda query=query: review.count(query))
    timed("counts of all classes", review.counts)
    timed("100 recordings", lambda: review.recordings(limit=100))
    timed("ask: uncertain", review.uncertain)
    timed("ask: random", review.draw)
    events = iter(review.page(limit=200).events)

    def confirm() -> None:
        event = next(events)
        review.confirm(event.number, version=event.version, who="Ada")

    timed("a verdict", confirm, 150)
    timed("undo", lambda: review.undo("Ada"))
    timed("precision of a class", lambda: review.precision("class 3"))
    timed("threshold for a precision", lambda: review.threshold_for("class 3", 0.9))
    review.close()


def learning(folder: Path, count: int, dim: int, draws: np.random.Generator) -> None:
    review = ReviewStore.create(folder, LABELS)
    detections = made_up(count, draws)
    review.add_detections(detections)
    truth = np.where(draws.random(count) < 0.5, detections.indices, draws.integers(0, len(LABELS), count))
    centres = draws.standard_normal((len(LABELS), dim))
    vectors = centres[truth] + 2 * draws.standard_normal((count, dim))
    numbers = range(1, count + 1)
    keep_embeddings(review, [[number] for number in numbers], vectors, model="made up")
    right = {number: truth[number - 1] == detections.indices[number - 1] for number in numbers}

    def precision_of_best() -> float:
        best = [event for label in LABELS.names for event in review.page(Query(labels=(label,)), limit=20).events]
        return float(np.mean([right[event.number] for event in best]))

    learner = Learning(review)
    print(f"right among the best 20 of each class, at first: {precision_of_best():.3f}")
    for event in review.draw(limit=500):
        judge = review.confirm if right[event.number] else review.reject
        judge(event.number, version=event.version, who="Ada")
    timed(f"new scores of {count} after 500 verdicts", learner.update, 1)
    print(f"right among the best 20 of each class, then:     {precision_of_best():.3f}")
    events = iter(review.uncertain(limit=20))

    def correct() -> None:
        event = next(events)
        review.reject(event.number, version=event.version, who="Ada")
        learner.update()

    timed(f"new scores of {count} after a correction", correct, 10)
    timed("ask: unlike", learner.unlike, 5)
    review.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--embedded", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=960)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        storage(Path(folder) / "storage", options.events, np.random.default_rng(0))
        learning(Path(folder) / "learning", options.embedded, options.dim, np.random.default_rng(1))


if __name__ == "__main__":
    main()
