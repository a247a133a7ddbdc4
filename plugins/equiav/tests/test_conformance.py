import pytest

from audiotag.testing import parametrize_with_checks

SMALL = {
    "depth": 2,
    "width": 48,
    "heads": 2,
    "target_length": 96,
    "picture_size": 32,
    "projection_dim": 16,
    "projection_width": 24,
}


@parametrize_with_checks("audiotag-equiav", options=SMALL)
def test_conformance(check):
    check()


@pytest.mark.slow
@parametrize_with_checks("equiav", kind="backbone", options={**SMALL, "mode": "multimodal", "head": "mlp"})
def test_conformance_with_sound_and_pictures(check):
    check()


@pytest.mark.slow
@parametrize_with_checks("equiav", kind="backbone", options={**SMALL, "mode": "video_only", "inter_linear": False})
def test_conformance_with_pictures(check):
    check()
