"""``audiotag data``: what a user types, and what comes back."""

import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.data.reading import read_clips
from audiotag.data.weights import read_sampling_weights
from audiotag.errors import AudiotagError, ManifestError

PLUGIN = """
from audiotag.plugin import DatasetSpec, Remote, hookimpl

@hookimpl
def register_datasets():
    return [
        DatasetSpec(
            name="mine", factory="audiotag.data.formats.table:CsvTable", summary="A set for tests", licence="CC0",
            citation="none", homepage="http://localhost",
            remotes=(
                Remote(url="{base}/sounds.zip", filename="sounds.zip", checksum="{good}", bytes=11),
                Remote(url="{base}/list.csv", filename="list.csv"),
                Remote(url="{base}/changed.zip", filename="changed.zip", checksum="md5:{zeros}", note="Ask them"),
                Remote(url="{base}/gone.zip", filename="gone.zip"),
            ),
        ),
    ]
"""
FILES = {"/sounds.zip": b"hello world", "/list.csv": b"path,labels\n", "/changed.zip": b"another"}


def run(*arguments, code=0):
    result = CliRunner().invoke(main, ["data", *map(str, arguments)])
    if isinstance(result.exception, AudiotagError) and code == 1:
        return str(result.exception)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def server():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = FILES.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.asked = asked
        yield server
        server.shutdown()


@pytest.fixture
def mine(server, install_plugin):
    base = f"http://127.0.0.1:{server.server_port}"
    good = f"sha256:{hashlib.sha256(FILES['/sounds.zip']).hexdigest()}"
    install_plugin("audiotag-mine", PLUGIN.format(base=base, good=good, zeros="0" * 32))
    return server


@pytest.fixture
def openmic(tmp_path):
    run("tiny", "openmic", tmp_path / "openmic")
    return tmp_path / "openmic"


