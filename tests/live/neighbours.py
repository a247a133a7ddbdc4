"""What stands around a device: messages to send, a broker, a home that listens to it, an address that fails."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from audiotag import Label
from audiotag.live import Message, Output

BELL = Label("/m/03wwcy", "Doorbell")
TIME = datetime(2026, 11, 26, 17, 0, tzinfo=UTC)
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def message(number: int, kind: str = "begin", label: Label = BELL, **more: Any) -> Message:
    status = kind == "status"
    return Message(
        kind,  # type: ignore[arg-type]
        f"e{number}",
        "hall",
        None if status else label,
        float(number),
        number + 0.5 if kind == "end" else None,
        TIME + timedelta(seconds=number),
        None if status else 0.75,
        **more,
    )


def problems(output: Output) -> dict[str, int]:
    """What an output says went wrong, without its name."""
    return {what.partition(": ")[2]: count for what, count in output.problems().items()}


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for *condition*."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class Broker:
    """Mosquitto on a port of its own, which keeps what is retained while it is away."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        (folder / "data").mkdir()
        base = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/data/",
            "user root",
        ]
        self.config.write_text("\n".join([*base, *(lines or ("allow_anonymous true",))]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        until(answers)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)  # also one that a test has stopped
            self._process.terminate()
            self._process.wait(20)
            self._process = None


class Home:
    """What subscribes to everything, as a home does, and notes it in order."""

    def __init__(self, broker: Broker, **login: str) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, str, bool]] = []
        self._ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id="home", clean_session=False)
        if login:
            self.client.username_pw_set(**login)
        self.client.on_message = lambda client, data, one: self.heard.append(
            (one.topic, one.payload.decode(errors="replace"), bool(one.retain))
        )
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self._ready.wait(20)

    def payloads(self, topic: str) -> list[str]:
        return [payload for one, payload, _ in self.heard if one == topic]

    def events(self, topic: str) -> list[str]:
        """The keys of the events on *topic*, each once, in the order in which they came first."""
        found = [json.loads(payload) for payload in self.payloads(topic)]
        return list(dict.fromkeys(f"{one['id']}-{one['kind']}" for one in found))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client.on_message = self.client.on_connect = self.client.on_subscribe = None


class Address:
    """A server that takes what is posted; `answer` says how it answers each request."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        """Headers and bodies of those that were answered with 200."""
        self.answer: Callable[[], tuple[int | None, dict[str, str]]] = lambda: (200, {})
        address = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code, headers = address.answer()
                if code == 200:
                    address.posts.append((dict(self.headers), body))
                if code is None:  # gone in the middle
                    self.connection.close()
                    return
                self.send_response(code)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def fail_at_random(self, seed: int, share: float = 0.4) -> None:
        """Answer a *share* of requests with errors of the moment, or not at all, also after having taken the post."""
        draws = random.Random(seed)
        self.answer = lambda: (
            draws.choice([None, 500, 503, 429, 408]) if draws.random() < share else 200,
            {},
        )

    def keys(self) -> list[str]:
        """The keys of what has arrived, each once, in the order in which they came first."""
        return list(dict.fromkeys(headers["Idempotency-Key"] for headers, _ in self.posts))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
