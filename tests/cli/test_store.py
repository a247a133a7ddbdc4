"""``audiotag store`` through the verbs."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.cli.store import parse_size
from audiotag.errors import AudiotagError, LabelError, OptionError, StoreError

LABELS = 'index,mid,display_name\n1,/m/2,"Rain, heavy"\n0,/m/1,Dog\n2,/m/3,Bell\n'


def run(*arguments: object, code: int = 0):
    """Run ``audiotag store ARGUMENTS…``; foreseen failures are raised as the console script catches them."""
    result = CliRunner().invoke(main, ["store", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a class list, ten recordings, one broken one, and a manifest of all."""
    (tmp_path / "labels.csv").write_text(LABELS)
    data = []
    for number in range(10):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 800)
        soundfile.write(tmp_path / f"clip{number}.wav", noise, 8000)
        labels = ["/m/1,/m/2", "/m/3", "/m/1"][number % 3]
        data.append({"video_id": f"clip{number}", "wav": f"clip{number}.wav", "labels": labels})
    (tmp_path / "manifest.json").write_text(json.dumps({"data": data}))
    return tmp_path


def test_a_store_from_the_first_clip_to_the_export(home: Path) -> None:
    memory = home / "memory"
    output = run("init", memory, "--labels", home / "labels.csv", "--capacity", 6, "--seed", 3).output
    assert "class_balanced" in output and "at most 6 clips" in output and "3 classes" in output
    output = run("add", memory, home / "manifest.json").output.splitlines()
    assert len(output) == 11 and output[0] == "clip0: stored (there was room)"
    assert "10 clips offered" in output[-1] and "6 in the store" in output[-1]

    listed = json.loads(run("list", memory, "--json").output)
    assert len(listed) == 6 and all(Path(clip["path"]).is_file() for clip in listed)
    assert len(json.loads(run("list", memory, "--label", "Bell", "--json").output)) == sum(
        "/m/3" in clip["labels"] for clip in listed
    )
    table = run("list", memory).output.splitlines()
    assert len(table) == 7 and table[0].split() == ["ID", "KIND", "BYTES", "ADDED", "CLASSES"]

    facts = json.loads(run("stats", memory, "--json").output)
    assert facts["offers"] == 10 and facts["clips"] == 6 and facts["policy"] == "class_balanced"
    assert {row["name"]: row["observed"] for row in facts["classes"]} == {"Dog": 7, "Rain, heavy": 4, "Bell": 3}
    assert "Rain, heavy" in run("stats", memory).output
    assert "everything agrees" in run("verify", memory).output

    assert "6 clips written" in run("export", memory, home / "out").output
    assert "6 clips" in run("init", home / "twin", "--from", home / "out").output
    assert json.loads(run("stats", home / "twin", "--json").output) == facts
    assert json.loads(run("verify", home / "twin", "--json").output)["ok"]


def test_recordings_with_labels_and_new_classes(home: Path) -> None:
    run("init", home / "m", "--labels", home / "labels.csv", "--capacity-bytes", "1M", "--policy", "fifo")
    run("add", home / "m", home / "clip0.wav", home / "clip1.wav", "--label", "Dog", "--label", "Rain, heavy")
    (home / "new.csv").write_text("index,mid,display_name\n0,/m/9,Frog\n1,/m/1,Dog\n")
    run("add", home / "m", home / "clip2.wav", "--label", "Frog", "--labels", home / "new.csv")
    facts = json.loads(run("stats", home / "m", "--json").output)
    assert [(row["mid"], row["stored"]) for row in facts["classes"]] == [
        ("/m/1", 2),
        ("/m/2", 2),
        ("/m/3", 0),
        ("/m/9", 1),
    ]
    with pytest.raises(LabelError, match="'Frog'"):
        run("add", home / "m", home / "clip3.wav", "--label", "Frogg")


def test_unreadable_clips_are_reported_and_the_rest_goes_on(home: Path) -> None:
    (home / "clip4.wav").write_text("no sound")
    (home / "clip7.wav").unlink()
    run("init", home / "m", "--labels", home / "labels.csv", "--capacity", 20)
    result = run("add", home / "m", home / "manifest.json", "--quiet", code=1)
    assert (
        "clip4.wav" in result.stderr and "clip7.wav" in result.stderr and "2 clips could not be added" in result.stderr
    )
    assert result.stdout.strip() == "8 clips offered: 8 stored, 0 evicted, 8 in the store"
    run("verify", home / "m")


