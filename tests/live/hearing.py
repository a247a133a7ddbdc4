"""An engine that hears how loud it is, and sources that a test feeds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.windows import PassLengths
from audiotag.engines.interface import Engine, EngineFacts, EngineOutput, Floats
from audiotag.errors import AudioError
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.live import Listener, ListenSettings, Message, Output
from audiotag.live.sources.base import LiveSource, SoundBlock

RATE = 8000
FRAME = 800


class Ear(Engine):
    """Scores how loud a clip is, and its frames of 0.1 s; trained on two seconds."""

    def __init__(self) -> None:
        lengths = PassLengths.of(RATE, shortest=0.5, clip=2.0, longest=4.0)
        labels = LabelSet.from_names(["loud", "quiet"])
        self.facts = EngineFacts(name="ear", labels=labels, lengths=lengths, embedding_dim=1, frame_seconds=0.1)
        self.passes = 0

    def forward(self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False) -> EngineOutput:
        assert waveforms is not None
        return EngineOutput(self.frame_logits(waveforms).mean(1), np.abs(waveforms).mean(1, keepdims=True))

    def frame_logits(self, waveforms: Floats) -> Floats:
        self.passes += len(waveforms)
        padded = np.pad(waveforms, ((0, 0), (0, -waveforms.shape[1] % FRAME)))
        level = np.abs(padded.reshape(len(waveforms), -1, FRAME)).mean(2)
        logits: Floats = (20 * (level - 0.25)).astype(np.float32)
        return np.stack([logits, -logits], axis=2)

    def fingerprint(self) -> str:
        return "ear"

    def code_fingerprint(self) -> str:
        return "1"


def noise(samples: int, rate: int, seed: int) -> NDArray[np.float32]:
    """Noise whose level changes every 0.3 s."""
    generator = np.random.default_rng(seed)
    step = max(1, int(0.3 * rate))
    level = np.repeat(generator.random(samples // step + 1), step)[:samples]
    return (level * generator.uniform(-1, 1, samples)).astype(np.float32)


def bursts(seconds: float, *loud: tuple[float, float], rate: int = RATE) -> NDArray[np.float32]:
    """Near silence, with noise at full scale from onset to offset of each of *loud*."""
    times = np.arange(round(seconds * rate)) / rate
    sound = np.random.default_rng(1).uniform(-1, 1, times.size) * 0.01
    for onset, offset in loud:
        sound[(times >= onset) & (times < offset)] *= 100
    return sound.astype(np.float32)


def pieces(samples: NDArray[np.float32], cuts: list[float]) -> list[NDArray[np.float32]]:
    return np.split(samples, sorted(round(cut * len(samples)) for cut in cuts))


class Fed(LiveSource):
    """Gives what a test puts into it.

    Args:
        steps: Sound (samples,) or (samples, channels); seconds that are lost before the next; an error; or a function
            that is called.
        rate: Hz.
    """

    name = "fed"

    def __init__(self, steps: Iterable[Any], rate: int = RATE, *, waits: bool = True, endless: bool = False) -> None:
        self._steps = iter(steps)
        self._rate = rate
        self.waits, self.endless = waits, endless
        self.opened = 0
        self.closed = threading.Event()

    def blocks(self) -> Iterator[SoundBlock]:
        self.opened += 1
        lost = 0.0
        for step in self._steps:
            if self.closed.is_set():
                return
            if isinstance(step, float):
                lost = step
            elif isinstance(step, AudioError):
                raise step
            elif isinstance(step, np.ndarray):
                yield SoundBlock(step if step.ndim == 2 else step[:, None], self._rate, lost)
                lost = 0.0
            else:
                step()
        self.endless = False

    def close(self) -> None:
        self.closed.set()


class Told(Output):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.closed = False

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def close(self) -> None:
        self.closed = True

    def of(self, kind: str) -> list[Message]:
        return [one for one in self.messages if one.kind == kind]

    def details(self, name: str) -> list[Any]:
        return [one.details[name] for one in self.of("status") if name in one.details]

    def events(self) -> list[tuple[float, float, str, float]]:
        """Those that were confirmed, by onset, then class."""
        return sorted(
            (one.onset, one.offset or 0.0, one.label.name if one.label else "", one.score or 0.0)
            for one in self.of("end")
            if one.details["confirmed"]
        )


def listen(source: LiveSource, told: dict[str, Any] | None = None, engine: Ear | None = None, **events: Any) -> Told:
    """What is told of *source* until it ends; *told* are settings."""
    output = Told()
    told = dict(told or {})
    more = {name: told.pop(name) for name in ("clips", "consumers", "name") if name in told}
    Listener(Tagger(engine or Ear()), source, ListenSettings(**told), outputs=[output], **more, **events).run()
    assert output.closed
    return output


def in_file(sound: NDArray[np.float32], rate: int, **events: Any) -> list[tuple[float, float, str, float]]:
    """The events of a recording."""
    found = Tagger(Ear()).events((sound, rate), **events)
    return sorted((one.onset, one.offset, one.label, one.score) for one in found)


Step = Callable[[], object]
