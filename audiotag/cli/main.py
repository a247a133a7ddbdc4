"""The entry point: verbs are listed here and imported when they are called."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import warnings
from importlib import import_module
from itertools import pairwise
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.command import ARGUMENTS, Group
from audiotag.errors import (
    EMPTY,
    AudiotagError,
    AudiotagWarning,
    MissingExtraError,
    OptionError,
    PluginError,
)
from audiotag.printing import PrintableStream, printable_name
from audiotag.signals import on_stop, stop_signals

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERB_GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Tag": {
        "infer": ("audiotag.cli.infer:infer", "Tag recordings: files, folders, globs or manifests."),
        "merge": ("audiotag.cli.merge:merge", "Check and join the results of a run in shards."),
        "segments": ("audiotag.cli.segments:segments", "Cut what was detected out of recordings."),
        "listen": ("audiotag.cli.listen:listen", "Tell of sounds as they happen, from microphones and streams."),
    },
    "Learn": {
        "finetune": ("audiotag.cli.finetune:finetune", "Teach a model the sounds of a labelled set."),
        "recipes": ("audiotag.cli.recipes:recipes", "Named settings for fine-tuning."),
        "labels": ("audiotag.cli.labels:labels", "Give a model other classes; find labels that clips lack."),
        "demo": ("audiotag.cli.demo:demo", "The whole job on made-up sounds: learn them, measure and tag."),
    },
    "Look": {
        "evaluate": ("audiotag.cli.evaluate:evaluate", "Measure a model on labelled clips."),
        "compare": ("audiotag.cli.compare:compare", "Fine-tune and measure several models in the same way."),
        "data": ("audiotag.cli.data:data", "Labelled sets: known ones, preparation, checks, numbers."),
        "index": ("audiotag.cli.index:index", "Find recordings that sound alike."),
        "serve": ("audiotag.cli.serve:serve", "A page in the browser: listen to detections and correct them."),
    },
    "Devices": {
        "export": ("audiotag.cli.export:export", "Write a model as a folder that tags without torch."),
        "online": ("audiotag.cli.online:online", "Learn from a stream of clips, one by one, with a bounded store."),
        "learner": ("audiotag.cli.learner:learner", "What analytic learners know: merge devices, look, teach, forget."),
        "store": ("audiotag.cli.store:store", "A bounded store of labelled clips that a policy chooses."),
    },
    "Manage": {
        "models": ("audiotag.cli.models:models", "Known models: list, facts, weights; average and ensemble."),
        "cache": ("audiotag.cli.cache:cache", "What is kept on this machine to save work."),
        "plugins": ("audiotag.cli.plugins:plugins", "Installed plugins and what they bring."),
        "completion": (
            "audiotag.cli.completion:completion",
            "Let the shell complete commands, options and names.",
        ),
        "x": ("audiotag.cli.extensions:extensions", "Commands of plugins: audiotag x GROUP NAME."),
    },
}
"""Heading → verb → (module:command, the line that `audiotag --help` shows)."""

VERBS = {verb: place for group in VERB_GROUPS.values() for verb, place in group.items()}


class LazyGroup(Group):
    """The group whose commands are imported when they are called, not when they are listed."""

    def __init__(self, *args: Any, verbs: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of a session: tag, teach, measure, look around."""
        return list(self.verbs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an empty argument of a verb of ours: most take it for the current folder, and nobody means that.

        Raises:
            OptionError: There is one.
        """
        for before, argument in pairwise(["", *args] if args[:1] != ["x"] and not ctx.resilient_parsing else []):
            option, equals, value = argument.partition("=")
            named = bool(equals) and option.startswith("--")
            if not (value if named else argument).strip():
                what = option if named else before if before.startswith("--") else "an argument"
                raise OptionError(f"{what} is empty", fix=EMPTY)
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Verbs and options, without an import of any verb."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(verb, help=told) for verb, (_, told) in self.verbs.items() if verb.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in self.verbs:
            return None
        module, _, attribute = self.verbs[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; where a package is missing that it needs, say what brings it; what a plugin raises names it."""
        try:
            return super().invoke(ctx)
        except (AudiotagError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BaseException as error:
            if isinstance(error, ModuleNotFoundError) and (lack := MissingExtraError.of(error, self._called(ctx))):
                raise lack from error
            _name_plugin(error, ctx)
            raise

    def _called(self, ctx: click.Context) -> str:
        """The verb with those below it: ``audiotag labels extend``."""
        names = [ctx.command_path]
        command: click.Command | None = self
        for argument in ctx.meta[ARGUMENTS]:
            command = command.get_command(ctx, argument) if isinstance(command, click.Group) else None
            if command is None:
                break
            names.append(argument)
        return " ".join(names)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs in groups, without importing them."""
        width = max(map(len, self.verbs))
        for heading, verbs in VERB_GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(verb.ljust(width), summary) for verb, (_, summary) in verbs.items()])


def _name_plugin(error: BaseException, ctx: click.Context) -> None:
    """Say whose code was interrupted, or raise a `PluginError` where it is a plugin's code that has raised *error*."""
    from audiotag.host import get_host
    from audiotag.host.guard import described, is_interrupt, is_out_of_memory

    # A plugin's command may choose its exit code, and a reader of our output may go away.
    if isinstance(error, BrokenPipeError) or (isinstance(error, SystemExit) and ctx.invoked_subcommand == "x"):
        return
    if is_out_of_memory(error):
        raise OptionError(
            f"there is not enough memory ({described(error).partition(chr(10))[0]})",
            fix="Use smaller batches (--batch-size), shorter clips or windows, or a smaller model.",
        ) from error
    plugin = get_host().blame(error)
    if is_interrupt(error):
        notes = getattr(error, "__notes__", [] if plugin is None else [f"Interrupted in the {plugin.place}."])
        click.echo("\n".join(["", *notes]), err=True)
    elif plugin is not None:
        raise PluginError(
            f"it failed: {described(error)}",
            where=plugin.place,
            fix="Report it to the plugin's authors; AUDIOTAG_TRACEBACK=1 shows where it comes from.",
        ) from error


@click.group(
    cls=LazyGroup, verbs=VERBS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="audiotag", prog_name="audiotag")
def main() -> None:
    """Tag sounds in recordings, teach a model new ones, and measure it."""
    try:
        os.getcwd()  # noqa: PTH109 # only whether there is one
    except OSError as error:  # torch would end the program with a message of its own
        raise OptionError("the current folder is gone", fix="Change to one that exists.") from error


def _prepare_streams() -> None:
    """Make printing safe from names of files and classes, and from streams that the caller has closed."""
    codecs.register_error("audiotag", _encode_anyhow)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed with >&-
            setattr(sys, name, open(os.devnull, "w", errors="audiotag"))  # noqa: PTH123, SIM115 # open to the end
        elif isinstance(stream, io.TextIOWrapper):
            coloured = stream.isatty() or "FORCE_COLOR" in os.environ
            stream.reconfigure(errors="audiotag")
            setattr(sys, name, PrintableStream(stream, coloured=coloured, errors="audiotag"))


def _encode_anyhow(error: UnicodeError) -> tuple[str | bytes, int]:
    """Names that are not valid text come out as the bytes they are; what the encoding lacks, escaped."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Warnings of ours are for users; all others are for programmers, and say where they come from."""
    if issubclass(category, AudiotagWarning):
        click.echo(f"Warning: {message}", err=True)
    else:
        _show_as_python_does(message, category, *place, **more)


_show_as_python_does = warnings.showwarning


def run() -> None:
    """Run the command line; foreseen failures become one message and exit code 1.

    Ctrl-C, SIGTERM and SIGHUP all end it in one way: what is being written is finished or taken away, and the exit code
    is 128 and the number of the signal. Verbs that note signals themselves (fine-tuning, on-line learning) do so.
    """
    _prepare_streams()
    warnings.showwarning = _show_warning
    signals = _Signals()
    with on_stop(signals.interrupt):
        _run(signals)


def _run(signals: _Signals) -> None:
    try:
        sys.exit(main(prog_name="audiotag", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(error.__cause__, EOFError):
            raise error.__cause__ from None  # click takes it for Ctrl-D at a prompt, and we never ask
        click.echo(f"Stopped by {signals.name()}.", err=True)
        sys.exit(signals.exit_code(130))
    except SystemExit as end:
        sys.exit(signals.exit_code(end.code))
    except (AudiotagError, OSError) as error:
        if os.environ.get("AUDIOTAG_TRACEBACK"):
            raise
        click.echo(f"Error: {error if isinstance(error, AudiotagError) else _system_error(error)}", err=True)
        sys.exit(1)


class _Signals:
    """Turns the signals that ask a program to stop into KeyboardInterrupt, and remembers which came."""

    def __init__(self) -> None:
        self._number: int | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave_to_the_system)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """End what is running."""
        self._number = number
        signal.default_int_handler(number, frame)  # a `raise` here would look like one of a plugin; see is_interrupt

    def _leave_to_the_system(self) -> None:
        """A forked worker has nothing to finish: its parent ends it with SIGTERM, and not with a traceback."""
        for number in set(stop_signals()) - {signal.SIGINT}:
            if signal.getsignal(number) == self.interrupt:
                signal.signal(number, signal.SIG_DFL)

    def name(self) -> str:
        """What stopped the program, for people."""
        return "Ctrl-C" if self._number in (None, signal.SIGINT) else signal.Signals(self._number).name

    def exit_code(self, otherwise: Any) -> Any:
        """128 and the number of the signal where one came, else *otherwise*."""
        return otherwise if self._number is None else 128 + self._number


def _system_error(error: OSError) -> str:
    """What the system says, with the file it is about; where no verb has foreseen it."""
    place = "" if error.filename is None else f"{printable_name(error.filename)}: "
    return f"{place}{error.strerror or error}. AUDIOTAG_TRACEBACK=1 shows where it happened."
