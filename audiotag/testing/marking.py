"""The checks as tests of pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from audiotag.testing.check import CheckFailedError, CheckSkippedError
from audiotag.testing.running import Case, plan_checks, reason_for


class PytestCase:
    """A check as the argument ``check`` of a test: calling it runs it.

    Attributes:
        case: The check and what it looks at.
        called: Whether it was run.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.called = False

    def __call__(self) -> None:
        """Run the check; a failure fails the test, and where there is nothing to look at the test is skipped."""
        __tracebackhide__ = True
        self.called = True
        try:
            self.case()
        except CheckSkippedError as error:
            pytest.skip(str(error))

    def __repr__(self) -> str:
        return self.case.id


def parametrize_with_checks(
    name: str,
    *,
    kind: str | None = None,
    options: Mapping[str, Any] | None = None,
    source: str | Path | None = None,
    thorough: bool = False,
    expected_failures: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a test function one test for each check of a plugin; the function calls its argument ``check``.

    Arguments and errors are those of `audiotag.testing.run_checks`. An expected failure that passes fails the test. A
    test that does not call ``check`` fails.
    """
    expected_failures = dict(expected_failures or {})
    cases = plan_checks(
        name, kind=kind, options=options, source=source, thorough=thorough, expected_failures=expected_failures
    )
    parameters = []
    for case in cases:
        reason = reason_for(case, expected_failures)
        marks = []
        if reason is not None:
            marks.append(pytest.mark.xfail(reason=reason, strict=True, raises=CheckFailedError))
        parameters.append(pytest.param(PytestCase(case), id=case.id, marks=marks))
    return pytest.mark.parametrize("check", parameters)
