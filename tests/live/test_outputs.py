"""Outputs: everything that is taken arrives, at least once and in order, whoever fails in between."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from neighbours import BELL, Address, message, problems, until

from audiotag import Label
from audiotag.errors import OptionError, OutputError, UnknownNameError
from audiotag.live import Message, Output
from audiotag.live.outputs import Delivery, OutputSettings, open_output
from audiotag.live.outputs.webhook import WebhookDelivery

KEYS = [f"e{number}-{kind}" for number in range(40) for kind in ("begin", "end")]
Opener = Callable[..., Output]


@pytest.fixture
def opener(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Opens an output by name, which is closed at the end, and tries again without waiting long."""
    monkeypatch.setattr(Delivery, "longest_wait", 0.01)
    made: list[Output] = []

    def open(name: str, **options: Any) -> Output:
        made.append(open_output(name, OutputSettings(tmp_path / "state", classes=(BELL,), tell=told.append), **options))
        return made[-1]

    yield open
    for one in made:
        one.close()


def send_all(output: Output) -> None:
    for number in range(40):
        output.send(message(number))
        output.send(message(number, "end"))


def test_a_webhook_gets_the_message_with_its_key_and_signature(
    opener: Opener, address: Address, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("sésame\nmore\n")
    output = opener("webhook", url=address.url, secret_file=str(tmp_path / "secret"))
    sent = message(3, "end", Label("/m/1", "Klingel ü"), clip=Path("clips/e3.flac"))
    output.send(sent)
    output.send(message(4, "status"))
    until(lambda: address.posts)
    output.close()
    ((headers, body),) = address.posts
    assert Message.from_json(body.decode()) == sent
    assert headers["Idempotency-Key"] == "e3-end" and headers["Content-Type"] == "application/json"
    expected = hmac.new("sésame".encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Signature-256"] == f"sha256={expected}"


@pytest.mark.parametrize("seed", range(3))
def test_an_address_that_fails_at_random_gets_everything_in_order(
    opener: Opener, address: Address, told: list[str], seed: int
) -> None:
    address.fail_at_random(seed)
    output = opener("webhook", url=address.url)
    send_all(output)
    until(lambda: len(address.keys()) == len(KEYS))
    assert address.keys() == KEYS
    output.close()
    assert any("will be tried again" in line for line in told) and any("well again" in line for line in told)
    assert not any("/hook" in line for line in told), "an address is often a secret"


def test_an_address_that_takes_a_post_and_dies_gets_it_again(opener: Opener, address: Address) -> None:
    answers = iter([None, 200, None, 200, 200])
    address.answer = lambda: (next(answers), {})
    output = opener("webhook", url=address.url)
    for number in range(3):
        output.send(message(number))
    until(lambda: len(address.posts) == 3)
    assert address.keys() == ["e0-begin", "e1-begin", "e2-begin"]


@pytest.mark.parametrize("code", [301, 400, 401, 404, 410, 413])
def test_what_is_refused_for_good_is_set_aside_and_told(
    opener: Opener, address: Address, told: list[str], tmp_path: Path, code: int
) -> None:
    codes = iter([code, 200])
    address.answer = lambda: (next(codes), {"Location": "/elsewhere"})
    output = opener("webhook", url=address.url)
    output.send(message(0))
    output.send(message(1))
    until(lambda: address.keys() == ["e1-begin"])
    until(lambda: "waiting" not in problems(output))
    assert problems(output) == {"refused": 1}
    (refused,) = (tmp_path / "state").glob("webhook-*.refused.jsonl")
    assert Message.from_json(refused.read_text()) == message(0)
    (line,) = told
    assert str(code) in line and str(refused) in line


def test_an_address_may_ask_for_time(opener: Opener, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Delivery, "longest_wait", 1000.0)  # it would wait for this long without
    moment = format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)
    answers = iter([(429, {"Retry-After": "0"}), (503, {"Retry-After": moment}), (200, {})])
    address.answer = lambda: next(answers)
    output = opener("webhook", url=address.url)
    output.send(message(0))
    until(lambda: address.keys() == ["e0-begin"])
    assert problems(output).get("failed tries") == 2


def test_the_wait_grows_and_is_shortened_by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiotag.live.outputs.delivery import NotDeliveredError, QueuedOutput

    class Nobody(Delivery):
        name = "nobody"
        longest_wait = 20.0

        def deliver(self, message: Message, *, earlier: bool) -> None:
            raise NotDeliveredError("nobody is there.")

    def waits(seed: int) -> list[float]:
        found: list[float] = []
        output = QueuedOutput(Nobody(), OutputSettings(tmp_path / str(seed), seed=seed))
        monkeypatch.setattr(output._closing, "wait", lambda seconds: found.append(seconds) or time.sleep(0.001))
        output.send(message(0))
        until(lambda: len(found) > 8)
        output.close()
        return found[:8]

    found = waits(0)
    for wait, longest in zip(found, [1, 2, 4, 8, 16, 20, 20, 20], strict=True):
        assert longest / 2 <= wait <= longest
    assert waits(1) != found


def test_an_address_that_is_away_does_not_hold_up_whoever_sends(opener: Opener, told: list[str]) -> None:
    output = opener("webhook", url="http://127.0.0.1:9/hook", timeout=0.5)
    send_all(output)
    until(lambda: problems(output).get("failed tries", 0) > 2)
    assert problems(output)["waiting"] == 80
    assert len(told) == 1 and "does not answer" in told[0]


def test_messages_wait_for_the_next_start(opener: Opener, address: Address) -> None:
    address.answer = lambda: (503, {})
    output = opener("webhook", url=address.url)
    send_all(output)
    output.close()
    address.answer = lambda: (200, {})
    opener("webhook", url=address.url)
    until(lambda: len(address.posts) == 80)
    assert address.keys() == KEYS


def test_closing_delivers_what_is_left(opener: Opener, address: Address) -> None:
    output = opener("webhook", url=address.url)
    send_all(output)
    output.close()
    assert address.keys() == KEYS


def test_a_full_queue_is_told(tmp_path: Path, address: Address, told: list[str]) -> None:
    address.answer = lambda: (503, {"Retry-After": "100"})
    settings = OutputSettings(tmp_path, tell=told.append, max_messages=10)
    output = open_output("webhook", settings, url=address.url)
    send_all(output)
    assert problems(output)["dropped"] == 70 and problems(output)["waiting"] == 10
    lines = [line for line in told if "had to go" in line]
    assert "1 messages had to go" in lines[0] and 2 < len(lines) < 10
    output.close()


def command(code: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", code, *arguments])


def test_a_command_gets_the_message_and_no_shell_sees_it(opener: Opener, tmp_path: Path) -> None:
    out = tmp_path / "heard"
    code = (
        "import json, os, sys\n"
        "about = {name: value for name, value in os.environ.items() if name.startswith('SOUND_')}\n"
        "print(json.dumps([json.loads(sys.stdin.read()), about]), file=open(sys.argv[1], 'a'))"
    )
    output = opener("exec", command=command(code, str(out)))
    evil = Label("/m/1", "Bell; touch /tmp/owned $(reboot) `x`\n")
    output.send(message(1, label=evil))
    output.send(message(1, "end"))
    output.send(message(2, "status"))
    until(lambda: out.exists() and len(out.read_text().splitlines()) == 2)
    (one, about), (_, about_end) = map(json.loads, out.read_text().splitlines())
    assert Message.from_json(json.dumps(one)) == message(1, label=evil)
    assert about["SOUND_LABEL"] == evil.name and about["SOUND_KIND"] == "begin" and about["SOUND_OFFSET"] == ""
    assert about_end["SOUND_OFFSET"] == "1.5" and about_end["SOUND_MID"] == BELL.mid
    names = ("KIND", "LABEL", "MID", "ID", "SOURCE", "SCORE", "ONSET", "OFFSET", "TIME", "CLIP")
    assert set(about) == {f"SOUND_{name}" for name in names}


def test_a_command_that_fails_is_told_and_one_that_asks_is_run_again(
    opener: Opener, told: list[str], tmp_path: Path
) -> None:
    code = (
        "import os, sys, pathlib\n"
        "runs = pathlib.Path(sys.argv[1]); number = len(runs.read_text()) if runs.exists() else 0\n"
        "runs.write_text('x' * (number + 1))\n"
        "sys.exit([3, 75, 75, 0][number])"
    )
    output = opener("exec", command=command(code, str(tmp_path / "runs")))
    output.send(message(0))
    output.send(message(1))
    until(lambda: "waiting" not in problems(output))
    assert len((tmp_path / "runs").read_text()) == 4
    assert problems(output) == {"refused": 1, "failed tries": 2}
    assert "exit code 3" in told[0] and "set aside" in told[0]


def test_a_command_that_hangs_is_killed_with_all_that_it_started(
    opener: Opener, told: list[str], tmp_path: Path
) -> None:
    code = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid))\n"
        "time.sleep(60)"
    )
    output = opener("exec", command=command(code, str(tmp_path / "pid")), timeout=1.0)
    output.send(message(0))
    until(lambda: problems(output) == {"refused": 1})
    assert "was killed" in told[0]
    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    if sys.platform == "linux":
        until(lambda: not status.exists() or status.read_text().split(")")[1].split()[0] == "Z")


