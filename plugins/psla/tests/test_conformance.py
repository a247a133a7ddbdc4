from audiotag.testing import parametrize_with_checks


@parametrize_with_checks("audiotag-psla", options={"variant": "b0", "target_length": 96})
def test_conformance(check):
    check()
