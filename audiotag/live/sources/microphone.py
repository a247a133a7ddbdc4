"""A microphone, or whatever else the sound system calls an input (PortAudio, by the package sounddevice)."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np

from audiotag.arguments import count_in
from audiotag.audio.arrays import check_rate
from audiotag.errors import AudioError, MissingExtraError, OptionError, needed_for
from audiotag.live.sources.base import LiveSource, SoundBlock, SourceSettings

_WAITING = 200
"""Blocks that wait to be taken, of a tenth of a second each."""
_PATIENCE = 5.0
"""Seconds without a block after which the device counts as gone."""
_BLOCK_SECONDS = 0.1


class Microphone(LiveSource):
    """An input of the sound system.

    Args:
        place: Its number, or a part of its name; empty for the usual one.
        settings: Rate and channels; those of the device where nothing is said.

    Raises:
        MissingExtraError: sounddevice or PortAudio is not installed.
        OptionError: A setting cannot be.
    """

    def __init__(self, place: str, settings: SourceSettings) -> None:
        if settings.sample_format is not None:
            raise OptionError("a microphone has no --sample-format", where="mic", fix="Leave it out.")
        self.name = f"mic:{place}" if place else "mic"
        number = count_in(place)
        self._place: int | str | None = (place or None) if number is None else number
        self._settings = settings
        self._rate = 0 if settings.sample_rate is None else check_rate(settings.sample_rate)
        self._blocks: queue.Queue[SoundBlock | None] = queue.Queue(_WAITING)
        self._expected: float | None = None
        self._lost = 0.0
        self._closed = False
        self._driver = _sound_system()

    def blocks(self) -> Iterator[SoundBlock]:
        """See `LiveSource.blocks`."""
        driver = self._driver
        try:
            device = driver.query_devices(self._place, "input")
            self._rate = self._settings.sample_rate or round(device["default_samplerate"])
            channels = self._settings.channels or min(2, int(device["max_input_channels"]))
            self._expected, self._lost = None, 0.0
            stream = driver.InputStream(
                device=self._place,
                samplerate=self._rate,
                channels=channels,
                dtype="float32",
                blocksize=round(_BLOCK_SECONDS * self._rate),
                callback=self.heard,
            )
        except (driver.PortAudioError, ValueError) as error:  # ValueError: no device is called so
            known = [str(one["name"]) for one in driver.query_devices() if one["max_input_channels"]]
            fix = (
                f"There are: {', '.join(known)}." if known else "There is no input: plug one in, and check its driver."
            )
            raise AudioError(f"the microphone cannot be opened ({error})", where=self.name, fix=fix) from error
        with stream:
            while not self._closed:
                try:
                    block = self._blocks.get(timeout=_PATIENCE)
                except queue.Empty:
                    raise AudioError("no sound has come for five seconds", where=self.name) from None
                if block is not None:
                    yield block

    def heard(self, samples: Any, count: int, times: Any, status: Any) -> None:
        """What the driver calls with each block, in a thread that must not wait.

        Args:
            samples: float32 (count, channels), used again by the driver afterwards.
            count: Samples.
            times: When the first of them was taken: ``inputBufferAdcTime``, in seconds.
            status: Whether some were lost before: ``input_overflow``.
        """
        begin = float(times.inputBufferAdcTime)
        if status.input_overflow and self._expected is not None and begin > self._expected:
            self._lost += begin - self._expected
        self._expected = begin + count / self._rate
        try:
            self._blocks.put_nowait(SoundBlock(np.array(samples, dtype=np.float32), self._rate, self._lost))
            self._lost = 0.0
        except queue.Full:
            self._lost += count / self._rate

    def close(self) -> None:
        """See `LiveSource.close`."""
        self._closed = True
        try:
            self._blocks.put_nowait(None)  # ends a wait
        except queue.Full:
            return  # nobody waits


def _sound_system() -> Any:
    with needed_for("listening to a microphone"):
        try:
            import sounddevice
        except OSError as error:
            raise MissingExtraError(
                f"listening to a microphone needs PortAudio ({error})",
                fix="Install it: apt-get install libportaudio2 (Debian, Ubuntu, Raspberry Pi OS).",
            ) from error
    return sounddevice
