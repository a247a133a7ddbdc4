import pytest

from audiotag.testing import parametrize_with_checks


@parametrize_with_checks("audiotag-mobilenet-baseline", options={"width_mult": 0.1})
def test_conformance(check):
    check()


@pytest.mark.slow
@parametrize_with_checks("fmn", options={"width_mult": 0.1, "seq_model": "tf", "seq_dim": 16})
def test_conformance_with_attention(check):
    check()


@pytest.mark.slow
@parametrize_with_checks("fmn", options={"width_mult": 0.1, "seq_model": "hybrid", "seq_dim": 16})
def test_conformance_with_attention_and_recurrence(check):
    check()


@pytest.mark.slow
@parametrize_with_checks("fmn", options={"width_mult": 0.1, "seq_model": "gru", "seq_dim": 12})
def test_conformance_with_a_gru(check):
    check()
