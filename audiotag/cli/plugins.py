"""``audiotag plugins``: what is installed and what came of it, whether it conforms, and the beginning of a new one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag import scaffold
from audiotag.cli.command import Group
from audiotag.cli.options import echo_json, json_option, option, parse_options
from audiotag.cli.printing import print_columns
from audiotag.errors import OptionError
from audiotag.host import PluginRecord, get_host
from audiotag.host.kinds import KINDS, SORTS

if TYPE_CHECKING:
    from audiotag.testing import CheckResult

_COLOURS = {"loaded": "green", "failed": "red", "skipped": "yellow"}
_FEW = 5


@click.group(cls=Group)
def plugins() -> None:
    """Installed plugins and what they bring."""


@plugins.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """List plugins with their status and what they provide; problems stand below the table."""
    records = get_host().plugins
    if as_json:
        echo_json([record.to_dict() for record in records])
        return
    print_columns(
        ("NAME", "DISTRIBUTION", "VERSION", "STATUS", "PROVIDES"),
        [
            (
                record.name,
                record.distribution,
                record.version,
                click.style(record.status, fg=_COLOURS[record.status]),
                provided(record),
            )
            for record in records
        ],
    )
    for record in records:
        for problem in record.problems:
            click.echo(f"{record.name} ({record.label}): {problem}")


def provided(record: PluginRecord) -> str:
    """What a plugin brings, in words: names where they are few, else their number."""
    parts = []
    for kind, names in record.provides.items():
        if names:
            which = f" ({', '.join(names)})" if len(names) <= _FEW else ""
            of_kind = KINDS[kind].several if len(names) > 1 else KINDS[kind].one
            parts.append(f"{len(names)} {of_kind}{which}")
    return ", ".join(parts) or "nothing"


_MARKS = {
    "failed": "red",
    "unexpected_pass": "red",
    "expected_failure": "yellow",
    "skipped": "yellow",
    "passed": "green",
}


@plugins.command("check")
@click.argument("names", metavar="NAME...", nargs=-1)
@option("--all", "every", is_flag=True, help="Check every installed plugin.")
@option("--kind", type=click.Choice(SORTS), help="NAME is a registered name of this kind, rather than a plugin.")
@option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Setting for the factory (width_mult=0.1), of a plugin for its families of backbones; may be repeated.",
)
@option(
    "--source",
    type=Path,
    exists=True,
    help="What a dataset format is to read, where it cannot write a tiny source itself.",
)
@option(
    "--expect-failure",
    "expected",
    multiple=True,
    metavar="CHECK=REASON",
    help="A check that fails for a known reason; it is an error where it passes. May be repeated.",
)
@option("--thorough", is_flag=True, help="Every check for every variant of a family, not the cheap ones only.")
@option("--verbose", "-v", is_flag=True, help="List every check, not only those that fail.")
@json_option
def check_plugins(
    names: tuple[str, ...],
    every: bool,
    kind: str | None,
    options: tuple[str, ...],
    source: Path | None,
    expected: tuple[str, ...],
    thorough: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Check that plugins keep to the interfaces; exit code 1 where one does not.

    NAME is a plugin (its entry point or distribution, with all that it brings) or a registered name. A backbone is
    checked as a fresh network with its options: no weights are needed.
    """
    from audiotag.testing.running import Report, plan_checks, run_case

    if bool(names) == every:
        raise OptionError("name what to check", fix="Give a name (see `audiotag plugins list`), or --all.")
    if every:
        names = tuple(dict.fromkeys(record.name for record in get_host().plugins if record.status != "skipped"))
    expectations = dict(_expectation(text) for text in expected)
    reports = []
    for name in names:
        cases = plan_checks(
            name,
            kind=kind,
            options=parse_options(options),
            source=source,
            thorough=thorough,
            expected_failures=expectations,
        )
        results: list[CheckResult] = []
        subject: list[CheckResult] = []
        for result in (run_case(case, expectations) for case in cases):
            if subject and subject[0].subject != result.subject:
                _print_subject(subject, verbose, as_json)
                subject = []
            subject.append(result)
            results.append(result)
        _print_subject(subject, verbose, as_json)
        reports.append(Report(name, tuple(results)))
        if not as_json:
            click.echo(reports[-1].summary())
    if as_json:
        plain: list[Any] = [report.to_dict() for report in reports]
        echo_json(plain if every or len(plain) > 1 else plain[0])
    if not all(report.ok for report in reports):
        sys.exit(1)


def _expectation(text: str) -> tuple[str, str]:
    check, equals, reason = text.partition("=")
    if not equals or not reason.strip():
        raise OptionError(
            f"{text!r} is not of the form CHECK=REASON", fix="A failure that is expected needs its reason."
        )
    return check.strip(), reason.strip()


def _print_subject(results: list[CheckResult], verbose: bool, as_json: bool) -> None:
    """A line for one thing that was checked, with its failures below; nothing where JSON is wanted."""
    if as_json:
        return
    bad = [result for result in results if not result.ok]
    run = sum(result.status != "skipped" for result in results)
    verdict = click.style(f"{len(bad)} of {run} checks failed", fg="red") if bad else f"{run} checks passed"
    click.echo(f"{results[0].subject}: {verdict} ({sum(result.seconds for result in results):.1f} s)")
    for result in results if verbose else bad:
        message = f": {result.message}" if result.message else ""
        mark = click.style(result.status.replace("_", " "), fg=_MARKS[result.status])
        click.echo(f"  {mark} {result.check}{message}")


@plugins.command("new")
@click.argument("name")
@option(
    "--kind",
    "kinds",
    type=click.Choice(scaffold.KINDS),
    multiple=True,
    required=True,
    help="What the plugin brings; may be repeated.",
)
@option(
    "--role",
    type=click.Choice(scaffold.ROLES),
    help="Of a policy: `training` chooses the clips of an epoch, `storage` what a bounded store keeps.",
)
@option(
    "--output",
    type=Path,
    folder=True,
    default=Path(),
    show_default=False,
    help="Folder that the new folder is made in.  [default: here]",
)
def new_plugin(name: str, kinds: tuple[str, ...], role: str | None, output: Path) -> None:
    """Write a small plugin that installs, passes the checks and works at once; then make it yours.

    NAME is the name that users will type: letters, digits and underscores.
    """
    plugin = scaffold.write_plugin(name, kinds, output, role=role)
    click.echo(f"Wrote {plugin.folder}:")
    for path in plugin.files:
        click.echo(f"  {path.relative_to(plugin.folder)}")
    click.echo("Next:")
    click.echo(f"  pip install -e {plugin.folder}")
    click.echo(f"  audiotag plugins check {plugin.distribution}")
    for line in plugin.usage:
        click.echo(f"  {line}")
