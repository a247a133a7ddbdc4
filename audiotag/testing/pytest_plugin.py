"""What pytest loads wherever audiotag is installed: the count of checks, and that each was really run.

It imports nothing but pytest, so that it costs other people's tests nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest


def _case(item: pytest.Item) -> Any:
    """The check that a test was made for by `parametrize_with_checks`, or None."""
    arguments = getattr(getattr(item, "callspec", None), "params", {})
    case = arguments.get("check")
    # By name: importing the class would import what the checks need.
    return case if type(case).__module__ == "audiotag.testing.marking" else None


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Fail a test that was given a check and did not call it."""
    result = yield
    case = _case(pyfuncitem)
    if case is not None and not case.called:
        pytest.fail("the test did not run its check; call it: check()", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Count what came of each check."""
    report = yield
    if call.when == "call" and _case(item) is not None:
        # A property of the report, which workers of pytest-xdist hand on.
        report.user_properties.append(("audiotag_check", _status(report)))
    return report


def _status(report: pytest.TestReport) -> str:
    expected = hasattr(report, "wasxfail")
    if report.outcome == "skipped":
        return "expected_failure" if expected else "skipped"
    if report.outcome == "failed" and str(report.longrepr).startswith("[XPASS(strict)]"):
        return "unexpected_pass"
    return report.outcome


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print how many checks were run."""
    counts: dict[str, int] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, status in getattr(report, "user_properties", ()):
                if name == "audiotag_check":
                    counts[status] = counts.get(status, 0) + 1
    if counts:
        from audiotag.testing.running import summary_line

        terminalreporter.write_sep("-", summary_line(counts))
