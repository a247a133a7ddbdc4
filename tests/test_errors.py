import pickle

import pytest

from audiotag import errors
from audiotag.errors import AudiotagError, MissingExtraError, OptionError, command_line, needed_for, suggest

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AudiotagError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_pass_between_processes_whole(kind):
    error = pickle.loads(pickle.dumps(kind("it broke", where="clip.wav", fix="Mend it.")))
    assert type(error) is kind
    assert (error.what, error.where, error.fix) == ("it broke", "clip.wav", "Mend it.")
    assert str(error) == "clip.wav: it broke. Mend it."


def test_parts_may_be_left_out():
    assert str(AudiotagError("it broke")) == "it broke."
    assert str(AudiotagError("it broke.", fix="Mend it.")) == "it broke. Mend it."
    assert AudiotagError("it broke", where=3).where == "3"


def test_every_error_is_an_audiotag_error_with_a_word_of_explanation():
    assert len(KINDS) > 10
    assert all(kind.__doc__ for kind in KINDS)


def test_a_missing_extra_says_what_to_install():
    with pytest.raises(MissingExtraError) as caught, needed_for("the HTML report"):
        raise ModuleNotFoundError(name="matplotlib.figure")
    assert str(caught.value) == (
        "the HTML report needs the package 'matplotlib.figure', which is not installed. "
        "Install it with: pip install 'audiotag[plots]'"
    )


def test_other_missing_packages_are_no_extra():
    for error in (ModuleNotFoundError(name="torchlight"), ModuleNotFoundError(), ImportError(name="torch")):
        with pytest.raises(ImportError) as caught, needed_for("the HTML report"):
            raise error
        assert caught.value is error


def test_a_plugin_names_what_brings_its_own_packages():
    extras = {"owl_ears": "audiotag-owls[ears]"}
    with (
        pytest.raises(MissingExtraError, match=r"pip install 'audiotag-owls\[ears\]'"),
        needed_for("owls", extras=extras),
    ):
        raise ModuleNotFoundError(name="owl_ears")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mn10_sa", "Did you mean 'mn10_as'?"),
        ("MN10_AS", "Did you mean 'mn10_as'?"),
        ("nothing like it", None),
    ],
)
def test_suggestions_are_close_and_ignore_case(name, expected):
    assert suggest(name, ["mn10_as", "equiav", "psla"]) == expected


def test_suggestions_are_few():
    text = suggest("mn1_as", [f"mn{width}0_as" for width in range(1, 9)])
    assert text.count("'") == 6


@pytest.mark.parametrize(
    ("said", "in_python"),
    [
        ("Give --val, or --val-fraction 0", "Give val=, or val_fraction=0"),
        ("Leave --test, --val and --fold out", "Leave test=, val= and fold= out"),
        ("Use --loss=bce, or --multi-label", "Use loss='bce', or single_label=False"),
        ("Begin from --backbone=runs/a/last", "Begin from backbone='runs/a/last'"),
        ("Replace it with --overwrite", "Replace it with overwrite=True"),
        ("Go on with: audiotag finetune --resume runs/a", "Go on with: audiotag finetune --resume runs/a"),
        ("Run `audiotag models verify --all`", "Run `audiotag models verify --all`"),
        ("Install it with: pip install --upgrade audiotag", "Install it with: pip install --upgrade audiotag"),
    ],
)
def test_options_are_named_in_the_words_of_the_interface_that_the_user_is_in(said: str, in_python: str) -> None:
    raised = OptionError("it cannot be", where="my--fold.wav", fix=f"{said}.")
    assert str(raised) == f"my--fold.wav: it cannot be. {in_python}."
    with command_line():
        told = OptionError(raised.what, where=raised.where, fix=raised.fix)
        assert str(pickle.loads(pickle.dumps(raised))) == str(told)
    assert str(told) == f"my--fold.wav: it cannot be. {said}."
