"""Running checks, and what came of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, Unpack, get_args

from audiotag.display import brief_repr
from audiotag.errors import OptionError, PluginError, suggest
from audiotag.testing.check import KINDS, REGISTERED, Check, CheckFailedError, CheckSkippedError
from audiotag.testing.subjects import Subject, Wanted, find_subjects

_MODULES = (
    "plugins",
    "descriptors",
    "backbones",
    "backbone_inputs",
    "backbone_heads",
    "backbone_adapters",
    "losses",
    "samplers",
    "stores",
    "datasets",
    "published_datasets",
    "augmentations",
    "optimisers",
    "metrics",
    "writers",
    "commands",
)
"""Modules of checks, in the order in which they are run and listed."""

Status = Literal["passed", "failed", "skipped", "expected_failure", "unexpected_pass"]


@brief_repr
@dataclass(frozen=True)
class CheckResult:
    """What came of one check.

    Attributes:
        subject: What was checked, kind and name.
        check: Name of the check.
        status: ``passed``, ``failed``, ``skipped`` (nothing to look at), ``expected_failure``, or ``unexpected_pass``
            (it was expected to fail and did not, which counts as a failure).
        message: What is wrong, or why it was skipped or expected to fail; empty for a pass.
        seconds: How long it took.
    """

    subject: str
    check: str
    status: Status
    message: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return self.status not in ("failed", "unexpected_pass")

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON types."""
        return {**asdict(self), "seconds": round(self.seconds, 4)}


