"""The conformance kit: what every plugin must keep to, as small named checks.

A plugin's own test of it is a few lines:

    from audiotag.testing import parametrize_with_checks

    @parametrize_with_checks("my-plugin")
    def test_conformance(check):
        check()

``audiotag plugins check NAME`` runs the same checks, and so does `run_checks`. Names are resolved on first use, so that
importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiotag.testing.catalogue import all_checks as all_checks
    from audiotag.testing.check import Check as Check
    from audiotag.testing.marking import parametrize_with_checks as parametrize_with_checks
    from audiotag.testing.running import CheckResult as CheckResult
    from audiotag.testing.running import Report as Report
    from audiotag.testing.running import run_checks as run_checks

_PUBLIC = {
    "Check": "audiotag.testing.check",
    "CheckResult": "audiotag.testing.running",
    "Report": "audiotag.testing.running",
    "all_checks": "audiotag.testing.catalogue",
    "parametrize_with_checks": "audiotag.testing.marking",
    "run_checks": "audiotag.testing.running",
}

__all__ = ["Check", "CheckResult", "Report", "all_checks", "parametrize_with_checks", "run_checks"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