def test_closing_stops_a_command_and_keeps_its_message(
    opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiotag.live.outputs.delivery._GRACE_SECONDS", 0.5)
    started = tmp_path / "started"
    code = "import sys, time, pathlib; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    output = opener("exec", command=command(code, str(started)))
    output.send(message(0))
    until(started.exists)
    output.close()
    again = opener("exec", command=command(code, str(started)))
    assert problems(again) == {"waiting": 1}


def test_lines_go_on_and_begin_anew_when_the_file_is_long(opener: Opener, tmp_path: Path) -> None:
    path = tmp_path / "out" / "sounds.jsonl"
    output = opener("lines", path=str(path), max_bytes=3000, keep=2)
    for number in range(10):
        output.send(message(number))
    output.close()
    with path.open("a") as file:
        file.write('{"kind": "beg')  # a power cut
    output = opener("lines", path=str(path), max_bytes=3000, keep=2)
    for number in range(10, 40):
        output.send(message(number))
    output.send(message(40, "status"))
    output.close()
    names = ["sounds.jsonl.2", "sounds.jsonl.1", "sounds.jsonl"]
    assert sorted(one.name for one in path.parent.iterdir()) == sorted(names)
    lines = [line for name in names for line in (path.parent / name).read_text().splitlines()]
    found = [Message.from_json(line).key for line in lines]
    assert found == [*[f"e{number}-begin" for number in range(40)], "e40-status"][-len(found) :]
    assert all((path.parent / name).stat().st_size <= 3000 for name in names)


@pytest.mark.parametrize(
    "content", ["notes of mine\n", "notes", '{"kind": "tin"}\n', '{"id": 1}\n{"kind": "begin"}\n', "\n"]
)
def test_lines_are_not_appended_to_a_file_of_other_things(opener: Opener, tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(content)
    with pytest.raises(OutputError, match=r"notes.jsonl: it holds other things than messages. Name another"):
        opener("lines", path=str(path))
    assert path.read_text() == content


@pytest.mark.parametrize("content", ["", '{"ki', '{"kind": "begin", "id'])
def test_lines_go_on_in_what_a_power_cut_left(opener: Opener, tmp_path: Path, content: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(content)
    output = opener("lines", path=str(path))
    output.send(message(0))
    output.close()
    assert Message.from_json(path.read_text()).key == "e0-begin"


def test_a_file_that_cannot_be_written_is_told_and_counted(
    opener: Opener, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError):
        opener("lines", path=str(tmp_path))
    output = opener("lines", path="/dev/full" if Path("/dev/full").exists() else str(tmp_path / "a"))
    for number in range(3):
        output.send(message(number))
    assert problems(output) == {"not written": 3} and len(told) == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("webhook", {"url": "ftp://there/"}),
        ("webhook", {"url": "there"}),
        ("webhook", {"url": "http://there", "timeout": 0.0}),
        ("webhook", {"url": "http://there", "time": 1.0}),
        ("exec", {"command": "no_such_program_of_ours -x"}),
        ("exec", {"command": "'"}),
        ("exec", {"command": "true", "timeout": -1.0}),
        ("mqtt", {"broker": "http://there"}),
        ("mqtt", {"broker": "me:sesame@there"}),
        ("mqtt", {"broker": "there:port"}),
        ("mqtt", {"broker": "there", "prefix": "a/+"}),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(opener: Opener, name: str, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as refused:
        opener(name, **options)
    assert "sesame" not in str(refused.value)


def test_there_is_no_such_output(opener: Opener) -> None:
    with pytest.raises(UnknownNameError, match="mqtt"):
        opener("mqt")


def kill_at_random(name: str, folder: Path, options: dict[str, Any], seed: int, kills: int) -> list[str]:
    """Send through a process that is killed again and again; the keys of all that was accepted, in order."""
    draws = random.Random(seed)
    accepted: list[int] = []
    begin = [
        sys.executable,
        "-X",
        "faulthandler",
        str(Path(__file__).with_name("sender.py")),
        name,
        str(folder),
        json.dumps(options),
    ]
    for left in range(kills, -1, -1):
        first = accepted[-1] + 2 if accepted else 0  # the one after the last was perhaps taken too
        count = 400 if left else 5
        with subprocess.Popen([*begin, str(first), str(count)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            if left:
                time.sleep(draws.random() * 0.3)
                process.send_signal(signal.SIGKILL)
            accepted += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        assert left or process.returncode == 0
    return [f"e{number // 2}-{'end' if number % 2 else 'begin'}" for number in accepted]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_when_the_device_is_killed(address: Address, tmp_path: Path, seed: int) -> None:
    address.fail_at_random(seed, share=0.2)
    accepted = kill_at_random("webhook", tmp_path, {"url": address.url}, seed, kills=8)
    arrived = address.keys()
    assert len(accepted) > 50 and not set(accepted) - set(arrived)
    numbers = [2 * int(key[1:].partition("-")[0]) + key.endswith("end") for key in arrived]
    assert numbers == sorted(numbers)


def test_the_address_tells_the_queues_of_webhooks_apart(tmp_path: Path) -> None:
    settings = OutputSettings(tmp_path)
    one, two = (WebhookDelivery(settings, url=f"http://there/{name}") for name in "ab")
    assert one.name != two.name and "there" not in one.name
