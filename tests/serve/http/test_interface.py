"""The HTTP interface: its numbers, its limits, what goes wrong, and its description."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from audiotag.errors import PluginError
from audiotag.inference.tagger import Tagger
from audiotag.serve.interface import ENDPOINTS, interface_routes
from audiotag.serve.settings import Limits

TAGS, EVENTS, EMBEDDINGS = "/api/v1/tags", "/api/v1/events", "/api/v1/embeddings"
UPLOADS = (TAGS, EVENTS, EMBEDDINGS)
Record = Callable[..., bytes]
Serving = Callable[..., TestClient]


def lines(response: Any) -> list[dict[str, Any]]:
    assert response.status_code == 200 and response.headers["content-type"] == "application/x-ndjson", response.text
    return [json.loads(line) for line in response.text.splitlines()]


def left(scratch: Path) -> list[Path]:
    return [path for path in scratch.rglob("*") if path.is_file()]


def problem(response: Any, status: int) -> dict[str, Any]:
    """The problem of a response, which has the one shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert told["status"] == status and told["title"] and told["detail"]
    assert set(told) <= {"title", "status", "detail", "where", "fix"}
    return told


@pytest.fixture
def file(tmp_path: Path, recording: Record) -> Path:
    path = tmp_path / "long.wav"
    path.write_bytes(recording(20.3, (0, 1.0, 6.0), (2, 8.0, 16.0)))
    return path


def row(event: Any) -> dict[str, Any]:
    onset, offset, label, mid, score = asdict(event).values()
    return {"onset": onset, "offset": offset, "event_label": label, "mid": mid, "score": score}


@pytest.mark.parametrize("query", [{}, {"top": 2}, {"threshold": 0.1}])
def test_tags_are_those_of_the_tagger(client: TestClient, tagger: Tagger, file: Path, query: dict[str, Any]) -> None:
    told = client.post(TAGS, params=query, content=file.read_bytes()).json()
    (result,) = tagger.tag_files([file], **{"top": 10 if "threshold" not in query else None, **query})
    expected = [
        {"onset": 0.0, "offset": 20.3, "event_label": label, "mid": mid, "score": score}
        for label, mid, score in zip(result.tags.labels, result.tags.mids, result.tags.scores.tolist(), strict=True)
    ]
    assert told == {"model": "bands", "seconds": 20.3, "tags": expected} and expected


@pytest.mark.parametrize("query", [{}, {"window": 2.0, "hop": 0.5, "threshold": 0.3, "merge": 1.0, "median": 1.5}])
def test_events_are_those_of_the_tagger(
    client: TestClient, tagger: Tagger, file: Path, query: dict[str, float]
) -> None:
    found = lines(client.post(EVENTS, params=query, content=file.read_bytes()))
    expected = [row(event) for event in tagger.events(file, **query)]
    assert sorted(found, key=lambda one: (one["onset"], one["mid"])) == expected and len(expected) == 2


def test_embeddings_are_those_of_the_tagger(client: TestClient, tagger: Tagger, file: Path) -> None:
    (whole,) = lines(client.post(EMBEDDINGS, content=file.read_bytes()))
    (result,) = tagger.tag_files([file], embeddings=True)
    assert result.embedding is not None
    assert whole == {"onset": 0.0, "offset": 20.3, "embedding": result.embedding.tolist()}
    parts = lines(client.post(EMBEDDINGS, params={"hop": 1.0}, content=file.read_bytes()))
    expected = list(tagger.score_windows(file, hop=1.0, embeddings=True))
    assert [one["onset"] for one in parts] == [one.onset for one in expected] and len(parts) > 10
    np.testing.assert_array_equal([one["embedding"] for one in parts], [one.embedding for one in expected])


def test_a_form_is_as_good_as_a_body(client: TestClient, recording: Record) -> None:
    content = recording(format="FLAC")
    assert (
        client.post(TAGS, files={"file": ("a.flac", content, "audio/flac")}).json()
        == client.post(TAGS, content=content).json()
    )


