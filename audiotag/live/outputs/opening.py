"""Outputs by name: those of the core, and those that plugins bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from audiotag.errors import AudiotagError
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.labels import Label
from audiotag.live.messages import Message, Output
from audiotag.live.outputs.delivery import Delivery, QueuedOutput
from audiotag.live.outputs.settings import OutputSettings

_Given = TypeVar("_Given")


def open_output(name: str, settings: OutputSettings, **options: Any) -> Output:
    """The output called *name*, made with its *options*.

    Raises:
        UnknownNameError: There is none.
        OptionError: It does not take these options.
        OutputError: It cannot be had.
        PluginError: Its factory fails, or makes something else.
    """
    host = get_host()
    spec = host.output(name)
    check_options(spec, host.resolve(spec), options, given=("settings",))
    made = host.make(spec, settings, **options)
    running = host.running(spec, f"sending to {spec.name!r}")
    if isinstance(made, Delivery):
        return QueuedOutput(made, settings, running)
    if isinstance(made, Output):
        return _GuardedOutput(made, settings, running)
    raise host.not_a("Delivery or Output", spec, made)


class _GuardedOutput(Output):
    """An output of a plugin, whose failures are counted and told, and never stop the sound."""

    def __init__(self, output: Output, settings: OutputSettings, running: AbstractContextManager[None]) -> None:
        self._output = output
        self._settings = settings
        self._running = running
        self._failed = 0

    def send(self, message: Message) -> None:
        self._guarded(self._output.send, message)

    def add_class(self, label: Label) -> None:
        self._guarded(self._output.add_class, label)

    def _guarded(self, call: Callable[[_Given], object], given: _Given) -> None:
        try:
            with self._running:
                call(given)
        except AudiotagError as error:
            self._failed += 1
            if self._failed == 1:
                self._settings.tell(str(error))

    def problems(self) -> Mapping[str, int]:
        with self._running:
            problems = self._output.problems()
        return {**problems, "failed": self._failed} if self._failed else problems

    def close(self) -> None:
        with self._running:
            self._output.close()