def test_list_needs_no_torch():
    code = (
        "import sys\nfrom audiotag.cli.main import main\n"
        "main(['data', 'list'], standalone_mode=False)\nassert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("json", "folder", "audioset", "fsd50k", "esc50", "dcase20", "openmic", "vggsound", "desed", "hdf5"):
        assert any(line.startswith(name) for line in done.stdout.splitlines()), name


def test_list_as_json():
    facts = {entry["name"]: entry for entry in json.loads(run("list", "--published", "--json"))}
    assert "csv" not in facts
    assert facts["fsd50k"]["splits"] == ["train", "val", "eval"]
    assert facts["fsd50k"]["licence"].startswith("CC BY 4.0")


def test_info_states_checksums():
    text = run("info", "openmic")
    assert "md5:e4ccf187e2bb5ab2e115416e8aafe7f4, 2,623,376,754 bytes" in text and "ISMIR 2018" in text
    assert "no checksum stated" in run("info", "esc50")
    assert json.loads(run("info", "openmic", "--json"))["remotes"][0]["bytes"] == 2_623_376_754
    assert "Did you mean 'openmic'" in run("info", "openmik", code=1)


def test_download(mine, tmp_path):
    folder = tmp_path / "files"
    text = run("download", "mine", "--output", folder, code=1)
    assert "Licence of mine: CC0" in text
    assert (folder / "sounds.zip").read_bytes() == b"hello world"
    assert "no checksum is stated" in text and "sha256:" in text
    assert "changed.zip: its md5 is b32d73e56ec99bc5ec8f83871cde708a, not 000" in text and "Ask them." in text
    assert "gone.zip: the server answers 404" in text and "2 of 4 failed" in text
    assert sorted(path.name for path in folder.iterdir()) == ["list.csv", "sounds.zip"]
    mine.asked.clear()
    (folder / ".gone.zip.0.audiotag-part").write_bytes(b"left by a killed download")
    (folder / ".gone.zip.part").write_bytes(b"left by another program")
    run("download", "mine", "--output", folder, "--file", "gone.zip", code=1)
    assert sorted(path.name for path in folder.iterdir()) == [".gone.zip.part", "list.csv", "sounds.zip"]
    mine.asked.clear()
    text = run("download", "mine", "--output", folder, "--file", "sounds.zip", "--file", "list.csv")
    assert text.count("was there") == 2 and mine.asked == []
    (folder / "sounds.zip").write_bytes(b"hello w0rld")
    assert "Delete it and fetch it again" in run("download", "mine", "--output", folder, "--file", "sounds.zip", code=1)
    assert "no file 'sound.zip'. Did you mean 'sounds.zip'" in run(
        "download", "mine", "--output", folder, "--file", "sound.zip", code=1
    )


def test_a_format_has_nothing_to_download(tmp_path):
    assert "cannot be fetched one by one" in run("download", "csv", "--output", tmp_path, code=1)
    assert "is a format, not a published data set" in run("tiny", "csv", tmp_path / "x", code=1)


def test_prepare_and_read(openmic, tmp_path):
    text = run("prepare", "openmic", openmic, "--output", tmp_path / "out", "--sample-rate", 8000)
    assert str(tmp_path / "out") in text
    assert len(read_clips(tmp_path / "out", split="train")) == 8
    assert "something else" in run("prepare", "openmic", openmic, "--output", openmic / "audio", code=1)


def test_validate(openmic):
    assert "16 recordings, 0 missing, 0 corrupt, 0 extra" in run("validate", openmic)
    clips = read_clips(openmic)
    clips[0].path.unlink()
    clips[1].path.write_text("silence")
    (openmic / "audio" / "stranger.wav").touch()
    text = run("validate", openmic, code=1)
    assert "16 recordings, 1 missing, 1 corrupt, 1 extra" in text and f"missing  {clips[0].path}" in text
    found = json.loads(run("validate", openmic, "--json", code=1))
    assert not found["complete"] and found["corrupt"][0]["file"] == str(clips[1].path)


def test_validate_any_list(tmp_path, openmic):
    clips = read_clips(openmic)
    table = tmp_path / "clips.csv"
    lines = [f"{clip.path},x,{index}" for index, clip in enumerate(clips[:3])]
    table.write_text("\n".join(["path,labels,start", *(line.rsplit(",", 1)[0] + "," for line in lines)]) + "\n")
    assert "3 recordings, 0 missing" in run("validate", table)
    clips[2].path.unlink()
    assert "1 missing" in run("validate", table, "--format", "csv", code=1)


def test_stats(openmic):
    text = run("stats", openmic, "--split", "train")
    assert "8 clips, 0.00111 hours, 4 classes, 1.00 labels a clip" in text
    assert "rates (Hz): 16000: 8" in text and "UNKNOWN" in text
    found = json.loads(run("stats", openmic, "--json"))
    assert found["splits"] == {"test": 8, "train": 8} and found["label_cardinality"] == 1.0
    assert found["classes"][0] == {"mid": "accordion", "name": "accordion", "clips": 4, "unknown": 8}
    assert found["seconds"]["0.5"] == pytest.approx(0.5)
    clip = read_clips(openmic)[0]
    clip.path.unlink()
    assert "unreadable: 1" in run("stats", openmic)


def test_stats_count_classes_without_a_clip(tmp_path):
    run("tiny", "dcase20", tmp_path / "dcase20")
    assert "7 classes have no clip" in run("stats", tmp_path / "dcase20")


def test_stats_of_folds(tmp_path):
    run("tiny", "esc50", tmp_path / "esc50")
    text = run("stats", tmp_path / "esc50")
    assert "one class a clip" in text and "folds: 1: 4, 2: 4, 3: 4, 4: 4, 5: 4" in text


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("psla_sample_weights", []),
        ("psla_sample_weights", ["--rule", "psla"]),
        ("efficientat_sample_weights", ["--rule", "efficientat"]),
        ("efficientat_sample_weights", ["--offset", "100"]),
    ],
)
def test_weights_are_the_published_ones(assets, tmp_path, recipe, options):
    golden = json.loads((assets / "golden" / "recipes.json").read_text())[recipe]
    entries = [
        {"wav": f"{row}.wav", "labels": [str(label) for label in labels]} for row, labels in enumerate(golden["labels"])
    ]
    (tmp_path / "clips.json").write_text(json.dumps({"data": entries}))
    run("weights", tmp_path / "clips.json", "--output", tmp_path / "weights.csv", *options)
    weights = read_sampling_weights(tmp_path / "weights.csv", len(entries))
    np.testing.assert_allclose(weights, golden["values"], rtol=1e-12)