def test_an_event_is_told_while_the_rest_is_read(bands: ModuleType, serving: Serving, recording: Record) -> None:
    """The first line is there while the network waits to hear the end."""
    goes_on = threading.Event()

    class Waiting(bands.BandEngine):  # type: ignore[misc, name-defined] # a module of the tests
        def frames(self, waveforms: np.ndarray, video: Any = None) -> Any:
            if len(self.shapes) > 4:
                assert goes_on.wait(20)
            return super().frames(waveforms, video)

    app = serving(tagger=Tagger(Waiting())).app
    sent = asyncio.run(_asgi(app, EVENTS, [recording(60.0, (0, 1.0, 6.0), (2, 40.0, 50.0))], at_line=goes_on.set))
    assert sent[0]["status"] == 200
    assert [json.loads(one["body"])["event_label"] for one in sent[1:3]] == ["Low", "High"]
    assert not sent[-1]["more_body"]


def _nothing() -> None:
    pass


async def _asgi(
    app: Any,
    path: str,
    chunks: list[bytes],
    *,
    at_chunk: Callable[[], object] = _nothing,
    at_line: Callable[[], object] = _nothing,
    gone_after: int | None = None,
    gone_at_line: bool = False,
) -> list[Any]:
    """What an application sends for a request whose body comes in *chunks*.

    The client goes away after so many of them, or when the first line of the answer has come.
    """
    sent: list[Any] = []
    gone = asyncio.Event()
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        if waiting and len(chunks) - len(waiting) != gone_after:
            at_chunk()
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}
        if gone_after is None:
            await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body"):
            at_line()
            if gone_at_line:
                gone.set()

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "app": app}
    await app(scope, receive, send)
    return sent


def test_the_numbers_of_many_at_once_are_those_of_each_alone(
    bands: ModuleType, serving: Serving, recording: Record
) -> None:
    class Alone(bands.BandEngine):  # type: ignore[misc, name-defined] # a module of the tests
        inside = 0

        def forward(self, *args: Any, **named: Any) -> Any:
            type(self).inside += 1
            assert type(self).inside == 1, "two threads are in the engine"
            time.sleep(0.001)
            answer = super().forward(*args, **named)
            type(self).inside -= 1
            return answer

    tagger = Tagger(Alone())
    client = serving(tagger=tagger, at_once=4, waiting=20)
    contents = [recording(1.0 + index, (index % 3, 0.2 * index, 3.0)) for index in range(8)]
    alone = [client.post(TAGS, content=content).json() for content in contents]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda content: client.post(TAGS, content=content), contents * 2))
    assert [one.json() for one in together] == alone * 2


def test_too_large_uploads_are_refused_while_they_come(serving: Serving, scratch: Path) -> None:
    client = serving(upload_mb=0.1)
    assert "0.1 MB" in problem(client.post(TAGS, content=b"x" * 200_000), 413)["detail"]
    kept: list[int] = []
    chunks = [b"x" * 60_000] * 1000
    sent = asyncio.run(_asgi(client.app, TAGS, chunks, at_chunk=lambda: kept.append(len(left(scratch)))))
    assert sent[0]["status"] == 413
    assert kept[1:3] == [1, 0], "the file is gone before a little of the rest is thrown away"
    assert len(kept) < 400, "not all of it was asked for"
    assert problem(client.post(TAGS, files={"file": ("a.wav", b"x" * 200_000)}), 413)
    assert not left(scratch)


def test_too_long_recordings_are_refused(serving: Serving, recording: Record, scratch: Path) -> None:
    client = serving(sound_seconds=5.0)
    for path in UPLOADS:
        assert client.post(path, content=recording(5.0)).status_code == 200
        assert "5 s" in problem(client.post(path, content=recording(5.2)), 413)["detail"]
    assert not left(scratch)


