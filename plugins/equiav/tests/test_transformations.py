"""For each transformation: the vector describes what was done to the spectrogram or picture, along the right axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from audiotag_equiav.transformations import (
    PICTURE_SIZES,
    SOUND_SIZES,
    apply_picture,
    apply_sound,
    draw_picture,
    draw_sound,
)

from audiotag.plugin import OptionError, numpy_generator

BANDS, FRAMES, PIXELS = 16, 40, 32


def spectrogram() -> torch.Tensor:
    """(16 bands, 40 frames); no two values are alike."""
    return torch.arange(BANDS * FRAMES, dtype=torch.float32).reshape(BANDS, FRAMES) / 100 - 3


def picture() -> torch.Tensor:
    return torch.rand(3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))


def sound_vector(**fields: float) -> torch.Tensor:
    """Everything off, but for the fields ``n5=…``."""
    vector = torch.zeros(1, 24)
    vector[0, 13:17] = torch.arange(4)
    for name, value in fields.items():
        vector[0, int(name[1:])] = value
    return vector


def picture_vector(**fields: float) -> torch.Tensor:
    vector = torch.zeros(1, 21)
    vector[0, 6:10] = torch.arange(4)
    for name, value in fields.items():
        vector[0, int(name[1:])] = value
    return vector


def transform_sound(given: torch.Tensor, **fields: float) -> torch.Tensor:
    return apply_sound(given[None], sound_vector(**fields), fill=-9.0)[0]


def transform_picture(given: torch.Tensor, **fields: float) -> torch.Tensor:
    return apply_picture(given[None], picture_vector(**fields))[0]


def test_nothing_is_changed_by_a_vector_that_is_off() -> None:
    assert torch.equal(transform_sound(spectrogram()), spectrogram())
    assert torch.equal(transform_picture(picture()), picture())


def test_masks_cover_the_frames_and_bands_that_the_vector_names() -> None:
    given = spectrogram()
    done = transform_sound(given, n0=1, n1=10 / FRAMES, n2=15 / FRAMES, n3=4 / BANDS, n4=7 / BANDS)
    expected = given.clone()
    expected[:, 10:15] = -9.0
    expected[4:7, :] = -9.0
    assert torch.equal(done, expected)
    assert torch.equal(given, spectrogram())  # the original is left alone


def test_the_shift_moves_frames_to_the_right_and_around() -> None:
    done = transform_sound(spectrogram(), n5=1, n6=0.25)
    assert torch.equal(done[:, 10:], spectrogram()[:, :30])
    assert torch.equal(done[:, :10], spectrogram()[:, 30:])
    assert torch.equal(transform_sound(spectrogram(), n5=1, n6=-0.25)[:, :30], spectrogram()[:, 10:])


def test_a_crop_of_sound_has_time_first_and_bands_second() -> None:
    by_time = torch.linspace(0, 1, FRAMES).expand(BANDS, FRAMES)
    done = transform_sound(by_time, n7=1, n8=0.5, n9=0, n10=0.25, n11=1)
    assert float(done.min()) >= 0.48 and float(done.max()) <= 0.77
    by_band = torch.linspace(0, 1, BANDS)[:, None].expand(BANDS, FRAMES)
    assert torch.allclose(transform_sound(by_band, n7=1, n8=0.5, n9=0, n10=0.25, n11=1), by_band, atol=1e-5)
    upper = transform_sound(by_band, n7=1, n8=0, n9=0.5, n10=1, n11=0.5)
    assert float(upper.min()) >= 0.5 and float(upper.max()) == pytest.approx(1.0)
    assert torch.allclose(transform_sound(by_time, n7=1, n8=0, n9=0.5, n10=1, n11=0.5), by_time, atol=1e-5)


def test_a_crop_of_a_picture_has_rows_first_and_columns_second() -> None:
    rows = torch.linspace(0, 1, PIXELS)[None, :, None].expand(3, PIXELS, PIXELS)
    done = transform_picture(rows, n0=1, n1=0.5, n2=0, n3=0.25, n4=1)
    assert float(done.min()) >= 0.49 and float(done.max()) <= 0.76
    done = transform_picture(rows.transpose(1, 2), n0=1, n1=0, n2=0.25, n3=1, n4=0.5)
    assert float(done.min()) >= 0.24 and float(done.max()) <= 0.76


def test_jitter_of_a_picture_follows_its_amounts_and_order() -> None:
    given = picture() * 0.5
    bright = transform_picture(given, n5=1, n10=0.3)
    assert torch.allclose(bright, given * 1.3, atol=1e-6)
    flat = transform_picture(given, n5=1, n11=-0.4)
    assert torch.allclose(flat.std() / given.std(), torch.tensor(0.6), atol=0.05)
    pale = transform_picture(given, n5=1, n12=-0.4)
    assert float(pale.std(dim=0).mean()) == pytest.approx(0.6 * float(given.std(dim=0).mean()), rel=0.02)
    red = torch.tensor([0.8, 0.2, 0.2])[:, None, None].expand(3, PIXELS, PIXELS)
    turned = transform_picture(red, n5=1, n13=0.1)  # a tenth of a turn from red towards yellow
    assert float(turned[1].mean()) == pytest.approx(0.2 + 0.6 * 0.6, abs=0.01)
    assert torch.allclose(turned[0], red[0], atol=1e-5) and torch.allclose(turned[2], red[2], atol=1e-5)
    # Brightness clips before contrast sees it, or after.
    amounts = {"n5": 1.0, "n10": 0.4, "n11": 0.4}
    forward = transform_picture(picture(), **amounts, n6=0, n7=1, n8=2, n9=3)
    backward = transform_picture(picture(), **amounts, n6=1, n7=0, n8=2, n9=3)
    assert not torch.allclose(forward, backward, atol=1e-3)


def test_jitter_of_sound_is_that_of_a_grey_picture() -> None:
    given = spectrogram()
    low, high = given.min(), given.max()
    darker = transform_sound(given, n12=1, n17=-0.3)
    assert torch.allclose(darker, (given - low) * 0.7 + low, atol=1e-4)
    flatter = transform_sound(given, n12=1, n18=-0.4)
    assert float(flatter.std() / given.std()) == pytest.approx(0.6, abs=0.02)
    assert float(flatter.mean()) == pytest.approx(float(given.mean()), abs=0.02)
    assert torch.allclose(transform_sound(given, n12=1, n19=0.4, n20=0.1), given, atol=1e-4)
    assert float(darker.max()) < float(high)


def test_jitter_of_silence_is_silence() -> None:
    silence = torch.full((BANDS, FRAMES), -1.0)
    assert torch.allclose(transform_sound(silence, n12=1, n17=0.3, n18=0.3), silence, atol=1e-6)


def test_blur_has_the_deviation_that_the_vector_names() -> None:
    point = torch.zeros(33, 41)
    point[16, 20] = 1.0
    vector = sound_vector(n21=1, n22=1.5)
    done = apply_sound(point[None], vector)[0]
    for axis, centre in ((0, 16), (1, 20)):
        profile = done.sum(dim=1 - axis)
        places = torch.arange(len(profile)) - centre
        assert float((profile * places.square()).sum()) == pytest.approx(1.5**2, rel=0.05)
    picture_point = torch.zeros(3, 33, 33)
    picture_point[:, 16, 16] = 1.0
    blurred = transform_picture(picture_point, n14=1, n15=1.0)
    assert float((blurred[0].sum(dim=0) * (torch.arange(33) - 16).square()).sum()) == pytest.approx(1.0, rel=0.05)


def test_flips_turn_time_in_sound_and_columns_in_pictures() -> None:
    assert torch.equal(transform_sound(spectrogram(), n23=1), spectrogram().flip(1))
    assert torch.equal(transform_picture(picture(), n16=1), picture().flip(2))
    assert torch.equal(transform_picture(picture(), n20=1), picture().flip(1))


def test_grey_and_quarter_turns() -> None:
    grey = transform_picture(picture(), n17=1)
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[1], grey[2])
    corner = torch.zeros(3, PIXELS, PIXELS)
    corner[:, 0, -1] = 1.0  # above on the right; a quarter turn counter-clockwise brings it to the left
    assert float(transform_picture(corner, n18=1, n19=0.25)[0, 0, 0]) == 1.0
    assert float(transform_picture(corner, n18=1, n19=0.5)[0, -1, 0]) == 1.0


@pytest.mark.parametrize("size", SOUND_SIZES)
def test_shorter_sound_vectors_are_the_beginning_of_the_long_ones(size: int) -> None:
    long = draw_sound(20, numpy_generator(1), frames=FRAMES, bands=BANDS)
    short = draw_sound(20, numpy_generator(1), size=size, frames=FRAMES, bands=BANDS)
    assert np.array_equal(short, long[:, :size])
    cut = np.zeros_like(long)
    cut[:, :size] = short
    given = spectrogram().expand(20, -1, -1)
    done = apply_sound(given, torch.from_numpy(short))
    assert torch.equal(done, apply_sound(given, torch.from_numpy(cut)))


@pytest.mark.parametrize("size", PICTURE_SIZES)
def test_picture_vectors_of_both_sizes(size: int) -> None:
    vectors = draw_picture(20, numpy_generator(1), size=size, pixels=PIXELS)
    assert vectors.shape == (20, size)
    done = apply_picture(picture().expand(20, -1, -1, -1), torch.from_numpy(vectors))
    assert done.shape == (20, 3, PIXELS, PIXELS)
    assert float(done.min()) >= 0.0 and float(done.max()) <= 1.0


def test_drawn_sound_vectors_stay_in_their_ranges() -> None:
    vectors = draw_sound(4000, numpy_generator(0))
    on = vectors[:, 0] == 1
    assert on.mean() == pytest.approx(0.8, abs=0.03)
    assert not vectors[~on, 1:5].any()
    time, band = vectors[on, 2] - vectors[on, 1], vectors[on, 4] - vectors[on, 3]
    assert time.min() >= 0 and time.max() * 1024 <= 192.01 and time.max() * 1024 > 180
    assert band.min() >= 0 and band.max() * 128 <= 48.01 and band.max() * 128 > 45
    assert vectors[:, 5].all() and np.abs(vectors[:, 6]).max() <= 1
    area, aspect = vectors[:, 10] * vectors[:, 11], vectors[:, 11] * 128 / (vectors[:, 10] * 1024)
    assert area.min() > 0.07 and area.max() <= 1.0
    assert aspect.min() > 0.095 and aspect.max() < 0.195
    for begin, extent in ((8, 10), (9, 11)):
        assert (vectors[:, begin] >= 0).all() and (vectors[:, begin] + vectors[:, extent] <= 1.0001).all()
    jittered = vectors[:, 12] == 1
    assert jittered.mean() == pytest.approx(0.8, abs=0.03)
    assert (np.sort(vectors[:, 13:17], axis=1) == np.arange(4)).all()
    assert (vectors[~jittered, 13:17] == np.arange(4)).all() and not vectors[~jittered, 17:21].any()
    assert np.abs(vectors[:, 17:20]).max() <= 0.4 and np.abs(vectors[:, 20]).max() <= 0.1
    blurred = vectors[:, 21] == 1
    assert blurred.mean() == pytest.approx(0.5, abs=0.03)
    assert (vectors[blurred, 22] >= 0.1).all() and vectors[:, 22].max() <= 2.0 and not vectors[~blurred, 22].any()
    assert vectors[:, 23].mean() == pytest.approx(0.5, abs=0.03)


def test_drawn_picture_vectors_stay_in_their_ranges() -> None:
    vectors = draw_picture(4000, numpy_generator(0), size=21)
    aspect = vectors[:, 4] / vectors[:, 3]
    assert aspect.min() > 0.72 and aspect.max() < 1.38
    assert (vectors[:, 3] * vectors[:, 4]).min() > 0.07
    assert vectors[:, 5].mean() == pytest.approx(0.8, abs=0.03)
    assert vectors[:, 17].mean() == pytest.approx(0.2, abs=0.03)
    assert set(np.unique(vectors[:, 19])) == {0, 0.25, 0.5, 0.75}
    assert np.array_equal(vectors[:, 18] == 1, vectors[:, 19] > 0)


def test_drawing_repeats_itself_with_the_seed() -> None:
    assert np.array_equal(draw_sound(5, numpy_generator(4)), draw_sound(5, numpy_generator(4)))
    assert not np.array_equal(draw_sound(5, numpy_generator(4)), draw_sound(5, numpy_generator(5)))


def test_sizes_that_nobody_knows_are_refused() -> None:
    with pytest.raises(OptionError, match="7, 12, 21, 23, 24"):
        draw_sound(1, numpy_generator(0), size=20)
    with pytest.raises(OptionError, match="18, 21"):
        apply_picture(picture()[None], torch.zeros(1, 20))
