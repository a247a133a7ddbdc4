"""The checks as tests of pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import pytest

from audiotag.testing.check import CheckFailedError, CheckSkippedError
from audiotag.testing.running import Case, plan_checks, reason_for
from audiotag.testing.subjects import Wanted


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
    name: str, *, expected_failures: Mapping[str, str] | None = None, **wanted: Unpack[Wanted]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a test function one test for each check of a plugin; the function calls its argument ``check``.

    Arguments and errors are those of `audiotag.testing.run_checks`. An expected failure that passes fails the test. A
    test that does not call ``check`` fails.
    """
    parameters = []
    for case in plan_checks(name, expected_failures=expected_failures, **wanted):
        reason = reason_for(case, expected_failures or {})
        marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True, raises=CheckFailedError)]
        parameters.append(pytest.param(PytestCase(case), id=case.id, marks=marks))
    return pytest.mark.parametrize("check", parameters)
