"""The pages of a review, as a browser asks for them."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from reviewed import NASTY, RATE, Made
from starlette.testclient import TestClient

from audiotag.labels import Label, LabelSet
from audiotag.review.store import ReviewStore
from audiotag.serve.access import Access
from audiotag.serve.app import create_app
from audiotag.serve.opening import open_review, roots_of
from audiotag.serve.recordings import Recordings, key_of
from audiotag.serve.review_pages import paths_of, review_routes


def _client(store: ReviewStore, roots: list[Path]) -> TestClient:
    recordings = Recordings(lambda: paths_of(store), roots)
    return TestClient(create_app(Access(), review_routes(store, recordings)), base_url="http://localhost")


@pytest.fixture
def store(made: Made, tmp_path: Path) -> Iterator[ReviewStore]:
    with open_review(made.detections, tmp_path / "review", None) as opened:
        yield opened


@pytest.fixture
def client(made: Made, store: ReviewStore) -> TestClient:
    return _client(store, [made.folder])


def _shown(client: TestClient, **asked: str) -> list[tuple[str, str]]:
    """Class and status of the rows that the list shows."""
    page = client.get("/", params=asked)
    assert page.status_code == 200, page.text
    return [
        (unescape(label), status)
        for label, status in re.findall(r'<tr id="event-[^>]*data-label="([^"]*)"[^>]*data-status="([^"]*)"', page.text)
    ]


def _say(client: TestClient, number: int, action: str, version: int = 0, **more: Any) -> Any:
    return client.post(f"/events/{number}", json={"action": action, "version": version, "who": "Ann", **more})


def test_the_list_is_sorted_and_filtered_by_its_address(client: TestClient) -> None:
    assert [label for label, _ in _shown(client)] == ["Dog", "Bird", NASTY] * 2
    assert [label for label, _ in _shown(client, reverse="1")][:2] == [NASTY, "Bird"]
    assert [label for label, _ in _shown(client, order="class")] == ["Dog"] * 2 + ["Bird"] * 2 + [NASTY] * 2
    assert [label for label, _ in _shown(client, label=NASTY, least="0.5")] == [NASTY]
    assert [label for label, _ in _shown(client, most="0.45")] == [NASTY]
    _say(client, 1, "confirm")
    assert _shown(client, reviewed="confirmed") == [("Dog", "confirmed")]
    assert len(_shown(client, reviewed="no")) == 5 and _shown(client, reviewed="rejected") == []
    assert _shown(client, begin="2026-01-01") == []


def test_days_are_whole(tmp_path: Path) -> None:
    with ReviewStore.create(tmp_path / "review", [Label("a", "A")]) as store:
        paths, moments = ["a.wav", "b.wav"], [datetime(2026, 5, 1, 23, 59), datetime(2026, 5, 2)]
        columns: dict[str, Any] = {"recordings": [0, 1], "classes": [0, 0], "onsets": [0, 0], "offsets": [1, 1]}
        begins = {Path(path): moment for path, moment in zip(paths, moments, strict=True)}
        store.add_columns(paths, store.labels, scores=[0.5, 0.6], begins=begins, **columns)
        client = _client(store, [tmp_path])
        assert len(_shown(client, begin="2026-05-01", end="2026-05-01")) == 1
        assert len(_shown(client, begin="2026-05-01", end="2026-05-02")) == 2


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"label": "Nothing"}, 404),
        ({"order": "colour"}, 422),
        ({"least": "much"}, 422),
        ({"begin": "soon"}, 422),
        ({"after": "[1"}, 422),
        ({"reviewed": "perhaps"}, 422),
    ],
)
def test_an_address_that_asks_for_what_there_is_not_is_told(
    client: TestClient, asked: dict[str, str], status: int
) -> None:
    answer = client.get("/", params=asked, headers={"accept": "text/html"})
    assert answer.status_code == status and 'role="alert"' in answer.text


def test_pages_follow_each_other_without_gaps(tmp_path: Path) -> None:
    with ReviewStore.create(tmp_path / "review", [Label("a", "A")]) as store:
        count = 250
        columns: dict[str, Any] = {"recordings": [0] * count, "classes": [0] * count, "onsets": np.arange(count)}
        store.add_columns(["a.wav"], store.labels, offsets=np.arange(count) + 1.0, scores=[0.5] * count, **columns)
        client, address, seen = _client(store, [tmp_path]), "/", []
        while address:
            page = client.get(address).text
            seen += re.findall(r'<tr id="event-(\d+)"', page)
            following = re.search(r'rel="next" id="next" href="([^"]*)"', page)
            address = unescape("/" + following[1]) if following else ""
        assert sorted(map(int, seen)) == list(range(1, count + 1))


def test_names_with_markup_are_text(client: TestClient) -> None:
    key = re.search(r"/recordings/(\w+)", client.get("/recordings").text)
    assert key is not None
    for address in ("/", "/recordings", f"/recordings/{key[1]}", "/classes"):
        page = client.get(address).text
        assert "<i>second" not in page and "<b onclick" not in page
    row = _say(client, 3, "note", note="<script>alert(1)</script>").json()["row"]
    assert "<script" not in row and "<b onclick" not in row and "&lt;script" in row


def test_a_verdict_is_kept_with_who_and_undone(client: TestClient, store: ReviewStore) -> None:
    said = _say(client, 1, "confirm").json()
    assert said["event"]["status"] == "confirmed" and said["error"] is None and 'data-version="1"' in said["row"]
    _say(client, 1, "label", 1, label="Bird")
    moved = _say(client, 1, "move", 2, onset=0.25, offset=2).json()["event"]
    assert (moved["label"], moved["onset"], moved["detected"]) == ("Bird", 0.25, "Dog")
    history = client.get("/events/1/history").json()
    assert [(one["who"], one["action"]) for one in history] == [("Ann", "confirm"), ("Ann", "label"), ("Ann", "move")]
    undone = client.post("/undo", json={"who": "Ann"}).json()["event"]
    assert undone["onset"] == 1 and store.event(1).onset == 1
    assert client.post("/undo", json={"who": "Bob"}).status_code == 422


def test_two_people_at_once_lose_nothing(client: TestClient, store: ReviewStore) -> None:
    _say(client, 2, "reject")
    late = client.post("/events/2", json={"action": "confirm", "version": 0, "who": "Bob"})
    assert late.status_code == 409 and late.json()["event"]["status"] == "rejected" and "Ann" in late.json()["error"]
    assert store.event(2).status == "rejected"
    assert client.post("/events/2", json={"action": "confirm", "version": 1, "who": "Bob"}).status_code == 200


def test_an_event_is_added_also_of_a_new_class(client: TestClient, made: Made, store: ReviewStore) -> None:
    address = f"/recordings/{key_of(made.folder / 'first.wav')}/events"
    said = {"label": "Owl", "onset": 3, "offset": 4, "who": "Ann"}
    assert client.post(address, json=said).status_code == 422
    added = client.post(address, json={**said, "new": True}).json()["event"]
    assert (added["label"], added["status"], added["score"]) == ("Owl", "confirmed", None)
    assert ("Owl", "confirmed") in _shown(client) and "Owl" in client.get("/classes").text


@pytest.mark.parametrize(
    "said",
    [
        b"no",
        b"[]",
        b"{}",
        b'{"action": "explode", "version": 0, "who": "Ann"}',
        b'{"action": "confirm", "version": "0", "who": "Ann"}',
        b'{"action": "confirm", "version": 0, "who": ""}',
        b'{"action": "move", "version": 0, "who": "Ann", "onset": 2, "offset": 1}',
        b'{"action": "label", "version": 0, "who": "Ann", "label": "Nothing"}',
        b"[" * 90_000,
        b"\xff",
    ],
)
def test_what_is_no_verdict_changes_nothing(client: TestClient, store: ReviewStore, said: bytes) -> None:
    answer = client.post("/events/1", content=said)
    assert answer.status_code == 422 and answer.json()["error"]
    assert store.event(1).version == 0 and not store.verdicts()


def test_a_verdict_of_great_length_is_refused(client: TestClient) -> None:
    assert client.post("/events/1", content=b" " * 200_000).status_code == 413


def test_sound_comes_in_ranges_and_pieces(client: TestClient, made: Made) -> None:
    path = made.folder / "first.wav"
    address = f"/recordings/{key_of(path)}"
    part = client.get(f"{address}/sound", headers={"range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == path.read_bytes()[100:200]
    assert part.headers["content-type"] == "audio/wav"
    samples, rate = soundfile.read(io.BytesIO(client.get(f"{address}/piece.wav?start=1&stop=2.5").content))
    assert rate == RATE
    np.testing.assert_allclose(samples, soundfile.read(path)[0][RATE : RATE * 5 // 2], atol=1e-4)
    louder, _ = soundfile.read(io.BytesIO(client.get(f"{address}/piece.wav?start=1&stop=2&louder=1").content))
    assert np.abs(louder).max() == pytest.approx(1, abs=1e-3)
    for asked in ("start=1", "start=2&stop=1", "start=0&stop=999", "start=nan&stop=1", "start=50&stop=51"):
        assert client.get(f"{address}/piece.wav?{asked}").status_code == 422


def test_what_browsers_do_not_play_is_given_as_wav(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    soundfile.write(tmp_path / "a.aiff", samples, RATE, subtype="PCM_24")
    with open_review(tmp_path, tmp_path / "review", LabelSet([Label("a", "A")])) as store:
        recordings = Recordings(lambda: paths_of(store), [tmp_path])
        client = TestClient(create_app(Access(), review_routes(store, recordings)), base_url="http://localhost")
        answer = client.get(f"/recordings/{key_of(tmp_path / 'a.aiff')}/sound")
        recordings.close()
        assert answer.headers["content-type"] == "audio/wav"
        np.testing.assert_allclose(soundfile.read(io.BytesIO(answer.content))[0], samples, atol=1e-4)


def test_tiles_show_where_it_is_loud(client: TestClient, made: Made) -> None:
    address = f"/recordings/{key_of(made.folder / 'first.wav')}"
    pixels = np.asarray(Image.open(io.BytesIO(client.get(f"{address}/spectrogram/4/0.png").content)).convert("RGBA"))
    assert pixels.shape == (80, 256, 4)
    sound = round(6 / 8 * 256)  # a tile of level 4 lasts 8 s, the recording 6
    assert (pixels[:, :sound, 3] == 255).all() and (pixels[:, sound:, 3] == 0).all()
    bright = pixels[:, 20:180, :3].sum(axis=2).argmax(axis=0)
    assert len(set(bright.tolist())) == 1  # a tone of 400 Hz: one line,
    assert 60 < bright[0] < 79  # far down
    wave = np.asarray(Image.open(io.BytesIO(client.get(f"{address}/waveform/4/0.png").content)).convert("RGBA"))
    heights = (wave[:, :sound, 3] > 0).sum(axis=0)
    assert heights.min() > 40 and (wave[:, sound + 1 :, 3] == 0).sum() >= 0
    for wrong in ("spectrogram/4/1", "spectrogram/40/0", "colours/4/0"):
        assert client.get(f"{address}/{wrong}.png").status_code in (404, 422)


def test_nothing_outside_the_folders_is_read(made: Made, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", np.zeros(RATE), RATE)
    (made.folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    (made.folder / "text.wav").write_text("a secret text")
    with ReviewStore.create(tmp_path / "review", [Label("a", "A")]) as store:
        names = [tmp_path / "secret.wav", made.folder / "link.wav", made.folder / "text.wav"]
        names += [made.folder / ".." / "secret.wav"]
        columns: dict[str, Any] = dict.fromkeys(("recordings", "classes"), np.zeros(0, int))
        store.add_columns(names, store.labels, onsets=[], offsets=[], scores=[], **columns)
        client = _client(store, [made.folder])
        for path in (*names[:2], Path(tmp_path / "secret.wav")):
            for what in ("sound", "piece.wav?start=0&stop=1", "spectrogram/1/0.png", "waveform/1/0.png"):
                answer = client.get(f"/recordings/{key_of(path)}/{what}")
                assert answer.status_code == 403 and "Start the page with" in answer.json()["error"], what
            assert "lies outside" in client.get(f"/recordings/{key_of(path)}").text
        answer = client.get(f"/recordings/{key_of(made.folder / 'text.wav')}/sound")
        assert answer.status_code == 422 and "secret text" not in answer.text
        for name in ("..%2F..%2Fsecret.wav", "secret.wav", "%2Fetc%2Fpasswd", "..", "0" * 16):
            assert client.get(f"/recordings/{name}/sound").status_code == 404


def test_recordings_alone_can_be_labelled(made: Made, tmp_path: Path) -> None:
    made.detections.unlink()
    with open_review(made.folder, tmp_path / "review", None) as store:
        client = _client(store, roots_of(made.folder, []))
        assert client.get("/").text.count("There is nothing to show") == 1
        key = key_of(made.folder / "first.wav")
        assert key in client.get("/recordings").text and client.get(f"/recordings/{key}").status_code == 200
        said = {"label": "Owl", "onset": 3, "offset": 4, "who": "Ann", "new": True}
        assert client.post(f"/recordings/{key}/events", json=said).status_code == 200


def test_verdicts_stay_where_detections_are_read_again(made: Made, tmp_path: Path) -> None:
    for _ in range(2):
        with open_review(made.detections, tmp_path / "review", None) as store:
            assert len(store) == 6
            store.confirm(1, version=store.event(1).version, who="Ann")
    with open_review(tmp_path / "review", tmp_path / "review", None) as store:
        assert store.event(1).status == "confirmed"


def test_the_page_needs_no_torch() -> None:
    program = "import sys, audiotag.serve.review_pages, audiotag.serve.opening; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
