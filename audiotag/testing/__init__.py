"""The conformance kit: what every plugin must keep to, as small named checks.

A plugin's own test of it is a few lines:

    from audiotag.testing import parametrize_with_checks

    @parametrize_with_checks("my-plugin")
    def test_conformance(check):
        check()

``audiotag plugins check NAME`` runs the same checks, and so does `run_checks`. Names are resolved on first use, so that
importing the package costs nothing.
"""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