@dataclass(frozen=True)
class Report:
    """What came of all checks of a plugin or name.

    Attributes:
        name: What was asked for.
        results: One for each check, in order.
    """

    name: str
    results: tuple[CheckResult, ...]

    def __repr__(self) -> str:
        return f"Report({self.name!r}, {self.summary()})"

    @property
    def ok(self) -> bool:
        """Whether every check is as it should be."""
        return all(result.ok for result in self.results)

    @property
    def run(self) -> int:
        """Number of checks that looked at something."""
        return sum(result.status != "skipped" for result in self.results)

    @property
    def counts(self) -> dict[str, int]:
        """Status → number of checks."""
        return dict(Counter(result.status for result in self.results))

    def summary(self) -> str:
        """One line with the numbers."""
        return summary_line(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return {
            "name": self.name,
            "ok": self.ok,
            "run": self.run,
            "counts": self.counts,
            "results": [result.to_dict() for result in self.results],
        }


def summary_line(counts: Mapping[str, int]) -> str:
    """``audiotag checks: 57 run, 56 passed, 1 failed; 3 skipped``."""
    run = sum(count for status, count in counts.items() if status != "skipped")
    words = {"expected_failure": "failed as expected", "unexpected_pass": "passed unexpectedly"}
    said = [status for status in get_args(Status) if status != "skipped" and counts.get(status)]
    parts = [f"{run} run", *(f"{counts[status]} {words.get(status, status)}" for status in said)]
    skipped = f"; {counts['skipped']} skipped" if counts.get("skipped") else ""
    return f"audiotag checks: {', '.join(parts)}{skipped}"


@dataclass(frozen=True)
class Case:
    """One check of one subject; calling it runs the check and raises where the subject does not conform."""

    subject: Subject
    check: Check

    @property
    def id(self) -> str:
        """Name of the case in reports of pytest."""
        return f"{self.subject.kind}-{self.subject.name}-{self.check.name}".replace(" ", "-")

    def __call__(self) -> None:
        """Run the check.

        Raises:
            CheckFailedError: The subject does not conform; the message says how.
            CheckSkippedError: There is nothing to look at.
        """
        try:
            self.check.function(self.subject)
        except (CheckFailedError, CheckSkippedError):
            raise
        except (Exception, SystemExit) as error:  # the code of a plugin may raise anything
            raise CheckFailedError(f"{type(error).__name__}: {error}") from error


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check there is, by kind."""
    for module in _MODULES:
        import_module(f"audiotag.testing.{module}")
    return tuple(check for kind in KINDS for check in REGISTERED if check.kind == kind)


def cases_of(subjects: list[Subject]) -> list[Case]:
    """Every check that applies to each of *subjects*."""
    return [
        Case(subject, check)
        for subject in subjects
        for check in all_checks()
        if check.kind in (subject.kind, "plugin" if subject.kind == "plugin" else "descriptor")
        and (subject.full or check.cheap)
        and check.applies(subject.spec)
    ]


def reason_for(case: Case, expected_failures: Mapping[str, str]) -> str | None:
    """Why *case* is expected to fail, or None.

    A key of *expected_failures* is a check's name, or ``"subject: check"`` with the registered name.
    """
    return expected_failures.get(f"{case.subject.name}: {case.check.name}", expected_failures.get(case.check.name))


def check_expectations(cases: list[Case], expected_failures: Mapping[str, str]) -> None:
    """Refuse expected failures of checks that are not run, and those without a reason.

    Raises:
        OptionError: With close matches.
    """
    names = {case.check.name for case in cases} | {f"{case.subject.name}: {case.check.name}" for case in cases}
    for name, reason in expected_failures.items():
        if name not in names:
            raise OptionError(
                f"the check {name!r} is expected to fail and is not run", fix=suggest(name, names) or "Leave it out."
            )
        if not reason.strip():
            raise OptionError(f"the check {name!r} is expected to fail for no reason", fix="Say why.")


def run_case(case: Case, expected_failures: Mapping[str, str]) -> CheckResult:
    """Run one check; a failure becomes a result, never an exception."""
    reason = reason_for(case, expected_failures)
    started = time.perf_counter()
    status: Status = "passed" if reason is None else "unexpected_pass"
    message = "" if reason is None else f"expected to fail ({reason}), and passes: leave the expectation out"
    try:
        case()
    except CheckSkippedError as error:
        status, message = "skipped", str(error)
    except CheckFailedError as error:
        status, message = ("failed", str(error)) if reason is None else ("expected_failure", f"{reason} ({error})")
    return CheckResult(case.subject.label, case.check.name, status, message, time.perf_counter() - started)


def plan_checks(
    name: str, *, expected_failures: Mapping[str, str] | None = None, **wanted: Unpack[Wanted]
) -> list[Case]:
    """The checks that `run_checks` would run.

    Raises:
        UnknownNameError: Nothing is called *name*.
        OptionError: An expected failure names no check of it.
        PluginError: There is nothing to check.
    """
    cases = cases_of(find_subjects(name, **wanted))
    if not cases:
        raise PluginError("there is nothing to check", where=name)
    check_expectations(cases, expected_failures or {})
    return cases


def run_checks(name: str, *, expected_failures: Mapping[str, str] | None = None, **wanted: Unpack[Wanted]) -> Report:
    """Check a plugin with all it brings, or one registered thing.

    Args:
        name: An entry point or distribution, or a registered name.
        expected_failures: Name of a check (or ``"registered name: check"``) → why it fails. Strict: a pass is an error.
        **wanted: What more says what is checked, all of it optional:
            ``kind``: ``"backbone"``, ``"loss"``, ``"sampler"``, ``"store"``, ``"dataset"``, ``"command"`` or
            ``"recipe"``, where *name* is a registered name that something else has too;
            ``options``: settings for the factory, such as a small width that makes the checks quick; of a plugin, for
            each family of backbones that it brings;
            ``source``: a file or folder for a dataset format to read, where it cannot write a tiny one itself;
            ``thorough``: whether every variant of a family gets every check, rather than the cheap ones.

    Raises:
        UnknownNameError: Nothing is called *name*.
        OptionError: An expected failure names no check that is run, or has no reason.
    """
    cases = plan_checks(name, expected_failures=expected_failures, **wanted)
    return Report(name, tuple(run_case(case, expected_failures or {}) for case in cases))
