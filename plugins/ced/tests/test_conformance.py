from audiotag.testing import parametrize_with_checks


@parametrize_with_checks("audiotag-ced", options={"depth": 2})
def test_conformance(check):
    check()
