"""The core's own networks, losses, formats and policies pass the kit."""

from audiotag.testing import parametrize_with_checks


@parametrize_with_checks("audiotag", options={"architecture": "mobilenetv3_small_050"})
def test_conformance(check):
    check()