def test_weights_of_clips_without_labels(tmp_path):
    (tmp_path / "clips.csv").write_text("path,labels\na.wav,x\nb.wav,none\n")
    text = run("weights", tmp_path / "clips.csv", "--output", tmp_path / "weights.csv")
    assert "2 weights from 0 to 990.099" in text and "1 clips have no label" in text
    both = ["--offset", "1", "--rule", "psla"]
    assert "both" in run("weights", tmp_path / "clips.csv", "--output", tmp_path / "w.csv", *both, code=1)
    wrong = ["--offset", "0"]
    assert "offset is 0" in run("weights", tmp_path / "clips.csv", "--output", tmp_path / "w.csv", *wrong, code=1)


def test_weights_are_not_written_over_the_lists_of_a_data_set_nor_what_a_list_names(tmp_path):
    run("tiny", "fsd50k", tmp_path / "fsd50k")
    table = tmp_path / "fsd50k" / "FSD50K.ground_truth" / "dev.csv"
    (tmp_path / "list.json").write_text('{"data": [{"wav": "a.wav", "labels": "x", "video_path": "pictures.txt"}]}')
    pictures = tmp_path / "pictures.txt"
    pictures.write_text("stands for a film")
    before = table.read_bytes()
    for source, output, why in (
        (tmp_path / "fsd50k", table, "is a part of"),
        (tmp_path / "list.json", pictures, "would be overwritten"),
    ):
        assert why in run("weights", source, "--output", output, "--overwrite", code=1)
    assert (table.read_bytes(), pictures.read_text()) == (before, "stands for a film")
    run("weights", tmp_path / "fsd50k", "--output", tmp_path / "fsd50k" / "weights.csv")


def test_tiny_refuses_a_full_folder(openmic):
    assert "not empty" in run("tiny", "openmic", openmic, code=1)


def test_odd_recordings_and_names_are_reported_and_the_rest_goes_on(tmp_path, openmic, monkeypatch):
    sound = read_clips(openmic)[0].path
    (tmp_path / "odd.m4a").write_bytes(b"no sound at all")
    names = [
        str(sound),
        "x" * 300 + ".wav",
        "a\0b.wav",
        "/".join(["deep"] * 2000) + ".wav",
        "odd.m4a",
        "back\\slash.wav",
    ]
    rows = [{"wav": name, "labels": ["a"]} for name in names]
    (tmp_path / "clips.json").write_text(json.dumps({"data": rows}))
    monkeypatch.setitem(sys.modules, "av", None)
    assert "6 recordings, 4 missing, 1 corrupt" in run("validate", tmp_path / "clips.json", code=1)
    assert "unreadable: 5" in run("stats", tmp_path / "clips.json")
    with pytest.raises(ManifestError, match=r"recordings are missing \(4\)"):
        read_clips(tmp_path / "clips.json")


def test_prepare_leaves_out_what_cannot_be_read(openmic, tmp_path):
    clip = read_clips(openmic)[3]
    clip.path.write_bytes(b"no sound at all")
    text = run("prepare", "openmic", openmic, "--output", tmp_path / "out", code=1)
    assert f"1 of 16 recordings cannot be read: '{clip.id}'" in text and "left out" in text
    assert "15 clips" in (text := run("stats", tmp_path / "out")) and "listed without a recording: 1" in text


def test_what_a_list_says_twice_or_too_late_is_reported(tmp_path, openmic):
    sound = read_clips(openmic)[0].path
    rows = [f"one,{sound},a;a,", f"two,{sound},a,", f"late,{sound},b,7"]
    (tmp_path / "clips.csv").write_text("\n".join(["id,path,labels,start", *rows]) + "\n")
    text = run("stats", tmp_path / "clips.csv")
    assert "listed again under another id: 1 (two)" in text and "names twice: 1 (a)" in text and "unreadable: 1" in text
    found = json.loads(run("stats", tmp_path / "clips.csv", "--json"))
    assert (found["listed_again"], found["labels_twice"]) == (["two"], {"a": 1})
    assert found["unreadable"]["late"].endswith("a clip of it begins at 7 s, and it ends at 0.5 s.")
    assert "a clip of it begins at 7 s" in run("validate", tmp_path / "clips.csv", code=1)


def test_an_ending_that_is_not_written_is_refused_first(tmp_path):
    assert "written as .csv" in run("weights", tmp_path, "--output", tmp_path / "weights.json", code=2)