def test_what_a_header_conceals_is_not_heard_either(
    serving: Serving, recording: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that tells of less sound than there is."""
    monkeypatch.setattr("audiotag.serve.tagging.clip_info", lambda clip: type("Info", (), {"seconds": 1.0}))
    client = serving(sound_seconds=5.0)
    assert "5 s" in problem(client.post(TAGS, content=recording(60.0)), 413)["detail"]
    *heard, last = client.post(EMBEDDINGS, params={"hop": 1.0}, content=recording(60.0)).text.splitlines()
    assert json.loads(last)["error"]["status"] == 413
    assert max(json.loads(line)["offset"] for line in heard) <= 6.0


@pytest.fixture
def blocked(bands: ModuleType) -> Iterator[tuple[Tagger, threading.Event, list[int]]]:
    """A tagger whose network waits for the event, and how often it has computed."""
    goes_on = threading.Event()
    passes: list[int] = []

    class Blocked(bands.BandEngine):  # type: ignore[misc, name-defined] # a module of the tests
        def forward(self, *args: Any, **named: Any) -> Any:
            passes.append(1)
            goes_on.wait(20)
            return super().forward(*args, **named)

    yield Tagger(Blocked()), goes_on, passes
    goes_on.set()


def test_more_than_there_are_places_for_are_refused(
    blocked: tuple[Tagger, threading.Event, list[int]], serving: Serving, recording: Record
) -> None:
    tagger, goes_on, _ = blocked
    client = serving(tagger=tagger, at_once=1, waiting=2)
    with ThreadPoolExecutor(3) as pool:
        taken = [pool.submit(client.post, TAGS, content=recording()) for _ in range(3)]
        while client.get("/health/live").json()["uploads"] < 3:
            time.sleep(0.01)
        refused = client.post(TAGS, content=recording())
        assert "3 uploads" in problem(refused, 429)["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert problem(client.get("/health/ready"), 503)
        goes_on.set()
        assert [one.result().status_code for one in taken] == [200] * 3
    assert client.get("/health/ready").json()["uploads"] == 0
    assert client.post(TAGS, content=recording()).status_code == 200


def test_all_uploads_together_have_a_limit(
    blocked: tuple[Tagger, threading.Event, list[int]], serving: Serving, recording: Record
) -> None:
    tagger, goes_on, passes = blocked
    client = serving(tagger=tagger, upload_mb=0.1, uploads_mb=0.15)
    content = recording(5.5)  # 0.09 MB
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(client.post, TAGS, content=content)
        while not passes:
            time.sleep(0.01)
        refused = client.post(TAGS, content=content)
        assert "together" in problem(refused, 429)["detail"] and "retry-after" in refused.headers
        goes_on.set()
        assert taken.result().status_code == 200
    assert client.post(TAGS, content=content).status_code == 200


def test_what_takes_too_long_ends(bands: ModuleType, serving: Serving, recording: Record, scratch: Path) -> None:
    passes = []

    class Slow(bands.BandEngine):  # type: ignore[misc, name-defined] # a module of the tests
        def forward(self, *args: Any, **named: Any) -> Any:
            passes.append(1)
            time.sleep(0.1)
            return super().forward(*args, **named)

    client = serving(tagger=Tagger(Slow()), request_seconds=0.5)
    assert "0.5 s" in problem(client.post(TAGS, content=recording(120.0)), 503)["detail"]
    count = len(passes)
    assert 1 <= count < 20 and not left(scratch)
    time.sleep(0.3)
    assert len(passes) == count, "the work has stopped"
    assert client.get("/health/live").json()["uploads"] == 0


def test_an_upload_that_never_ends_is_refused(serving: Serving, scratch: Path) -> None:
    app = serving(request_seconds=0.2).app

    async def endless() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": TAGS, "query_string": b"", "headers": [], "app": app}
        await app(scope, receive, send)
        return sent

    sent = asyncio.run(endless())
    assert sent[0]["status"] == 408 and not left(scratch)


@pytest.mark.parametrize("gone_after", [0, 1, 3])
def test_nothing_is_left_of_somebody_who_goes_while_sending(
    serving: Serving, recording: Record, scratch: Path, gone_after: int
) -> None:
    client, content = serving(), recording()
    chunks = [content[place : place + 10_000] for place in range(0, len(content), 10_000)]
    assert asyncio.run(_asgi(client.app, TAGS, chunks, gone_after=gone_after)) == []
    assert not left(scratch) and client.get("/health/live").json()["uploads"] == 0


def test_the_work_for_somebody_who_has_gone_ends(
    bands: ModuleType, serving: Serving, recording: Record, scratch: Path
) -> None:
    passes = []

    class Slow(bands.BandEngine):  # type: ignore[misc, name-defined] # a module of the tests
        def forward(self, *args: Any, **named: Any) -> Any:
            passes.append(1)
            time.sleep(0.01)
            return super().forward(*args, **named)

    client = serving(tagger=Tagger(Slow()))
    content = recording(120.0, (0, 1.0, 6.0), (2, 50.0, 55.0), (1, 100.0, 105.0))
    sent = asyncio.run(_asgi(client.app, EVENTS, [content], gone_at_line=True))
    assert sent[0]["status"] == 200 and len(sent) < 10
    assert len(passes) < 60 and not left(scratch)  # all of it takes 120
    assert client.get("/health/live").json()["uploads"] == 0


def test_no_name_from_outside_is_a_path(serving: Serving, scratch: Path, recording: Record) -> None:
    client = serving()
    before = set(scratch.parent.rglob("*"))
    for name in ("../../evil.wav", "/etc/passwd", "C:\\evil.wav", "<b>x</b>\u202e.wav", "a" * 2000, "x\x00.wav"):
        assert client.post(TAGS, files={"file": (name, recording())}).status_code == 200
        told = problem(client.post(TAGS, files={"file": (name, b"RIFF" + b"\x00" * 200)}), 422)
        assert "\u202e" not in told["where"] and len(told["where"]) <= 200
    assert set(scratch.parent.rglob("*")) == before


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize(
    "content",
    [
        b"RIFF" + b"\x00" * 200,
        b"hello",
        b"fLaC" + b"\xff" * 100,
        b"\x00" * 5000,
        b'{"a": 1}',
        b"<html></html>",
        b"#EXTM3U\n",
    ],
)
def test_what_is_no_recording_is_told_without_a_path_of_the_server(
    client: TestClient, scratch: Path, path: str, content: bytes
) -> None:
    told = problem(client.post(path, files={"file": ("take one.wav", content)}), 422)
    assert told["where"] == "take one.wav" and told["fix"]
    assert str(scratch) not in json.dumps(told) and "upload-" not in json.dumps(told)


def test_truncated_and_damaged_recordings_are_told(client: TestClient, recording: Record) -> None:
    for format in ("WAV", "FLAC", "OGG"):
        content = recording(5.0, format=format)
        response = client.post(TAGS, content=content[: len(content) // 2])
        assert response.status_code == 200 or problem(response, 422)  # half an Ogg or WAV may be told as what there is


@pytest.mark.parametrize(
    ("headers", "content", "status", "says"),
    [
        ({}, b"", 400, "no recording"),
        ({"content-encoding": "gzip"}, b"x", 415, "compressed"),
        ({"content-type": "multipart/form-data"}, b"x", 400, "no boundary"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"x", 400, "form"),
        ({"content-type": "multipart/form-data; boundary=" + "x" * 500}, b"x", 400, "form"),
        (
            {"content-type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            400,
            "last boundary",
        ),
        (
            {"content-type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 2 + b"--x--\r\n",
            400,
            "more than one",
        ),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 400, "recording"),
        ({"content-length": "x" * 4}, b"x", 422, "recording"),
    ],
)
def test_bodies_in_no_form_that_is_known(
    client: TestClient, headers: dict[str, str], content: bytes, status: int, says: str
) -> None:
    told = problem(client.post(TAGS, content=content, headers=headers), status)
    assert says in told["detail"] and told["fix"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("top=0", "top is 0"),
        ("top=1.5", "top is '1.5'"),
        ("top=1&top=2", "twice"),
        ("topp=1", "'topp'"),
        ("threshold=nan", "threshold"),
        ("threshold=2", "threshold"),
        ("tuned=yes", "tuned"),
        ("tuned=true", "tuned thresholds"),
        ("top=%ff%00", "top"),
    ],
)
def test_questions_that_cannot_be(client: TestClient, recording: Record, query: str, says: str) -> None:
    told = problem(client.post(f"{TAGS}?{query}", content=recording()), 400)
    assert says in told["detail"] and told["fix"] and "--" not in told["fix"]


def test_settings_of_events_that_do_not_go_together(client: TestClient, recording: Record) -> None:
    for query in ("window=1&hop=2", "hop=1&resolution=1", "threshold=0.2&low_threshold=0.4", "hop=0.0001"):
        problem(client.post(f"{EVENTS}?{query}", content=recording()), 400)


def test_a_fault_of_ours_is_no_fault_of_theirs_and_says_nothing_of_us(
    bands: ModuleType, serving: Serving, recording: Record, scratch: Path
) -> None:
    class Broken(bands.BandEngine):  # type: ignore[misc, name-defined] # a module of the tests
        def forward(self, *args: Any, **named: Any) -> Any:
            raise PluginError("a secret of /home/us", where="/home/us")

    client = serving(tagger=Tagger(Broken()))
    told = problem(client.post(TAGS, content=recording()), 500)
    assert "/home" not in json.dumps(told) and not left(scratch)
    assert problem(client.get("/health/ready"), 500)


def test_unknown_places_and_methods(client: TestClient) -> None:
    problem(client.get("/api/v1/nothing"), 404)
    refused = client.get(TAGS)
    problem(refused, 405)
    assert refused.headers["allow"] == "POST"
    assert client.post("/metrics").headers["allow"] == "GET, HEAD"
    assert client.head("/health/live").status_code == 200


def test_the_description_is_valid_and_of_every_route(tagger: Tagger, client: TestClient) -> None:
    told = client.get("/api/v1/openapi.json").json()
    validate(told)
    described = {(path, method.upper()) for path, methods in told["paths"].items() for method in methods}
    assert described == {(one.path, one.method) for one in ENDPOINTS}
    routed = {getattr(route, "path", None) for route in interface_routes(tagger)}
    assert {path for path, _ in described} == routed - {"/api/v1"}


def test_answers_are_as_described(client: TestClient, recording: Record) -> None:
    told = client.get("/api/v1/openapi.json").json()

    def check(value: Any, path: str, method: str, status: str, media: str) -> None:
        schema = told["paths"][path][method]["responses"][status]["content"][media]["schema"]
        closed = {name: {**one, "additionalProperties": False} for name, one in told["components"]["schemas"].items()}
        jsonschema.validate(value, {**schema, "components": {"schemas": closed}})

    for path in ("/api/v1/models", "/health/live", "/health/ready"):
        check(client.get(path).json(), path, "get", "200", "application/json")
    check(client.post(TAGS, content=recording()).json(), TAGS, "post", "200", "application/json")
    for path in (EVENTS, EMBEDDINGS):
        for line in lines(client.post(path, content=recording(6.0), params={"hop": 1.0})):
            check(line, path, "post", "200", "application/x-ndjson")
    check(client.post(TAGS, content=b"x").json(), TAGS, "post", "422", "application/problem+json")


def test_the_models_are_told(client: TestClient, bands: ModuleType) -> None:
    (model,) = client.get("/api/v1/models").json()["models"]
    assert model["name"] == "bands" and model["sample_rate"] == 8000 and model["embedding_dim"] == 3
    assert [one["mid"] for one in model["labels"]] == [label.mid for label in bands.LABELS]


def test_metrics_are_in_the_format_of_prometheus(client: TestClient, recording: Record) -> None:
    client.post(TAGS, content=recording(3.0))
    client.post(TAGS, content=b"x")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = {
        (sample.name, sample.labels.get("endpoint"), sample.labels.get("status")): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert values["audiotag_requests_total", "tags", "200"] == values["audiotag_requests_total", "tags", "422"] == 1
    assert values["audiotag_request_seconds_count", "tags", None] == 2
    assert values["audiotag_sound_seconds_total", None, None] == 3.0
    assert values["audiotag_uploads", None, None] == values["audiotag_upload_bytes", None, None] == 0


_HEADER = st.sampled_from(["content-type", "content-length", "content-encoding", "expect", "accept", "range", "x"])
_VALUE = st.one_of(
    st.sampled_from(
        ["multipart/form-data; boundary=x", "multipart/form-data", "audio/wav", "-1", "9" * 30, "identity"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(UPLOADS),
    query=st.dictionaries(
        st.sampled_from(["top", "threshold", "window", "hop", "median", "merge", "x"]), st.text(max_size=8), max_size=2
    ),
    headers=st.dictionaries(_HEADER, _VALUE, max_size=3),
    damage=st.tuples(st.integers(0, 300), st.binary(max_size=30), st.integers(0, 20_000)),
    form=st.booleans(),
)
def test_whatever_comes_has_a_clean_answer(
    client: TestClient,
    recording: Record,
    scratch: Path,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    damage: tuple[int, bytes, int],
    form: bool,
) -> None:
    content = recording(1.0)
    place, other, end = damage
    content = (content[:place] + other + content[place + len(other) :])[:end]
    if form:
        content = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + content + other + b"\r\n--x--\r\n"
    response = client.post(path, params=query, headers=headers, content=content)
    if response.status_code != 200:
        assert 400 <= response.status_code < 500
        told = problem(response, response.status_code)
        assert str(scratch) not in json.dumps(told)
    assert not left(scratch)
    assert client.get("/health/live").json()["uploads"] == 0


def test_limits_are_checked() -> None:
    with pytest.raises(Exception, match="at_once"):
        Limits(at_once=0)