def test_an_interrupted_list_goes_on_where_it_stopped(home: Path) -> None:
    whole = json.loads((home / "manifest.json").read_text())
    run("init", home / "m", "--labels", home / "labels.csv", "--capacity", 20)
    (home / "manifest.json").write_text(json.dumps({"data": whole["data"][:4]}))
    run("add", home / "m", home / "manifest.json")
    (home / "manifest.json").write_text(json.dumps(whole))
    assert "6 clips offered" in run("add", home / "m", home / "manifest.json", "--resume").output
    assert "0 clips offered" in run("add", home / "m", home / "manifest.json", "--resume").output
    again = run("add", home / "m", home / "manifest.json", code=1)
    assert (
        again.stderr.count("stored already") == 10
        and json.loads(run("stats", home / "m", "--json").output)["offers"] == 10
    )


def test_verify_fails_on_a_damaged_store(home: Path) -> None:
    run("init", home / "m", "--labels", home / "labels.csv", "--capacity", 20)
    run("add", home / "m", home / "manifest.json")
    clip = json.loads(run("list", home / "m", "--json").output)[0]
    data = bytearray(Path(clip["path"]).read_bytes())
    data[-1] ^= 1
    Path(clip["path"]).write_bytes(data)
    run("verify", home / "m", "--quick")
    result = run("verify", home / "m", code=1)
    assert f"Problem: the clip '{clip['id']}'" in result.output
    assert json.loads(run("verify", home / "m", "--json", code=1).output)["ok"] is False


def test_wrong_settings_are_explained(home: Path) -> None:
    with pytest.raises(OptionError, match="--labels"):
        run("init", home / "m", "--capacity", 5)
    with pytest.raises(OptionError, match="no bound"):
        run("init", home / "m", "--labels", "home")
    with pytest.raises(OptionError, match="--from"):
        run("init", home / "m", "--from", home, "--capacity", 5)
    with pytest.raises(AudiotagError, match="reservoir"):
        run("init", home / "m", "--labels", "home", "--capacity", 5, "--policy", "resevoir")
    with pytest.raises(OptionError, match="rho"):
        run(
            "init",
            home / "m",
            "--labels",
            "home",
            "--capacity",
            5,
            "--policy",
            "partitioning",
            "--policy-option",
            "rho=often",
        )
    with pytest.raises(StoreError, match="no store"):
        run("list", home / "m")
    assert not (home / "m").exists()


def test_wrong_places_and_settings_are_errors_of_ours(home: Path) -> None:
    labels = ("--labels", home / "labels.csv", "--capacity", 5)
    run("init", home / "m", *labels)
    (home / "folder" / "store.sqlite3").mkdir(parents=True)
    (home / "empty").mkdir()
    (home / "empty" / "store.sqlite3").touch()
    file = home / "clip0.wav"
    for arguments in [
        ("init", file, *labels),
        ("init", file / "below", *labels),
        ("init", "/proc/store", *labels),
        ("init", home / "n", "--labels", home, "--capacity", 5),
        ("init", home / "n", *labels, "--policy", "fifo", "--policy-option", "seed=3"),
        ("init", home / "n", *labels, "--policy", "fifo", "--policy-option", "generator=3"),
        ("init", home / "n", *labels, "--policy", "partitioning", "--policy-option", "rho=nan"),
        ("init", home / "n", "--from", file),
        ("init", home / "n", "--from", home / "nowhere"),
        ("add", file, file, "--label", "Dog"),
        ("add", home / "empty", file, "--label", "Dog"),
        ("add", home / "folder", file, "--label", "Dog"),
        ("list", file),
        ("list", home / "empty"),
        ("export", home / "m", file),
        ("export", home / "m", file / "below"),
        ("export", home / "m", "/proc/export"),
        ("verify", home / "empty", "--repair"),
        ("simulate", "--preset", "published", "--policy", "fifo:seed=3"),
        ("simulate", "--preset", "published", "--seeds", 1, "--output", file),
        ("simulate", "--preset", "published", "--seeds", 1, "--output", "/proc/x"),
        ("simulate", "--exponent", 1000),
        ("simulate", "--stream", "bursts", "--burst-length", "nan"),
    ]:
        with pytest.raises(AudiotagError):
            run(*arguments)
    assert "no store here" in run("verify", file, code=1).output
    assert not (home / "n").exists()


