"""The entry point: verbs are listed here and imported when they are called."""

from __future__ import annotations

import codecs
import io
import os
import sys
import warnings
from importlib import import_module
from typing import Any

import click

from audiotag.errors import AudiotagError, RecordingWarning

VERBS: dict[str, tuple[str, str]] = {
    "infer": ("audiotag.cli.infer:infer", "Tag recordings: files, folders, globs or manifests."),
    "finetune": ("audiotag.cli.finetune:finetune", "Teach a model the sounds of a labelled set."),
    "evaluate": ("audiotag.cli.evaluate:evaluate", "Measure a model on labelled clips."),
    "compare": ("audiotag.cli.compare:compare", "Fine-tune and measure several models in the same way."),
    "store": ("audiotag.cli.store:store", "A bounded store of labelled clips that a policy chooses."),
    "recipes": ("audiotag.cli.recipes:recipes", "Named settings for fine-tuning."),
    "online": (
        "audiotag.cli.online:online",
        "Learn from a stream of clips, one by one, with a bounded store.",
    ),
    "labels": ("audiotag.cli.labels:labels", "Give a model other classes; find labels that clips lack."),
    "data": ("audiotag.cli.data:data", "Labelled sets: known ones, preparation, checks, numbers."),
    "models": ("audiotag.cli.models:models", "Known models: list, facts, weights, complexity; average and ensemble."),
    "plugins": ("audiotag.cli.plugins:plugins", "Installed plugins and what they bring."),
    "demo": (
        "audiotag.cli.demo:demo",
        "Synthesise sounds, learn them, measure and tag: the whole job on made-up data.",
    ),
    "x": ("audiotag.cli.extensions:extensions", "Commands of plugins: audiotag x GROUP NAME."),
}
"""Verb → (module:command, the line that `audiotag --help` shows)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def __init__(self, *args: Any, verbs: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of a session: tag, teach, measure, look around."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in self.verbs:
            return None
        module, _, attribute = self.verbs[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in self.verbs.items()])


@click.group(
    cls=LazyGroup,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="audiotag", prog_name="audiotag")
def main() -> None:
    """Tag sounds in recordings, teach a model new ones, and measure it."""


def _prepare_streams() -> None:
    """Make printing safe from names of files and classes, and from streams that the caller has closed."""
    codecs.register_error("audiotag", _encode_anyhow)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed with >&-
            setattr(sys, name, open(os.devnull, "w", errors="audiotag"))  # noqa: PTH123, SIM115 # open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="audiotag")


def _encode_anyhow(error: UnicodeError) -> tuple[str | bytes, int]:
    """Names that are not valid text come out as the bytes they are; what the encoding lacks, escaped."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Notes on recordings are for users; all other warnings are for programmers, and say where they come from."""
    if issubclass(category, RecordingWarning):
        click.echo(f"Warning: {message}", err=True)
    else:
        _show_as_python_does(message, category, *place, **more)


_show_as_python_does = warnings.showwarning


def run() -> None:
    """Run the command line; foreseen failures become one message and exit code 1."""
    _prepare_streams()
    warnings.showwarning = _show_warning
    try:
        main(prog_name="audiotag")
    except AudiotagError as error:
        if os.environ.get("AUDIOTAG_TRACEBACK"):
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
