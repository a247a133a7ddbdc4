"""Settings from several places: what wins, and what goes with what it belonged to."""

import math
import re
from typing import get_args

import click
import numpy as np
import pytest

from audiotag.cli.finetune import finetune
from audiotag.cli.online import online
from audiotag.continual.online_settings import OnlineSettings
from audiotag.errors import OptionError
from audiotag.settings import declared, layered, read_settings, write_settings
from audiotag.training.settings import Settings, Situation

STEP = {"schedule": "step", "ramp_start": 10.0, "step_every": 5.0, "warmup": 0.0, "learning_rate": 0.1}
BALANCED = {"sampler": "balanced", "sampler_options": {"offset": 0.01, "replacement": True}}


def test_later_places_win():
    assert layered(Settings, {"epochs": 3, "seed": 1}, {"epochs": 4}, {"seed": 2}) == {"epochs": 4, "seed": 2}


def test_another_schedule_drops_what_shaped_the_first():
    merged = layered(Settings, STEP, {}, {"schedule": "cosine", "epochs": 5})
    assert merged == {"schedule": "cosine", "learning_rate": 0.1, "epochs": 5}
    Settings(**merged).resolve(Situation(single_label=False, pretrained=False))
    assert layered(Settings, STEP, {"step_every": 2.0}) == {**STEP, "step_every": 2.0}
    assert layered(Settings, STEP, {"schedule": "step"}) == STEP
    assert layered(Settings, STEP, {"schedule": "linear", "ramp_start": 3.0})["ramp_start"] == 3.0


def test_options_of_the_sampler_win_one_by_one():
    merged = layered(Settings, BALANCED, {"sampler_options": {"offset": 1.0}})
    assert merged["sampler_options"] == {"offset": 1.0, "replacement": True}
    assert BALANCED["sampler_options"]["offset"] == 0.01


def test_another_sampler_drops_the_options_of_the_first():
    assert layered(Settings, BALANCED, {"sampler": "shuffle"}) == {"sampler": "shuffle"}
    assert layered(Settings, BALANCED, {"sampler": "mine", "sampler_options": {"x": 1}}) == {
        "sampler": "mine",
        "sampler_options": {"x": 1},
    }


def test_another_loss_drops_the_options_of_the_first():
    assert layered(Settings, {"loss": "focal", "loss_options": {"gamma": 2}}, {"loss": "bce"}) == {"loss": "bce"}


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


@pytest.mark.parametrize("group", [Settings, OnlineSettings])
def test_every_number_has_a_range_and_every_setting_a_meaning(group):
    for name, one in declared(group).items():
        assert one.help.endswith("."), name
        if {int, float} & {one.hint, *get_args(one.hint)}:
            assert one.range is not None, name


def test_numbers_of_numpy_are_numbers():
    settings = Settings(epochs=np.int64(3), learning_rate=np.float32(0.5), betas=[0.5, 0.75])
    assert type(settings.epochs) is int and type(settings.learning_rate) is float and settings.betas == (0.5, 0.75)


@pytest.mark.parametrize(
    "text", ["seed = " + "9" * 5000, "seconds = inf", "betas = [0.9]", "epochs = 1.5", "x" * 10, "a." * 9999]
)
def test_a_damaged_file_of_settings_is_one_error(text, tmp_path):
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(OptionError, match=r"settings\.toml"):
        Settings.from_dict(read_settings(tmp_path / "settings.toml"), where=tmp_path / "settings.toml")


def test_none_among_the_options_of_a_sampler_can_be_written(tmp_path):
    settings = Settings(sampler_options={"clips_per_epoch": None, "offset": 2.0, "weights": (1.0, 2.0)})
    write_settings(settings, tmp_path / "settings.toml")
    assert read_settings(tmp_path / "settings.toml")["sampler_options"] == {"offset": 2.0, "weights": [1.0, 2.0]}


@pytest.mark.parametrize(("command", "group"), [(finetune, Settings), (online, OnlineSettings)])
def test_the_command_has_an_option_of_the_right_kind_for_every_setting(command, group):
    kinds = {int: click.INT, float: click.FLOAT, str: click.STRING, bool: click.BOOL}
    options = {option.name: option for option in command.params}
    for name, one in declared(group).items():
        option = options[name]
        assert option.default is None, f"{name}: defaults belong to the settings"
        assert one.default_text in option.help, name
        kind = next((kind for kind in (one.hint, *get_args(one.hint)) if kind in kinds), str)
        if isinstance(option.type, click.Choice):
            assert tuple(option.type.choices) == one.words, name
        else:
            assert option.type.name == kinds[kind].name, name


def test_what_the_help_calls_a_default_is_one():
    resolved = Settings().resolve(Situation(single_label=False, pretrained=True))
    stated = 0
    for name, one in declared(Settings).items():
        number = re.match(r"-?[\d.]+(e-?\d+)?", one.default_text)
        if number and one.range is not None and "teacher" not in one.default_text:
            value = getattr(resolved, name)
            assert (value[0] if isinstance(value, tuple) else value) in (float(number[0]), None), name
            stated += 1
    assert stated > 30


def test_a_setting_that_is_open_cannot_be_read():
    settings = Settings(epochs=3, learning_rate=None)
    with pytest.raises(AttributeError, match="learning_rate is open"):
        _ = settings.learning_rate
    assert settings == Settings(epochs=3) != Settings(epochs=4)
    assert "epochs=3" in repr(settings) and "learning_rate" not in repr(settings)


BOTH = ("waveform", "spectrogram")


def test_defaults_follow_the_situation_and_the_other_settings():
    def resolved(single_label=False, pretrained=True, bears=BOTH, taught=False, **given):
        situation = Situation(single_label=single_label, pretrained=pretrained, bears=bears, taught=taught)
        return Settings(**given).resolve(situation)

    assert (resolved().epochs, resolved(pretrained=False).epochs, resolved(freeze_backbone=True).epochs) == (
        15,
        30,
        100,
    )
    assert (resolved(single_label=True).loss, resolved(single_label=True).metric) == ("ce", "accuracy")
    assert (resolved(epochs=10).warmup, resolved(epochs=10, warmup_steps=5).warmup) == (1.0, 0.0)
    assert (resolved(taught=True).distill_weight, resolved().distill_weight) == (0.9, 0.0)
    assert resolved(bears=(), gain_db=3.0, noise=0.1).noise == 0
    heard = resolved(bears=("waveform",))
    assert (heard.gain_db, heard.time_shift, heard.frequency_mask, heard.time_mask) == (6.0, 0.5, 0, 0)
    with pytest.raises(OptionError, match=r"mixstyle_rate, time_mask do not suit this network"):
        resolved(bears=("waveform",), time_mask=8, mixstyle_rate=0.5)
    assert list(resolved(average_from=3, epochs=5).averaged) == [3, 4, 5]
    with pytest.raises(OptionError, match=r"gain_db cannot be used with a frozen backbone"):
        resolved(freeze_backbone=True, gain_db=3.0)
