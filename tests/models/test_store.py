import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from audiotag.cache.place import cache_folder
from audiotag.errors import PluginError, WeightsError
from audiotag.models.store import WeightsStore
from audiotag.plugin import Weights

CONTENT = b"weights" * 30_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/missing.pt":
            self.send_error(404)
            return
        content = {"/other.pt": b"another file", "/login.pt": b"<!DOCTYPE html><html>Please log in</html>"}.get(
            self.path, CONTENT
        )
        self.send_response(200)
        if self.path != "/unannounced.pt":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path in ("/cut.pt", "/unannounced.pt") else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path):
    return WeightsStore(tmp_path / "weights")


def weights(*urls, **fields):
    return Weights(urls=urls, filename="net.pt", **fields)


def names(store):
    return sorted(path.name for path in store.root.iterdir())


@pytest.mark.parametrize("progress", [False, True])
def test_a_good_file_is_downloaded_once(store, server, progress, capfd):
    wanted = weights(f"{server.url}/good.pt", sha256=SHA256, bytes=len(CONTENT))
    path = store.fetch(wanted, name="net", progress=progress)
    assert path == store.path(wanted) == store.root / "net.pt"
    assert path.read_bytes() == CONTENT
    assert store.fetch(wanted, name="net") == path
    assert server.asked == ["/good.pt"]
    assert names(store) == ["net.pt"]
    captured = capfd.readouterr()
    assert captured.out == ""
    assert ("net" in captured.err) == progress


def test_an_unknown_hash_is_recorded_at_the_first_download_and_checked_ever_after(store, server):
    wanted = weights(f"{server.url}/good.pt")
    path = store.fetch(wanted, name="net")
    record = json.loads((store.root / "net.pt.sha256.json").read_text())
    assert (record["sha256"], record["bytes"], record["source"]) == (SHA256, len(CONTENT), f"{server.url}/good.pt")
    assert store.recorded_sha256(wanted) == SHA256
    assert store.verify(wanted, name="net").published is False
    path.write_bytes(CONTENT[:-1] + b"!")
    for check in (store.fetch, store.verify):
        with pytest.raises(WeightsError, match=r"net\.pt: .*recorded when the file was first seen.*--refresh net"):
            check(wanted, name="net")
    store.fetch(wanted, name="net", refresh=True)
    assert path.read_bytes() == CONTENT


def test_a_publisher_who_changes_the_file_is_noticed(store, server):
    store.fetch(weights(f"{server.url}/good.pt"), name="net").unlink()
    with pytest.raises(WeightsError, match=r"recorded when the file was first seen.*Delete .*net\.pt\.sha256\.json"):
        store.fetch(weights(f"{server.url}/other.pt"), name="net")
    assert names(store) == ["net.pt.sha256.json"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"sha256": 3}', '{"sha256": "ab"}', "[" * 100_000, "1" * 5000])
def test_a_damaged_record_is_said_so(store, server, content):
    wanted = weights(f"{server.url}/good.pt")
    store.fetch(wanted, name="net")
    (store.root / "net.pt.sha256.json").write_text(content)
    with pytest.raises(WeightsError, match=r"net\.pt\.sha256\.json: .*Delete this record of the file's hash"):
        store.verify(wanted, name="net")


@pytest.mark.parametrize(
    ("page", "fields", "reason"),
    [
        ("cut.pt", {}, r"broke off"),
        ("cut.pt", {"sha256": SHA256}, r"broke off"),
        ("unannounced.pt", {"bytes": len(CONTENT)}, r"it has 105,000 bytes, not 210,000"),
        ("other.pt", {"sha256": SHA256}, r"its sha256 is .*\(published\)"),
        ("missing.pt", {}, r"404 Not Found"),
        ("login.pt", {}, r"a web page, not a file of weights"),
    ],
)
def test_a_bad_answer_leaves_nothing_and_the_next_mirror_is_asked(store, server, page, fields, reason):
    bad, good = f"{server.url}/{page}", f"{server.url}/good.pt"
    with pytest.raises(WeightsError, match=rf"{bad}: .*{reason}"):
        store.fetch(weights(bad, **fields), name="net")
    assert names(store) == []
    assert store.fetch(weights(bad, good, **fields), name="net").read_bytes() == CONTENT
    assert server.asked == [f"/{page}", f"/{page}", "/good.pt"]


def test_a_transfer_that_ends_early_without_an_error_is_noticed(store, monkeypatch):
    """Older versions of urllib3 do not compare what came with the announced length."""

    class Downloader:
        def __init__(self, progressbar, **settings):
            self.progressbar = progressbar

        def __call__(self, url, output_file, pooch):
            self.progressbar.total = 100
            Path(output_file).write_bytes(b"half")

    monkeypatch.setattr("pooch.HTTPDownloader", Downloader)
    with pytest.raises(WeightsError, match=r"broke off after 4 of 100 bytes"):
        store.fetch(weights("http://nowhere.invalid/net.pt"), name="net")
    assert names(store) == []


def test_the_last_error_lists_every_address_and_says_where_to_put_the_file(store, server):
    server.shutdown()
    server.server_close()
    wanted = weights(f"{server.url}/a.pt", "http://nowhere.invalid/b.pt", "gone:c", note="The page needs a login.")
    with pytest.raises(WeightsError) as caught:
        store.fetch(wanted, name="net")
    message = str(caught.value)
    for url in wanted.urls:
        assert f"\n  {url}: " in message
    assert message.count("no connection") == 2 and "scheme 'gone' is not understood" in message
    assert "Note: The page needs a login." in message
    assert f"put it at {store.root / 'net.pt'}, or name it with weights=FILE" in message


