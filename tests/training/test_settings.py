"""Settings from several places: what wins, and what goes with what it belonged to."""

import dataclasses
import math
import re
from typing import Literal, get_args, get_origin, get_type_hints

import click
import numpy as np
import pytest

from audiotag.cli.finetune import finetune
from audiotag.errors import OptionError
from audiotag.training.settings import _CHOICES, Settings
from audiotag.training.settings_layers import layered, read_toml, write_toml

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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1.5),
        ("epochs", 0),
        ("epochs", 10**4000),
        ("epochs", True),
        ("epochs", "3"),
        ("batch_size", True),
        ("batch_size", 0),
        ("seconds", math.inf),
        ("seconds", math.nan),
        ("seconds", 0.0),
        ("seconds", 10**400),
        ("seconds", 1e9),
        ("betas", [0.9]),
        ("betas", [0.9, "x"]),
        ("betas", [0.9, 1.0]),
        ("betas", 0.9),
        ("betas", None),
        ("freeze_backbone", 1),
        ("freeze_backbone", "no"),
        ("loss", 3),
        ("loss", ["bce"]),
        ("loss_options", [1]),
        ("sampler_options", {1: 2}),
        ("optimiser", "lion"),
        ("optimiser", ["sgd"]),
        ("schedule", {}),
        ("learning_rate", -1.0),
        ("learning_rate", math.nan),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("final_lr", -1.0),
        ("roll_frames", -1),
        ("roll_frames", 1.0),
        ("mixup_rate", 1.1),
        ("ema_decay", 1.0),
        ("seed", 0.5),
        ("seed", 10**30),
        ("devices", 0),
        ("workers", -1),
        ("workers", 10**6),
        ("device", 3),
        ("precision", 32),
        ("metric", "loss"),
        ("batch_norm_momentum", 0.0),
        ("audio_cache_gb", math.inf),
        ("audio_cache_gb", 1e308),
        ("time_shift", 1e300),
        ("head_lr_ratio", 1e308),
        ("gain_db", 1e5),
        ("keep_epochs", "yes"),
        ("summary", 0),
        ("temperature", 0.0),
        ("average_from", -1),
        ("mask_with", None),
    ],
)
def test_values_of_the_wrong_type_or_size_are_refused_by_name(name, value, tmp_path):
    with pytest.raises(OptionError, match=rf"my.toml: {name} is .*Give "):
        Settings.from_dict({name: value}, where="my.toml")


def test_every_number_has_a_range_and_every_word_of_few_its_choices():
    from audiotag.training import settings as module

    for one in dataclasses.fields(Settings):
        hint = get_type_hints(Settings)[one.name]
        if {int, float} & {hint, *get_args(hint)}:
            assert one.name in module._RANGES, one.name
        if get_origin(hint) is Literal:
            assert set(module._CHOICES[one.name]) == set(get_args(hint))


def test_numbers_of_numpy_are_numbers():
    settings = Settings(epochs=np.int64(3), learning_rate=np.float32(0.5), betas=[0.5, 0.75])
    assert type(settings.epochs) is int and type(settings.learning_rate) is float and settings.betas == (0.5, 0.75)


@pytest.mark.parametrize(
    "text", ["seed = " + "9" * 5000, "seconds = inf", "betas = [0.9]", "epochs = 1.5", "x" * 10, "a." * 9999]
)
def test_a_damaged_file_of_settings_is_one_error(text, tmp_path):
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(OptionError, match=r"settings\.toml"):
        Settings.from_dict(read_toml(tmp_path / "settings.toml"), where=tmp_path / "settings.toml")


def test_none_among_the_options_of_a_sampler_can_be_written(tmp_path):
    settings = Settings(sampler_options={"clips_per_epoch": None, "offset": 2.0, "weights": (1.0, 2.0)})
    write_toml(settings.to_dict(), tmp_path / "settings.toml")
    assert read_toml(tmp_path / "settings.toml")["sampler_options"] == {"offset": 2.0, "weights": [1.0, 2.0]}


def test_the_command_has_an_option_of_the_right_kind_for_every_setting():
    kinds = {int: click.INT, float: click.FLOAT, str: click.STRING, bool: click.BOOL}
    options = {option.name: option for option in finetune.params}
    hints = get_type_hints(Settings)
    elsewhere = {"freeze_backbone", "loss_options", "sampler_options", "betas"}
    assert {name for name in hints if name not in options} == {"betas"}
    for name, hint in hints.items():
        if name in elsewhere:
            continue
        option = options[name]
        assert option.default is None, f"{name}: defaults belong to the settings"
        kind = next((one for one in get_args(hint) if one in kinds), hint)
        if isinstance(option.type, click.Choice):
            assert list(option.type.choices) and set(option.type.choices) == set(_CHOICES[name]), name
        else:
            assert option.type.name == kinds[kind].name, name


def test_what_the_help_calls_a_default_is_one():
    resolved = Settings().resolved(single_label=False, pretrained=True)
    for option in finetune.params:
        text = getattr(option, "help", None) or ""
        stated = re.search(r"\[default: (-?[\d.e-]+|[a-z]+)[,;\]]", text)
        value = getattr(resolved, option.name, None) if option.name in get_type_hints(Settings) else None
        if (
            stated is None
            or value is None
            or isinstance(value, bool)
            or stated[1] in ("none", "ce", "no", "accuracy", "the")
        ):
            continue
        assert str(value) == stated[1] or float(stated[1]) == value, option.name
