import pickle

import pytest

from audiotag import errors
from audiotag.errors import AudiotagError, MissingExtraError, suggest

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
    error = MissingExtraError.for_package("matplotlib", "plots", "the HTML report")
    assert str(error) == (
        "the HTML report needs the package 'matplotlib', which is not installed. "
        "Install it with: pip install 'audiotag[plots]'."
    ).removesuffix(".")


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
