import pytest

from audiotag.testing import parametrize_with_checks


@pytest.mark.slow  # 28 million parameters, whatever the options
@parametrize_with_checks("audiotag-convnext", options={"pad_seconds": 0.32})
def test_conformance(check):
    check()
