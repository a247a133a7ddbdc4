"""From sound as it comes to messages."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hearing import RATE, Ear, Fed, Told, bursts, in_file, listen, noise, pieces
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.errors import AudioError, OptionError, OutputError
from audiotag.inference.tagger import Tagger
from audiotag.live import ClipFolder, Consumer, EventLog, HeardEvent, Listener, ListenSettings, Message, Output
from audiotag.live.capture import Capture
from audiotag.live.clock import Clock


def once_each(told: Told) -> None:
    """Every event begins once and ends once, in this order."""
    begun, ended = [one.id for one in told.of("begin")], [one.id for one in told.of("end")]
    assert sorted(begun) == sorted(ended) and not [one for one, count in Counter(begun).items() if count > 1]
    assert Counter(one.key for one in told.messages).most_common(1)[0][1] == 1
    where = [one.key for one in told.messages]
    assert all(where.index(f"{one}-begin") < where.index(f"{one}-end") for one in begun)


@given(
    seconds=st.floats(0.001, 12.0),
    rate=st.sampled_from([RATE, 11_025, 44_100]),
    channels=st.integers(1, 2),
    cuts=st.lists(st.floats(0, 1), max_size=12),
    seed=st.integers(0, 1000),
    early=st.booleans(),
    events=st.sampled_from(
        [{}, {"hop": 0.5}, {"window": 1.0, "hop": 0.3, "merge": 0.5}, {"median": 0.5, "merge": 0.2}]
    ),
)
@settings(max_examples=60, deadline=None)
def test_the_events_are_those_of_a_file(
    seconds: float, rate: int, channels: int, cuts: list[float], seed: int, early: bool, events: dict[str, float]
) -> None:
    sound = noise(max(1, round(seconds * rate)), rate, seed)
    several = np.stack([sound] * channels, axis=1)
    told = listen(Fed(pieces(several, cuts), rate), {"early": early}, **events)
    assert told.events() == in_file(several if len(sound) > channels else sound, rate, **events)
    once_each(told)
    assert early or all(one.details["confirmed"] for one in told.messages if one.kind != "status")


def test_an_event_is_told_as_soon_as_one_window_hears_it() -> None:
    sound = bursts(12, (5.1, 6.9))
    marks: list[float] = []

    def feed() -> Any:
        for number, block in enumerate(np.split(sound, 120)):
            marks.append((number + 1) / 10)
            yield block

    seen: dict[str, float] = {}
    source = Fed(feed())
    Listener(Tagger(Ear()), source, ListenSettings(buffer=1.0), window=1.0, hop=0.5).run(
        lambda message: seen.setdefault(f"{message.kind} {message.label.name}", marks[-1]) if message.label else None
    )
    # It is read ahead by a second at most.
    assert 6.0 <= seen["begin loud"] <= 7.1
    assert seen["end loud"] > seen["begin loud"]


def test_what_the_windows_do_not_confirm_ends_unconfirmed() -> None:
    sound = bursts(10, (4.0, 4.62))  # in two windows of one second, of which one is loud
    told = listen(Fed([sound]), window=1.0, hop=0.5, threshold=[0.75, 1.0])
    assert [(one.kind, one.details["confirmed"]) for one in told.messages if one.label] == [
        ("begin", False),
        ("end", False),
    ]
    begin, end = (one for one in told.messages if one.label)
    assert (begin.onset, begin.offset, end.offset) == (4.5, None, 5.0) and begin.id == end.id
    assert told.events() == in_file(sound, RATE, window=1.0, hop=0.5, threshold=[0.75, 1.0]) == []
    late = listen(Fed([sound]), {"early": False}, window=1.0, hop=0.5, threshold=[0.75, 1.0])
    assert not [one for one in late.messages if one.label]


def test_times_are_those_of_the_day() -> None:
    before = datetime.now(UTC)
    told = listen(Fed([bursts(6, (2, 4))], RATE), {"name": "kitchen"}, hop=0.5)
    (end,) = [one for one in told.of("end") if one.label and one.label.name == "loud"]
    assert end.source == "kitchen"
    assert 0 <= (end.time - before).total_seconds() - (end.offset or 0) < 5


def test_a_quiet_window_is_not_computed() -> None:
    sound = bursts(20, (10, 11))
    all_of_it, gated = Ear(), Ear()
    listen(Fed([sound]), engine=all_of_it, hop=1.0)
    told = listen(Fed([sound]), {"gate_db": -30.0}, gated, hop=1.0)
    assert all_of_it.passes == 19 and gated.passes == 2
    assert [one[2] for one in told.events()] == [one[2] for one in in_file(sound, RATE, hop=1.0) if one[2] == "loud"]
    by_frames = Ear()
    listen(Fed([sound]), {"gate_db": -30.0}, by_frames)
    assert 1 <= by_frames.passes <= 2  # blocks overlap


def test_level_and_clipping_are_reported() -> None:
    sound = np.concatenate([np.full(RATE, 0.1), np.full(10, 1.0), np.full(RATE - 10, -0.1)]).astype(np.float32)
    told = listen(Fed([sound]), {"status": 1.0})
    status = told.of("status")[-1].details
    assert status["clipped"] == 10 and status["peak_db"] == 0.0 and status["level_db"] == pytest.approx(-19.7, abs=0.1)
    assert status["heard"] == 2.0 and status["lost"] == 0.0


def test_little_that_is_lost_is_silence_and_much_is_a_gap() -> None:
    first, second = bursts(4, (1, 3)), bursts(4, (1, 3))
    told = listen(Fed([first, 0.5, second]), hop=0.5)
    filled = np.concatenate([first, np.zeros(RATE // 2, dtype=np.float32), second])
    assert told.events() == in_file(filled, RATE, hop=0.5)
    assert told.details("lost")[0] == 0.5
    told = listen(Fed([first, 7.0, second]), hop=0.5)
    apart = in_file(first, RATE, hop=0.5) + [
        (onset + 11, offset + 11, *rest) for onset, offset, *rest in in_file(second, RATE, hop=0.5)
    ]
    assert told.events() == sorted(apart)
    once_each(told)


def test_another_rate_is_another_stretch() -> None:
    class Changing(Fed):
        def blocks(self) -> Any:
            for number, block in enumerate(super().blocks()):
                self._rate = RATE if number else 2 * RATE
                yield block

    source = Changing([bursts(4, (1, 3)), bursts(4, (1, 3), rate=2 * RATE)])
    told = listen(source, hop=0.5, threshold=[0.3, 1.0])
    assert [onset // 4 for onset, *_ in told.events()] == [0, 1]


def test_a_source_that_goes_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiotag.live.capture.LONGEST_WAIT", 0.02)
    gone = AudioError("the camera does not answer")
    source = Fed([bursts(4, (3, 4)), gone, gone, bursts(4, (0, 1))], endless=True)
    monkeypatch.setattr("audiotag.live.listener.Capture", partial(Capture, patience=0.01))
    told = listen(source, hop=0.5)
    assert source.opened == 3
    assert told.details("source") == ["away", "away", "back"]
    assert told.details("reason") == ["the camera does not answer"] * 2
    assert told.details("tried_again_in") == [0.01, 0.02]
    # What was open has ended with the sound, and the next stretch is later.
    loud = [one for one in told.events() if one[2] == "loud"]
    assert len(loud) == 2 and loud[0][1] == 4.0 and loud[1][0] >= 4.0
    once_each(told)


def test_a_source_that_cannot_be_opened_is_an_error() -> None:
    with pytest.raises(AudioError, match="no such camera"):
        listen(Fed([AudioError("no such camera")], endless=True))


def test_what_is_no_sound_is_a_fault_of_the_source() -> None:
    broken = np.full(100, np.nan, dtype=np.float32)
    with pytest.raises(AudioError, match="100 of 100 samples are NaN"):
        listen(Fed([broken]))


def test_what_is_no_sound_later_on_is_lost_and_moves_nothing() -> None:
    sound = bursts(8, (1, 3), (5, 7))
    broken = sound.copy()
    broken[4 * RATE] = np.nan
    told = listen(Fed(np.split(broken, 16)), hop=0.5)
    sound[4 * RATE : 4 * RATE + RATE // 2] = 0
    assert told.events() == in_file(sound, RATE, hop=0.5)
    assert told.details("lost")[0] == 0.5
    assert told.details("error") == [
        "fed: 1 of 4000 samples are NaN or infinite. Leave it out, or repair the program that wrote it."
    ]


def test_what_has_an_end_and_fails_before_it_is_not_heard_again() -> None:
    sound = bursts(4, (1, 3))
    source, output = Fed([sound, AudioError("the file is damaged"), sound]), Told()
    with pytest.raises(AudioError, match="the file is damaged"):
        Listener(Tagger(Ear()), source, outputs=[output], hop=0.5).run()
    assert source.opened == 1 and output.closed
    assert output.events() == in_file(sound, RATE, hop=0.5)


def test_a_block_longer_than_the_buffer_waits_for_nothing_only() -> None:
    taken = threading.Event()
    short = np.zeros(RATE // 10, dtype=np.float32)
    # 0.1 + 0.1 + 0.1 - 0.1 - 0.1 - 0.1 is not quite nothing.
    capture = Capture(Fed([short, short, short, partial(taken.wait, 10), bursts(3, (0, 1))]), 2.0)
    capture.start()
    while capture.behind < 0.25:
        taken.wait(0.01)
    for _ in range(3):
        capture.take(1.0)
    taken.set()
    longer = capture.take(5.0)
    capture.close()
    assert longer is not None and longer.block is not None and len(longer.block.samples) == 3 * RATE


class Slow(Ear):
    """Takes its time for the first window."""

    def __init__(self, wait: threading.Event) -> None:
        super().__init__()
        self._wait = wait

    def frame_logits(self, waveforms: np.ndarray) -> np.ndarray:
        self._wait.wait(10)
        return super().frame_logits(waveforms)


def test_a_machine_that_falls_behind_says_so_and_drops_the_oldest() -> None:
    wait = threading.Event()
    sound = bursts(60, (58, 60))
    source = Fed([*np.split(sound, 120), wait.set], waits=False)
    told = listen(source, {"buffer": 8.0}, Slow(wait), hop=1.0)
    dropped = sum(one.details["dropped"] for one in told.of("status") if "heard" not in one.details)
    assert 40 < dropped < 60 and told.details("dropped")[-1] == pytest.approx(dropped)
    # The newest is heard, at its time.
    assert [one[1] for one in told.events() if one[2] == "loud"] == [60.0]


def test_whoever_can_wait_loses_nothing() -> None:
    wait = threading.Event()
    threading.Timer(0.3, wait.set).start()
    sound = bursts(60, (58, 60))
    told = listen(Fed(np.split(sound, 120)), {"buffer": 8.0}, Slow(wait), hop=1.0)
    assert told.events() == in_file(sound, RATE, hop=1.0)
    assert set(told.details("dropped")) == {0.0}


def test_stopping_ends_what_has_begun() -> None:
    sound = bursts(10, (0, 10))
    waiting = threading.Event()
    source = Fed([sound, waiting.set, lambda: source.closed.wait(20), sound])
    output = Told()
    listener = Listener(Tagger(Ear()), source, outputs=[output], hop=0.5)
    thread = threading.Thread(target=listener.run)
    thread.start()
    waiting.wait(10)
    listener.stop()
    thread.join(20)
    assert output.events() == in_file(sound, RATE, hop=0.5) and output.closed
    once_each(output)


class Times:
    """Clocks that a test sets."""

    def __init__(self) -> None:
        self.now, self.ahead = 1000.0, 1e9

    def wall(self) -> float:
        return self.now + self.ahead

    def steady(self) -> float:
        return self.now


def test_a_clock_that_is_set_is_told_and_moves_no_sound() -> None:
    times = Times()
    clock = Clock(follows=True, wall=times.wall, steady=times.steady)
    times.now += 5
    clock.begin(5.0)
    assert clock.at(5.0).timestamp() == times.wall()
    times.ahead += 3600
    assert clock.jump() == 3600 and clock.jump() == 0
    assert clock.at(5.0).timestamp() == times.wall() and clock.running == 5.0
    times.ahead += 0.1
    assert clock.jump() == 0


def test_the_clock_of_the_sound_is_held_against_the_systems() -> None:
    times = Times()
    clock = Clock(follows=True, wall=times.wall, steady=times.steady)
    clock.begin(0.0)
    for second in range(1, 3601):  # 100 ppm slow, and every other block late
        times.now += 1.0001
        clock.came(second if second % 2 else second - 0.3)
    assert clock.at(3600.0).timestamp() == pytest.approx(times.wall(), abs=0.2)
    own_pace = Clock(follows=False, wall=times.wall, steady=times.steady)
    own_pace.begin(0.0)
    times.now += 100
    own_pace.came(5000.0)
    assert own_pace.at(5000.0).timestamp() == pytest.approx(times.wall() + 4900)


class Learner(Consumer):
    def __init__(self) -> None:
        self.events: list[HeardEvent] = []
        self.closed = False

    def heard(self, event: HeardEvent) -> dict[str, Any]:
        self.events.append(event)
        return {}

    def close(self) -> None:
        self.closed = True


def test_who_learns_is_given_the_embedding_of_the_window_that_heard_it_best() -> None:
    learner = Learner()
    sound = bursts(10, (4, 6))
    told = listen(Fed([sound]), {"consumers": [learner]}, hop=0.5)
    loud = [one for one in learner.events if one.message.label and one.message.label.name == "loud"]
    windows = list(Tagger(Ear()).score_windows((sound, RATE), hop=0.5, embeddings=True))
    best = max(windows, key=lambda one: one.scores[0])
    assert [one.message for one in loud] == [one for one in told.of("end") if one.label and one.label.name == "loud"]
    np.testing.assert_array_equal(loud[0].embedding, best.embedding)
    np.testing.assert_array_equal(loud[0].scores, best.scores)
    assert learner.closed
    with pytest.raises(OptionError, match="come from frames"):
        listen(Fed([sound]), {"consumers": [learner]})


class Failing(Output):
    def send(self, message: Message) -> None:
        pass

    def problems(self) -> dict[str, int]:
        return {"messages that nobody took": 3}

    def close(self) -> None:
        pass


def test_problems_of_outputs_are_reported() -> None:
    output = Told()
    Listener(Tagger(Ear()), Fed([bursts(3)]), outputs=[Failing(), output]).run()
    assert output.details("problems")[-1] == {"messages that nobody took": 3}


def test_recordings_are_kept_with_what_comes_before_and_after(tmp_path: Path) -> None:
    rate = 16_000
    sound = np.stack([bursts(20, (8, 10), rate=rate)] * 2, axis=1)
    wanted = {"pre_roll": 1.5, "post_roll": 3.0, "clips": ClipFolder(tmp_path, ListenSettings())}
    told = listen(Fed(np.split(sound, 40), rate), wanted, window=1.0, hop=0.5, threshold=[0.5, 1.0])
    (end,) = told.of("end")
    assert end.clip is not None and end.clip.parent == tmp_path and end.clip.name.endswith("loud.flac")
    kept, kept_rate = soundfile.read(end.clip, dtype="float32", always_2d=True)
    first, stop = round((end.onset - 1.5) * rate), round(((end.offset or 0) + 3) * rate)
    assert kept_rate == rate
    np.testing.assert_allclose(kept, np.clip(sound[first:stop], -1, 1), atol=2**-15)


def test_a_long_event_is_kept_from_its_beginning(tmp_path: Path) -> None:
    sound = bursts(60, (10, 50))
    folder = ClipFolder(tmp_path, ListenSettings(longest_clip=5.0, clip_format="wav"))
    wanted = {"longest_clip": 5.0, "clip_format": "wav", "pre_roll": 1.0, "clips": folder}
    told = listen(Fed(np.split(sound, 120)), wanted, window=1.0, hop=0.5, threshold=[0.5, 1.0])
    (end,) = told.of("end")
    assert end.clip is not None
    kept, _ = soundfile.read(end.clip, dtype="float32")
    (begin,) = told.of("begin")
    first = round((begin.onset - 1) * RATE)
    np.testing.assert_allclose(kept, sound[first : first + 6 * RATE].clip(-1, 1), atol=2**-15)


def test_a_disk_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *more: Any) -> None:
        raise OutputError("it cannot be written: No space left on device", where=path)

    monkeypatch.setattr("audiotag.live.recordings.write_sound", full)
    told = listen(Fed([bursts(20, (5, 7), (12, 14))]), {"clips": ClipFolder(tmp_path, ListenSettings())}, hop=0.5)
    assert all(one.clip is None for one in told.messages) and len(told.events()) > 1
    assert told.details("problems")[-1]["recordings that could not be written"] == len(told.events())


def test_events_wait_for_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "events.csv", None, 4000.0)
    sound = bursts(8, (2, 4))
    system = os.write

    def full(handle: int, content: bytes) -> int:
        return system(handle, content[:5])

    with monkeypatch.context() as patch:
        patch.setattr("audiotag.live.event_log.os.write", full)
        output = Told()
        tagger = Tagger(Ear())
        with pytest.raises(OutputError, match=r"events.csv: [0-9]+ events are lost: No space left"):
            Listener(tagger, Fed([sound]), outputs=[log, output], hop=0.5).run()
        assert output.closed
        assert log.problems() == {"events that wait for room on the disk": len(output.events())}
    log.close()
    assert log.problems() == {}
    lines = (tmp_path / "events.csv").read_text().splitlines()
    assert lines[0].startswith("filename,onset") and len(lines) == 1 + len(output.events())


def test_a_file_without_events_has_a_head_and_no_other_format_is_mixed_into_it(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    EventLog(path, None, 4000.0).close()
    assert path.read_text().startswith("filename,onset")
    EventLog(path, None, 4000.0, resume=True).close()
    assert len(path.read_text().splitlines()) == 1
    with pytest.raises(OptionError, match="not of this format"):
        EventLog(path, "raven", 4000.0, resume=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_file_of_events_that_cannot_be_written_is_told_at_the_beginning() -> None:
    with pytest.raises(OutputError, match="No space left"):
        EventLog(Path("/dev/full"), "csv", 4000.0)


@pytest.mark.parametrize(("name", "column"), [("a.csv", 0), ("a.tsv", 0), ("a.jsonl", 3), ("a.selections.txt", 8)])
def test_files_of_events_call_an_address_as_it_was_typed(tmp_path: Path, name: str, column: int) -> None:
    source, path = "rtsp://camera.local//stream/?channel=1", tmp_path / name
    log = EventLog(path, "raven" if "selections" in name else None, 4000.0)
    Listener(Tagger(Ear()), Fed([bursts(8, (2, 4))]), outputs=[log], hop=0.5, name=source).run()
    last = path.read_text().splitlines()[-1]
    assert last.split({".csv": ",", ".jsonl": '"'}.get(path.suffix, "\t"))[column] == source


def test_files_of_events_are_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sound = bursts(8, (2, 4))
    for _ in range(2):
        log = EventLog(path, None, 4000.0, resume=True)
        Listener(Tagger(Ear()), Fed([sound]), outputs=[log], hop=0.5, name="fed").run()
        with path.open("a") as file:
            file.write('{"half a li')  # as a power cut leaves it
    EventLog(path, None, 4000.0, resume=True)
    Listener(
        Tagger(Ear()), Fed([sound]), outputs=[EventLog(path, None, 4000.0, resume=True)], hop=0.5, name="fed"
    ).run()
    found = path.read_text().splitlines()
    assert len(found) == 3 * len(in_file(sound, RATE, hop=0.5))
    with pytest.raises(OptionError, match="exists already"):
        EventLog(path, None, 4000.0)
    EventLog(path, None, 4000.0, overwrite=True)
    assert path.read_text() == ""
    for name in ("a.json", "a.parquet"):
        with pytest.raises(OptionError, match="not written event by event"):
            EventLog(tmp_path / name, None, 4000.0)


def test_there_may_be_a_file_of_events_a_day(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "%Y-%m-%d.tsv", None, 4000.0)
    for day in (1, 2, 2):
        time = datetime(2026, 3, day, 23, 59, tzinfo=UTC)
        label = Ear().facts.labels[0]
        log.send(Message("end", f"{day}", "fed", label, 1.0, 2.0, time, 0.5, None, {"confirmed": True}))
        log.send(Message("end", f"{day}x", "fed", label, 1.0, 2.0, time, 0.5, None, {"confirmed": False}))
    log.close()
    assert {path.name: len(path.read_text().splitlines()) for path in tmp_path.iterdir()} == {
        "2026-03-01.tsv": 2,
        "2026-03-02.tsv": 3,
    }


def kept(folder: Path, moment: list[datetime], **told: Any) -> ClipFolder:
    return ClipFolder(folder, ListenSettings(**told), lambda: moment[0])


def names(folder: Path) -> list[str]:
    """Month of the time and name of the class of each recording."""
    return sorted(path.name[4:6] + path.stem[-1] for path in folder.glob("*.flac"))


@pytest.mark.parametrize(
    ("drop", "left"),
    [
        ("oldest", ["033", "044", "055"]),
        ("least_certain", ["011", "033", "044"]),
        ("most_frequent", ["022", "044", "055"]),
    ],
)
def test_recordings_are_bounded_in_number(tmp_path: Path, drop: str, left: list[str]) -> None:
    moment = [datetime(2026, 12, 1, tzinfo=UTC)]
    folder = kept(tmp_path, moment, keep_clips=3, drop=drop)
    labels = Ear().facts.labels
    for month, score, index in ((1, 0.9, 0), (2, 0.2, 0), (3, 0.7, 1), (4, 0.8, 1), (5, 0.3, 1)):
        label = labels[index]
        time = datetime(2026, month, 1, tzinfo=UTC)
        path = folder.keep(np.zeros((800, 1), dtype=np.float32), RATE, time, type(label)(label.mid, f"{month}"), score)
        assert (path is not None) == (f"{month:02d}{month}" in left or month < 4)
    assert names(tmp_path) == left
    assert len(folder) == 3
    # Another run finds them, and others' files are left alone.
    (tmp_path / "mine.flac").write_bytes(b"sound")
    again = kept(tmp_path, moment, keep_clips=1, drop="oldest")
    assert len(again) == 1 and (tmp_path / "mine.flac").exists()


def test_recordings_are_bounded_in_bytes_and_days(tmp_path: Path) -> None:
    moment = [datetime(2026, 1, 10, tzinfo=UTC)]
    folder = kept(tmp_path, moment, keep_mb=2.2, keep_days=3.0, clip_format="wav")
    label = Ear().facts.labels[0]
    sound = noise(500_000, RATE, 0)[:, None]  # 1 MB
    for day in (8, 9, 10):
        assert folder.keep(sound, RATE, datetime(2026, 1, day, tzinfo=UTC), label, 0.5)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2.2e6
    assert [path.name[:8] for path in sorted(tmp_path.iterdir())] == ["20260109", "20260110"]
    moment[0] = datetime(2026, 1, 12, 12, tzinfo=UTC)
    assert folder.keep(sound[:10], RATE, moment[0], label, 0.5)
    assert [path.name[:8] for path in sorted(tmp_path.iterdir())] == ["20260110", "20260112"]
    with pytest.raises(OptionError, match="do not fit"):
        ListenSettings(keep_mb=1.0, longest_clip=60.0)


def test_memory_does_not_grow() -> None:
    block = bursts(1, (0.2, 0.4))
    sizes: list[int] = []

    def feed() -> Any:
        for number in range(1200):
            if number in (300, 1199):
                sizes.append(tracemalloc.get_traced_memory()[0])
            yield block

    tracemalloc.start()
    try:
        output = Told()
        output.send = lambda message: None  # type: ignore[method-assign]
        Listener(Tagger(Ear()), Fed(feed()), ListenSettings(buffer=5.0), outputs=[output], hop=1.0).run()
    finally:
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 500_000
