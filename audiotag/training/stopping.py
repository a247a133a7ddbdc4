"""Runs that are asked to stop: at once while they wait, else at the end of a step, and all their processes together."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

import lightning_fabric as fabric_package

from audiotag.errors import TrainingError
from audiotag.signals import on_stop
from audiotag.training.processes import in_any_process

_Result = TypeVar("_Result")


class Stopped(TrainingError):
    """The run was asked to stop (SIGTERM, SIGINT) and has saved what it had.

    Attributes:
        signal: Number of the signal.
    """

    signal: int = 0


class _Interrupted(BaseException):
    """A signal came while the run waited; no handler of ordinary errors may take it for one."""


class StopRequests:
    """The signals that ask a run to stop.

    Args:
        fabric: The processes of the run.
        save: Saves the run's state, and gives the epochs and the steps of the next one that are done.
        folder: The run's folder.
        command: What goes on with it, given ``--resume``.
    """

    def __init__(
        self, fabric: fabric_package.Fabric, save: Callable[[], tuple[int, int]], folder: Path, command: str
    ) -> None:
        self._fabric, self._save, self._folder, self._command = fabric, save, folder, command
        self._noted: int | None = None
        self._interruptible = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Within the block signals are noted, instead of ending the program."""
        with on_stop(self._note):
            yield

    def asked(self) -> bool:
        """Whether any of the processes was asked to stop; all get the same answer."""
        return in_any_process(self._fabric, self._noted is not None)

    def waiting(self, work: Callable[[], _Result]) -> _Result:
        """What *work* gives, which changes nothing of the run's state: a signal ends it, and the run, at once.

        With several processes signals wait for the end of the step, when all of them stop together.
        """
        self._interruptible = self._fabric.world_size == 1
        try:
            if self._interruptible and self.asked():
                raise _Interrupted
            return work()
        except _Interrupted:
            pass  # and nothing keeps its traceback, in which the processes that read clips would live on
        finally:
            self._interruptible = False
        self.stop()

    def stop(self) -> NoReturn:
        """Save, and end the run.

        Raises:
            Stopped: Always; its signal is SIGTERM where another process has got it.
        """
        epochs, steps = self._save()
        stopped = Stopped(
            f"stopped by a signal after {epochs} epochs and {steps} steps; the state is saved",
            where=self._folder,
            fix=f"Resume with: {self._command} --resume {self._folder}",
        )
        stopped.signal = self._noted or int(signal.SIGTERM)
        raise stopped

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = number
        if self._interruptible:
            self._interruptible = False  # once
            raise _Interrupted
