"""Settings from several places: what wins, and what goes with what it belonged to."""

from audiotag.training.settings import Settings
from audiotag.training.settings_layers import layered

STEP = {"schedule": "step", "ramp_start": 10.0, "step_every": 5.0, "warmup": 0.0, "learning_rate": 0.1}
BALANCED = {"sampler": "balanced", "sampler_options": {"offset": 0.01, "replacement": True}}


def test_later_places_win():
    assert layered({"epochs": 3, "seed": 1}, {"epochs": 4}, {"seed": 2}) == {"epochs": 4, "seed": 2}


def test_another_schedule_drops_what_shaped_the_first():
    merged = layered(STEP, {}, {"schedule": "cosine", "epochs": 5})
    assert merged == {"schedule": "cosine", "learning_rate": 0.1, "epochs": 5}
    Settings(**merged).resolved(single_label=False, pretrained=False)
    assert layered(STEP, {"step_every": 2.0}) == {**STEP, "step_every": 2.0}
    assert layered(STEP, {"schedule": "step"}) == STEP
    assert layered(STEP, {"schedule": "linear", "ramp_start": 3.0})["ramp_start"] == 3.0


def test_options_of_the_sampler_win_one_by_one():
    merged = layered(BALANCED, {"sampler_options": {"offset": 1.0}})
    assert merged["sampler_options"] == {"offset": 1.0, "replacement": True}
    assert BALANCED["sampler_options"]["offset"] == 0.01


def test_another_sampler_drops_the_options_of_the_first():
    assert layered(BALANCED, {"sampler": "shuffle"}) == {"sampler": "shuffle"}
    assert layered(BALANCED, {"sampler": "mine", "sampler_options": {"x": 1}}) == {
        "sampler": "mine",
        "sampler_options": {"x": 1},
    }


def test_another_loss_drops_the_options_of_the_first():
    assert layered({"loss": "focal", "loss_options": {"gamma": 2}}, {"loss": "bce"}) == {"loss": "bce"}
