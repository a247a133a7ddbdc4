"""The head kept up from clip to clip is that of the sums, but for a penalty that lags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audiotag import AnalyticLearner, LabelSet
from audiotag.models.following import Following
from audiotag.models.ridge import calibrated, inverse_at, solve

NAMES = ["bell", "knock", "bark"]
DIM = 7


def clips(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    classes = np.arange(count) % len(NAMES)
    return 2 * np.eye(len(NAMES), DIM)[classes] + generator.standard_normal((count, DIM)), classes


def made(**settings: Any) -> AnalyticLearner:
    return AnalyticLearner(LabelSet.from_names(NAMES), DIM, **settings)


@pytest.mark.parametrize("settings", [{}, {"single_label": False}, {"forgetting": 0.97}])
@pytest.mark.parametrize("count", [3, 90, 200])
def test_with_the_same_penalty_it_is_exact(
    settings: dict[str, Any], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiotag.models.following._DRIFT", np.inf)
    embeddings, classes = clips(count)
    one = made(penalty=0.3, **settings)
    last = made(penalty=0.3 * settings.get("forgetting", 1.0) ** (count - 2), **settings)
    for learner in (one, last):
        learner.learn_clips(embeddings[:2], [NAMES[place] for place in classes[:2]])
    quick = Following(one)
    for number in range(2, count):
        quick.learn(embeddings[number], [int(classes[number])], 1.0 + number % 3)
        last.learn(embeddings[number], NAMES[classes[number]], 1.0 + number % 3)
    assert (one.sums.gram == last.sums.gram).all() and (one.counts == last.counts).all()
    for found, exact in zip(quick.head(), last.linear(), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-9)
    quick.refresh()
    for found, exact in zip(quick.head(), one.linear(), strict=True):
        np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("settings", [{}, {"single_label": False}, {"forgetting": 0.95}])
def test_the_penalty_follows_the_spread_of_the_clips(settings: dict[str, Any]) -> None:
    one = made(**settings)
    quick = Following(one)
    embeddings, classes = clips(300)
    for embedding, place in zip(embeddings, classes, strict=True):
        quick.learn(embedding, [int(place)])
        weight, bias = quick.head()
        assert np.isfinite(weight).all() and np.isfinite(bias).all()
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    logits = unit @ weight.T + bias
    exact = one.decisions(embeddings)
    assert (logits.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.98
    assert np.abs(logits - exact).max() < 0.2 * np.abs(exact).max()


@pytest.mark.parametrize("settings", [{}, {"single_label": False}, {"forgetting": 0.97}, {"penalty": 0.3}])
def test_from_the_first_clip_on_it_is_what_solving_gives(settings: dict[str, Any]) -> None:
    """Through few clips, many, and all changes of the penalty, which is chosen where the clips spread twice as far."""
    generator = np.random.default_rng(1)
    labels = LabelSet.from_names(NAMES)
    one, last = (AnalyticLearner(labels, 24, **settings) for _ in range(2))
    quick = Following(one)
    penalty = spread = factor = 1.0
    choices = 0
    for number in range(80):
        place = int(generator.integers(len(NAMES)))
        embedding = 2 * np.eye(len(NAMES), 24)[place] + generator.standard_normal(24)
        quick.learn(embedding, [place], 1.0 + number % 3)
        last.learn(embedding, NAMES[place], 1.0 + number % 3)
        factor *= last.forgetting
        if number == 0 or not spread / 2 <= last.sums.trace / factor <= spread * 2:
            penalty, spread, factor, choices = last.chosen_penalty(), last.sums.trace, 1.0, choices + 1
        exact = solve(last.sums, penalty * factor, inverse_at(last.sums, penalty * factor))
        weight, bias = calibrated(last.sums, exact, single_label=last.single_label)
        scale = max(np.abs(weight).max(), 1.0)
        np.testing.assert_allclose(quick.head()[0] / scale, weight.T / scale, rtol=0, atol=1e-9)
        np.testing.assert_allclose(quick.head()[1] / scale, bias / scale, rtol=1e-9, atol=1e-9)
    assert choices > 5
    assert (one.sums.gram == last.sums.gram).all()


def test_the_first_clip_is_known_at_once() -> None:
    quick = Following(made())
    assert (quick.head()[1] == -1e4).all()
    quick.learn(np.ones(DIM), [1])
    weight, bias = quick.head()
    assert (np.ones(DIM) / np.sqrt(DIM) @ weight.T + bias).argmax() == 1