def test_a_file_put_there_by_hand_is_taken_and_recorded(store):
    store.root.mkdir()
    (store.root / "net.pt").write_bytes(CONTENT)
    wanted = weights("http://nowhere.invalid/net.pt")
    assert store.fetch(wanted, name="net").read_bytes() == CONTENT
    record = json.loads((store.root / "net.pt.sha256.json").read_text())
    assert record["source"] == "put there by hand"


def test_a_wrong_file_put_there_by_hand_is_refused(store):
    store.root.mkdir()
    (store.root / "net.pt").write_bytes(b"wrong")
    with pytest.raises(WeightsError, match=r"damaged or another file: it has 5 bytes, not 210,000"):
        store.fetch(weights("http://nowhere.invalid/net.pt", bytes=len(CONTENT)), name="net")


def test_file_addresses_are_copied(store, tmp_path):
    source = tmp_path / "with space.pt"
    source.write_bytes(CONTENT)
    assert store.fetch(weights(source.as_uri()), name="net").read_bytes() == CONTENT
    source.unlink()
    with pytest.raises(WeightsError, match=r"No such file"):
        store.fetch(weights(source.as_uri()), name="net", refresh=True)
    assert (store.root / "net.pt").read_bytes() == CONTENT, "a failed refresh keeps the old file"


@pytest.fixture
def fetcher(install_plugin):
    module = install_plugin(
        "audiotag-vault",
        "def fetch(url, path):\n"
        "    if url == 'vault:shut':\n"
        "        raise RuntimeError('the vault is shut')\n"
        "    path.write_bytes(url.encode())\n",
    )
    return f"{module}:fetch"


def test_a_plugin_fetches_its_own_scheme(store, fetcher, server):
    assert store.fetch(weights("vault:shut", "vault:open", fetcher=fetcher), name="net").read_bytes() == b"vault:open"
    with pytest.raises(WeightsError, match=r"vault:shut: RuntimeError: the vault is shut"):
        store.fetch(weights("vault:shut", fetcher=fetcher), name="net", refresh=True)
    path = store.fetch(Weights(urls=(f"{server.url}/good.pt",), filename="http.pt", fetcher=fetcher), name="net")
    assert path.read_bytes() == CONTENT, "HTTP addresses do not go to the fetcher"


def test_a_fetcher_that_cannot_be_imported_is_a_failed_address(store):
    with pytest.raises(WeightsError, match=r"fetcher 'no_such_package:f' cannot be imported"):
        store.fetch(weights("vault:x", fetcher="no_such_package:f"), name="net")


def test_verify_says_what_is_missing(store):
    with pytest.raises(WeightsError, match=r"not there.*audiotag models download net"):
        store.verify(weights("http://nowhere.invalid/net.pt"), name="net")


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"cannot be written.*AUDIOTAG_CACHE"):
        WeightsStore(tmp_path / "file").fetch(weights(f"{server.url}/good.pt"), name="net")


def test_the_cache_is_chosen_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path))
    assert WeightsStore().root == tmp_path / "weights"
    monkeypatch.delenv("AUDIOTAG_CACHE")
    assert cache_folder().name == "audiotag"


def test_two_processes_may_download_at_once(store, server):
    program = (
        "import sys; from audiotag.models.store import WeightsStore; from audiotag.plugin import Weights\n"
        f"w = Weights(urls=({server.url + '/good.pt'!r},), filename='net.pt')\n"
        f"print(WeightsStore({str(store.root)!r}).fetch(w, name='net'))\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [str(store.root / "net.pt")] * 2
    assert [process.returncode for process in both] == [0, 0]
    assert (store.root / "net.pt").read_bytes() == CONTENT
    assert names(store) == ["net.pt", "net.pt.sha256.json"]


def test_a_file_that_a_package_ships_is_used_where_it_lies(tmp_path, monkeypatch, store):
    (tmp_path / "shipping").mkdir()
    (tmp_path / "shipping" / "__init__.py").touch()
    file = tmp_path / "shipping" / "net.pt"
    file.write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    shipped = weights("package:shipping/net.pt", sha256=SHA256)
    assert store.fetch(shipped, name="net", refresh=True) == file
    assert not store.root.exists()
    file.write_bytes(b"else")
    with pytest.raises(WeightsError, match=r"damaged.*Install the package 'shipping' again"):
        store.fetch(shipped, name="net")
    file.unlink()
    with pytest.raises(WeightsError, match=r"not there.*Install the package"):
        store.fetch(shipped, name="net")


@pytest.mark.parametrize("urls", [("package:a/net.pt",), ("package:a/net.pt", "https://example.org/net.pt")])
def test_a_shipped_file_states_its_hash_and_no_other_address(urls):
    with pytest.raises(PluginError, match="sha256"):
        Weights(urls=urls, filename="net.pt", sha256=SHA256 if len(urls) > 1 else None)


@pytest.mark.skipif(sys.platform == "win32", reason="it takes locks that Windows has not")
def test_what_a_killed_download_left_is_removed_by_the_next(store, server):
    program = (
        "import os, signal; from audiotag.models import store; from audiotag.plugin import Weights\n"
        "def transfer(url, destination, *others):\n"
        "    destination.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "store._transfer = transfer\n"
        f"store.WeightsStore({str(store.root)!r}).fetch(Weights(urls=('a:b',), filename='big.pt'), name='big')\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    (left,) = names(store)
    assert left.startswith(".big.pt.")
    store.fetch(weights(f"{server.url}/good.pt", sha256=SHA256), name="net")
    assert names(store) == ["net.pt"]
