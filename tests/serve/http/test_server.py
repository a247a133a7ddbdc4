"""The interface of a running server, over sockets."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
import uvicorn
from starlette.applications import Starlette

from audiotag.inference.tagger import Tagger
from audiotag.serve.access import Access
from audiotag.serve.app import create_app
from audiotag.serve.interface import interface_routes
from audiotag.serve.running import listening_socket
from audiotag.serve.settings import Limits

TAGS, EVENTS = "/api/v1/tags", "/api/v1/events"
ASSETS = Path(os.environ.get("AUDIOTAG_ASSETS", Path(__file__).parents[4] / "shared")) / "assets"


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The address of *app*, served from a thread as `audiotag.serve.running` serves it."""
    with listening_socket("127.0.0.1", 0) as bound:
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", loop="asyncio", http="h11")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def serving(tagger: Tagger, scratch: Path) -> Callable[..., object]:
    """``with serving(**limits) as address``."""
    return lambda **limits: served(create_app(Access(), interface_routes(tagger, Limits(**limits))))


def _uploads(client: httpx.Client, most: int, seconds: float = 10.0) -> bool:
    """Whether there are soon at most so many uploads at work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if client.get("/health/live").json()["uploads"] <= most:
            return True
        time.sleep(0.02)
    return False


def test_a_client_that_hangs_up_leaves_nothing(
    serving: Callable[..., object], scratch: Path, recording: Callable[..., bytes]
) -> None:
    content = recording(30.0)
    with serving() as address, httpx.Client(base_url=address) as client:  # type: ignore[attr-defined]
        port = int(address.rpartition(":")[2])
        for sent in (b"", content[:1000], content[:-1]):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n" % TAGS.encode())
                line.sendall(b"Content-Length: %d\r\n\r\n" % len(content) + sent)
                time.sleep(0.05)
        assert _uploads(client, 0)
        assert not [path for path in scratch.rglob("*") if path.is_file()]
        assert client.post(TAGS, content=content).status_code == 200


def test_a_refusal_reaches_those_who_still_send(serving: Callable[..., object]) -> None:
    with serving(upload_mb=1.0) as address, httpx.Client(base_url=address) as client:  # type: ignore[attr-defined]
        for _ in range(5):
            assert client.post(TAGS, content=b"x" * 12_000_000).status_code == 413

            def endless() -> Iterator[bytes]:
                for _ in range(200):
                    yield b"x" * 60_000

            assert client.post(TAGS, content=endless()).status_code == 413


def test_another_site_may_not_ask(serving: Callable[..., object], recording: Callable[..., bytes]) -> None:
    with serving() as address, httpx.Client(base_url=address) as client:  # type: ignore[attr-defined]
        refused = client.post(TAGS, content=recording(), headers={"Origin": "http://elsewhere.example"})
        assert refused.status_code == 403
        answered = client.post(TAGS, content=recording(), headers={"Origin": address})
        assert answered.status_code == 200 and answered.headers["x-content-type-options"] == "nosniff"


def test_under_load_nothing_is_lost_and_what_is_answered_is_right(
    serving: Callable[..., object], recording: Callable[..., bytes], scratch: Path
) -> None:
    """benchmarks/http_interface.py does it for a minute, with a network and the memory that it takes."""
    contents = [recording(1.0 + index, (index % 3, 0.3 * index, 9.0)) for index in range(8)]
    with serving(at_once=2, waiting=3) as address, httpx.Client(base_url=address) as client:  # type: ignore[attr-defined]
        expected = [client.post(TAGS, content=content).json() for content in contents]
        statuses: Counter[int] = Counter()

        def ask(number: int) -> None:
            with httpx.Client(base_url=address) as own:
                for place in range(25):
                    which = (number + place) % len(contents)
                    answer = own.post(TAGS, content=contents[which])
                    statuses[answer.status_code] += 1
                    if answer.status_code == 200:
                        assert answer.json() == expected[which]
                    else:
                        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(ask, range(12)))
        assert statuses.total() == 300 and statuses[200] > 50 and statuses[429] > 0, statuses
        assert _uploads(client, 0)
    assert not [path for path in scratch.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_the_verb_answers_as_infer_does(tmp_path: Path) -> None:
    """With weights that were published, over a real server, and the numbers of the command line."""
    weights, clip = ASSETS / "weights/mn04_as_mAP_432.pt", ASSETS / "clips/metro_station-paris.wav"
    if not weights.exists():
        pytest.skip("no published weights here")
    model = ["--model", "mn04_as", "--weights", str(weights)]
    run = [sys.executable, "-m", "audiotag"]
    told = subprocess.run(
        [*run, "infer", str(clip), *model, "--format", "json"], capture_output=True, text=True, check=True
    )
    (expected,) = json.loads(told.stdout)["recordings"]
    command = [*run, "serve", "--port", "0", *model, "--sound-seconds", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.sub("/$", "", server.stdout.readline().strip())
            with httpx.Client(base_url=address, timeout=60) as client:
                assert client.get("/health/ready").status_code == 200
                answer = client.post(TAGS, content=clip.read_bytes()).json()
                assert answer["tags"] == expected["events"] and answer["seconds"] == expected["seconds"]
                events = client.post(EVENTS, files={"file": clip.read_bytes()}, params={"threshold": 0.1})
                assert "Train" in {json.loads(line)["event_label"] for line in events.text.splitlines()}
        finally:
            server.terminate()


def test_torch_is_shared_by_threads(tiny: object, recording: Callable[..., bytes], scratch: Path) -> None:
    from audiotag.host import get_host
    from audiotag.labels import LabelSet
    from audiotag.models.model import Model

    torch.manual_seed(0)
    network = tiny.TinyBackbone(3)  # type: ignore[attr-defined]
    model = Model(network, get_host().backbone("tiny"), {}, LabelSet.from_names(["a", "b", "c"], "three"), "tiny")
    tagger = Tagger(model)
    contents = [recording(1.0 + index, (index % 3, 0.3 * index, 9.0)) for index in range(6)]
    app = create_app(Access(), interface_routes(tagger, Limits(at_once=4, waiting=20)))
    with served(app) as address, httpx.Client(base_url=address) as client:
        alone = [client.post(TAGS, content=content).json()["tags"] for content in contents]
        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(lambda one: httpx.post(f"{address}{TAGS}", content=one).json()["tags"], contents))
    assert together == alone and np.ptp([tag["score"] for tags in alone for tag in tags]) > 0


def test_the_client_of_the_page(
    serving: Callable[..., object],
    recording: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "http.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doorbell.wav").write_bytes(recording(20.3, (0, 1.0, 6.0), (2, 8.0, 16.0)))
    with serving() as address:  # type: ignore[attr-defined]
        exec(code.replace("http://127.0.0.1:8765", address), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["Low", "High"]