def test_recordings_whose_names_are_no_text_are_stored(home: Path) -> None:
    for number, name in enumerate([b"caf\xe9.wav", b"cafe.\xe9"]):
        (home / f"clip{number}.wav").rename(home / os.fsdecode(name))
        run("init", home / f"m{number}", "--labels", home / "labels.csv", "--capacity", 5)
        run("add", home / f"m{number}", home / os.fsdecode(name), "--label", "Dog")
        (clip,) = json.loads(run("list", home / f"m{number}", "--json").output)
        assert "caf" in clip["id"] and "\\udce9" in clip["id"]
        run("verify", home / f"m{number}")
    (home / "class" / "Dog").mkdir(parents=True)
    (home / "class" / "Cat").mkdir()
    (home / os.fsdecode(b"caf\xe9.wav")).rename(home / "class" / "Dog" / os.fsdecode(b"caf\xe9.wav"))
    assert "1 stored" in run("add", home / "m0", home / "class", "--unknown-labels", "skip").output


def test_sizes() -> None:
    assert [parse_size(text) for text in ("12", "500M", "2.5 gb", "3k")] == [12, 500_000_000, 2_500_000_000, 3000]
    for text in ("", "M", "-3", "2X", "1 2"):
        with pytest.raises(OptionError):
            parse_size(text)


def test_simulations_print_and_write(tmp_path: Path) -> None:
    result = run(
        "simulate",
        "--preset",
        "published",
        "--seeds",
        2,
        "--points",
        5,
        "--output",
        tmp_path / "out",
        "--figures",
        "svg",
    )
    lines = result.stdout.splitlines()
    assert lines[0].startswith("POLICY") and len(lines) == 7
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "counts.csv",
        "distributions.svg",
        "measures.csv",
        "measures.svg",
    ]
    rows = list(csv.DictReader((tmp_path / "out" / "measures.csv").read_text().splitlines()))
    assert len(rows) == 6 * 2 * 5 and rows[-1]["step"] == "100"
    with pytest.raises(OptionError, match=r"results already \(measures\.csv\)"):
        run("simulate", "--preset", "published", "--points", 1, "--output", tmp_path / "out")
    run("simulate", "--preset", "published", "--points", 1, "--output", tmp_path / "out", "--overwrite")


def test_simulations_of_every_stream(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("labels\n" + "dog\n" * 30 + '"dog,rain"\n' * 5 + "bell\n")
    (tmp_path / "counts.csv").write_text("label,count\ndog,50\nbell,2\n")
    policy = (
        "--policy",
        "class_balanced",
        "--policy",
        "distribution_matching:replace_prob=0.5",
        "--seeds",
        1,
        "--json",
    )
    for stream, classes in [
        (("--log", tmp_path / "log.csv"), 3),
        (("--counts", tmp_path / "counts.csv"), 2),
        (("--counts", "dog=50,rain=3,bell=1"), 3),
        (("--counts", ",".join(f"class {number}=1" for number in range(12)) + f",{'x' * 300}=0"), 12),
        (("--stream", "zipf", "--classes", 4, "--steps", 300, "--exponent", 1.2), 4),
        (("--stream", "drifting", "--classes", 4, "--steps", 300, "--most-labels", 2), 4),
        (("--stream", "bursts", "--classes", 4, "--steps", 900, "--burst-length", 5), 4),
    ]:
        rows = json.loads(run("simulate", *stream, "--capacity", 12, *policy).output)
        assert [row["policy"] for row in rows] == ["class_balanced", "distribution_matching(replace_prob=0.5)"]
        assert rows[0]["classes_retained"] == classes
    for wrong in (
        ("--counts", "dog"),
        ("--counts", "dog=x"),
        ("--preset", "rare", "--counts", "a=1"),
        ("--preset", "rare", "--steps", 500),
        ("--counts", "a=1", "--most-labels", 2),
        ("--counts", "a=1", "--labels", "audioset"),
        ("--figures", "svg"),
    ):
        with pytest.raises(OptionError):
            run("simulate", *wrong)


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys\nfrom audiotag.cli.main import main\n"
        "for verb in ([], ['add'], ['simulate']):\n"
        "    try: main(['store', *verb, '--help'], prog_name='audiotag')\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'soundfile'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "simulate" in done.stdout and "--burst-length" in done.stdout
