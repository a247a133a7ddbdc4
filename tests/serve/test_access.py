"""Who the server answers: this machine, or whoever has the token, and no page of another site."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from audiotag.errors import AudioError, OptionError
from audiotag.serve.access import Access
from audiotag.serve.app import create_app

TOKEN = "a token that nobody guesses"
HOME = "http://127.0.0.1:8765"


async def _thing(request: Request) -> PlainTextResponse:
    return PlainTextResponse("yes")


async def _fail(request: Request) -> PlainTextResponse:
    raise AudioError("it is <b>broken</b>", where="a.wav", fix="Mend it.")


def _client(access: Access | None = None, base: str = HOME) -> TestClient:
    routes = [Route("/thing", _thing, methods=["GET", "POST"]), Route("/fail", _fail)]
    return TestClient(create_app(access or Access(), routes), base_url=base, follow_redirects=False)


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "localhost:9", "[::1]:8765"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert _client().get("/thing", headers={"host": host}).text == "yes"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil", "", "["]
)
def test_a_foreign_name_that_points_here_gets_nothing(host: str) -> None:
    answer = _client().get("/thing", headers={"host": host})
    assert answer.status_code == 421 and "yes" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:8766"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
def test_pages_of_other_sites_get_nothing(headers: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        answer = _client().request(method, "/thing", headers=headers)
        assert answer.status_code == 403 and "yes" not in answer.text


def test_our_own_page_links_and_programs_are_answered() -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    client = _client()
    assert client.get("/thing", headers=followed).text == "yes"
    assert client.post("/thing", headers=followed).status_code == 403
    assert client.post("/thing", headers={"origin": HOME, "sec-fetch-site": "same-origin"}).text == "yes"
    assert client.post("/thing").text == "yes"


@pytest.mark.parametrize("path", ["/thing", "/nowhere", "/static/page.css", "/fail"])
def test_every_answer_forbids_frames_foreign_scripts_and_guesses_of_types(path: str) -> None:
    headers = _client().get(path).headers
    rules = dict(rule.strip().partition(" ")[::2] for rule in headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'none'" and rules["frame-ancestors"] == "'none'"
    assert {value for name, value in rules.items() if name.endswith("-src")} == {"'none'", "'self'"}
    assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"
    refused = _client().get(path, headers={"host": "evil.example"}).headers
    assert refused["x-frame-options"] == "DENY"


def test_other_machines_need_the_token() -> None:
    client = _client(Access("0.0.0.0", TOKEN), "http://box.local:8765")
    for path in ("/thing", "/static/page.css", "/nowhere"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/thing?token=wrong").status_code == 401
    assert client.get("/thing", headers={"authorization": f"Bearer {TOKEN}"}).text == "yes"
    page = client.get("/thing", headers={"accept": "text/html"})
    assert page.status_code == 401 and "token" in page.text


def test_the_token_in_an_address_becomes_a_cookie() -> None:
    client = _client(Access("0.0.0.0", TOKEN), "http://box.local:8765")
    first = client.get("/thing", params={"a": "1", "token": TOKEN})
    assert first.status_code == 303 and first.headers["location"] == "/thing?a=1"
    assert "httponly" in first.headers["set-cookie"].lower()
    assert client.get("/thing").text == "yes"
    assert client.post("/thing", headers={"origin": "http://evil.example"}).status_code == 403
    elsewhere = client.get("http://box.local:8765//evil.example/", params={"token": TOKEN})
    assert elsewhere.headers["location"] == "/evil.example/"


@pytest.mark.parametrize(("host", "token"), [("0.0.0.0", None), ("192.168.1.2", None), ("::", None), ("::1", "short")])
def test_an_open_address_without_a_good_token_is_refused(host: str, token: str | None) -> None:
    with pytest.raises(OptionError, match="token"):
        Access(host, token)


def test_errors_are_told_as_text() -> None:
    client = _client()
    failed = client.get("/fail")
    assert failed.status_code == 422 and failed.json() == {"error": "a.wav: it is <b>broken</b>. Mend it."}
    page = client.get("/fail", headers={"accept": "text/html"}).text
    assert "&lt;b&gt;broken" in page and "<b>broken" not in page
    assert client.get("/nowhere").json() == {"error": "Not Found"}


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"]
)
def test_only_files_of_the_page_are_static(path: str) -> None:
    assert _client().get(path).status_code == 404
