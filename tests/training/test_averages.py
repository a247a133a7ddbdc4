"""Averages of weights along a run, by hand, without a run."""

import pytest
import torch

from audiotag.training.averaging import Averages, RunningAverage
from audiotag.training.settings import Settings


def _state(value, count=0):
    return {"weight": torch.tensor([float(value)]), "count": torch.tensor(count)}


def test_a_running_average_follows_its_rule():
    average = RunningAverage(0.5)
    expected = 1.0
    for step, value in enumerate([1.0, 3.0, -2.0, 8.0, 0.5] * 4, start=1):
        average.update(_state(value, step))
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert float(average.state()["weight"]) == pytest.approx(expected, abs=1e-5)
        assert int(average.state()["count"]) == step
        assert average.steps == step


def test_a_running_average_begins_with_the_weights_and_keeps_its_own():
    average, state = RunningAverage(0.9), _state(4.0)
    assert average.state() == {} and average.steps == 0
    average.update(state)
    state["weight"].fill_(100.0)
    assert average.state()["weight"].tolist() == [4.0]
    average.update(_state(0.0))  # d = min(0.9, 3 / 12)
    assert average.state()["weight"].tolist() == [1.0]
    assert state["weight"].tolist() == [100.0]


def test_a_running_average_goes_on_where_it_was():
    one, other = RunningAverage(0.3), RunningAverage(0.3)
    for value in (1.0, 5.0):
        one.update(_state(value))
    saved = one.state_dict()
    assert saved["steps"] == 2 and set(saved) == {"steps", "average"}
    other.load_state_dict({"steps": 2, "average": {key: value.clone() for key, value in saved["average"].items()}})
    for average in (one, other):
        average.update(_state(7.0, 3))
    assert one.steps == other.steps == 3
    assert all(torch.equal(value, other.state()[key]) for key, value in one.state().items())


class _Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def become(self, value):
        with torch.no_grad():
            self.weight.fill_(value)


def _run(averages, network, values, steps=1, first=1):
    for epoch, value in enumerate(values, start=first):
        network.become(value)
        for _ in range(steps):
            averages.after_step()
        averages.after_epoch(epoch)


def test_the_epochs_of_the_range_are_averaged():
    network = _Network()
    averages = Averages(Settings(epochs=5, average_from=2, average_to=3), network)
    _run(averages, network, [100.0])
    assert averages.results() == {}
    _run(averages, network, [1.0, 4.0, 100.0, 100.0], first=2)
    ((name, (weights, over)),) = averages.results().items()
    assert name == "averaged"
    assert {key: value.tolist() for key, value in weights.items()} == {"weight": [2.5]}
    assert over == {"count": 2, "first_epoch": 2, "last_epoch": 3}


@pytest.mark.parametrize(("epochs", "mean"), [(3, 2.0), (4, 8 / 3), (1, 1.0)])
def test_without_an_end_the_range_goes_to_the_last_epoch(epochs, mean):
    network = _Network()
    averages = Averages(Settings(epochs=epochs, average_from=1), network)
    _run(averages, network, [1.0, 2.0, 3.0, 14 / 3, 99.0])
    weights, over = averages.results()["averaged"]
    assert float(weights["weight"]) == pytest.approx(mean)
    assert over["count"] == over["last_epoch"] == epochs


def test_steps_are_averaged_with_the_decay_of_the_settings():
    network = _Network()
    averages = Averages(Settings(epochs=2, ema_decay=0.2), network)
    assert averages.results() == {}
    _run(averages, network, [5.0, 0.0], steps=2)  # d = min(0.2, …) from the second step on
    ((name, (weights, over)),) = averages.results().items()
    assert name == "ema"
    assert float(weights["weight"]) == pytest.approx(5.0 * 0.2 * 0.2)
    assert over == {"steps": 4, "decay": 0.2}


def test_a_run_that_asks_for_nothing_has_nothing():
    network = _Network()
    averages = Averages(Settings(epochs=2), network)
    _run(averages, network, [1.0, 2.0])
    assert averages.results() == {} and averages.state_dict() == {}
    averages.load_state_dict({})


def test_both_averages_go_on_where_they_were():
    network, other = _Network(), _Network()
    settings = Settings(epochs=4, average_from=1, ema_decay=0.5)
    whole, cut = Averages(settings, network), Averages(settings, other)
    _run(whole, network, [1.0, 2.0])
    saved = whole.state_dict()
    assert set(saved) == {"mean", "running"}
    cut.load_state_dict(_copy(saved))
    _run(whole, network, [3.0, 6.0], first=3)
    _run(cut, other, [3.0, 6.0], first=3)
    assert float(whole.results()["averaged"][0]["weight"]) == 3.0
    for name, (weights, over) in whole.results().items():
        assert over == cut.results()[name][1]
        assert torch.equal(weights["weight"], cut.results()[name][0]["weight"])


def _copy(state):
    """A copy that shares no tensor."""
    if isinstance(state, dict):
        return {key: _copy(value) for key, value in state.items()}
    return state.clone() if isinstance(state, torch.Tensor) else state
