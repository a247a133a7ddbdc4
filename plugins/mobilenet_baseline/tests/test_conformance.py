from audiotag.testing import parametrize_with_checks


@parametrize_with_checks("audiotag-mobilenet-baseline", options={"width_mult": 0.1})
def test_conformance(check):
    check()
