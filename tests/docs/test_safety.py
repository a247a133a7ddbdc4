"""docs/safety.md is true: each of its statements names a test of this module, and most of them watch the commands work.

The commands run one after another in one process under an audit hook (``watch/sitecustomize.py``), in a folder of their
own that also holds the home folder, the cache and the temporary folder; what that folder holds before and after each is
compared (``watch/verbs.py``).
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile

from audiotag.cli.main import main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")

PLUGIN = """
from pathlib import Path
from audiotag.plugin import BackboneSpec, Weights, hookimpl

COMMON = dict(
    family="tiny", factory="tiny:TinyBackbone", sample_rate=8000, clip_seconds=1.0, min_seconds=0.1,
    licence="MIT", citation="none",
)

@hookimpl
def register_backbones():
    def home(name, url):
        return BackboneSpec(
            name=name, summary="Home", labels="home", num_classes=21, embedding_dim=3, options={{"width": 3}},
            weights=Weights(urls=(url,), filename=name + ".pt", licence="MIT"), **COMMON,
        )
    return [
        BackboneSpec(name="tiny", summary="A network for tests", embedding_dim=4, **COMMON),
        home("tiny_home", {url!r}), home("tiny_other", {url!r}), home("tiny_far", "https://weights.invalid/tiny.pt"),
        home("tiny_near", "https://weights.invalid/tiny.pt"),
    ]
"""

RUDE = """
import os
from pathlib import Path

if "RUDE" in os.environ:
    Path(os.environ["HOME"], "rude").touch()
"""

DOOR = "/m/02dgv"

QUICK: list[tuple[str, dict[str, Any]]] = [
    # what is typed, what its positional arguments are called on the page, and "lists": what lists of clips bring
    ("finetune --backbone tiny --train sounds --output runs/a --epochs 1 --workers 0 --batch-size 4", {}),
    ("finetune --resume runs/a", {"lists": ["sounds"]}),
    (
        "finetune --backbone runs/a --freeze-backbone --train sounds --output runs/b --epochs 1 --workers 1 "
        "--batch-size 4 --audio-cache-gb 0.1",
        {},
    ),
    ("infer clip.wav --model runs/a --output tags.csv --embeddings embeddings.npz", {"PATH": "clip.wav"}),
    ("infer clip.wav --model runs/a --output tags.txt --format audacity", {"PATH": "clip.wav"}),
    ("infer clip.wav --model tiny_home", {"PATH": "clip.wav"}),
    (
        "infer sounds --model runs/a --output parts --shard 0/1 --format jsonl",
        {"PATH": "sounds"},
    ),
    ("merge parts --output joined.csv", {"FOLDER": "parts"}),
    ("segments joined.csv --output cut --per-class 2", {"DETECTIONS": "joined.csv", "lists": ["sounds"]}),
    ("segments joined.csv --output cut --total 1 --overwrite", {"DETECTIONS": "joined.csv", "lists": ["sounds"]}),
    (
        "listen clip.wav --model tiny_home --output events.jsonl --clips kept --lines lines.jsonl --state state "
        "--threshold 0.01 --hop 1 --ask-below 1 --asked asked --exec true",
        {"SOURCE": "clip.wav"},
    ),
    ("index build alike sounds --model tiny_home", {"INDEX": "alike", "PATH": "sounds"}),
    ("index add alike clip.wav", {"INDEX": "alike", "PATH": "clip.wav"}),
    ("index search alike clip.wav", {"INDEX": "alike", "RECORDING": "clip.wav"}),
    ("index info alike", {"INDEX": "alike"}),
    ("index remove alike clip.wav", {"INDEX": "alike"}),
    ("evaluate --model runs/a --data sounds --output report --figures png", {}),
    ("evaluate --model runs/a --data esc50.csv --multi-label --output report --overwrite", {"lists": ["audio"]}),
    ("evaluate --model runs/a --data sounds --multi-label --tune-thresholds sounds", {}),
    ("store init memory --labels home --capacity 2", {"STORE": "memory"}),
    ("store add memory stream.csv", {"STORE": "memory", "PATH": "stream.csv", "lists": ["sounds"]}),
    ("store list memory", {"STORE": "memory"}),
    ("store stats memory", {"STORE": "memory"}),
    ("store export memory exported", {"STORE": "memory", "FOLDER": "exported"}),
    ("store verify memory", {"STORE": "memory"}),
    ("store init again --from exported", {"STORE": "again"}),
    ("store simulate --steps 20 --seeds 1 --policy reservoir --output simulated", {}),
    ("online --model tiny_home --store memory --stream stream.csv --output runs/live", {"lists": ["sounds"]}),
    (
        "online --learner analytic --model tiny_home --stream stream.csv --output runs/knows",
        {"lists": ["sounds"]},
    ),
    (
        "listen clip.wav --model runs/knows --hop 1 --threshold 0.01 --ask-below 1 --asked asked --learn known "
        "--answers answers.jsonl --state state",
        {"SOURCE": "clip.wav"},
    ),
    ("learner info runs/knows", {"STATE": "runs/knows"}),
    ("learner teach runs/knows --clips stream.csv --output runs/taught", {"STATE": "runs/knows", "lists": ["sounds"]}),
    ("learner merge runs/knows runs/taught --output runs/merged", {"STATE": "runs"}),
    ("learner forget runs/knows --clips stream.csv --output runs/less", {"STATE": "runs/knows", "lists": ["sounds"]}),
    (
        "online benchmark --model tiny_home --data esc50.csv --test-fold 3 --seeds 1 --policy reservoir "
        "--output benchmark",
        {"lists": ["audio"]},
    ),
    ("labels check --data stream.csv --labels home", {}),
    (
        "labels enhance --data mids.json --labels home --model tiny_home --save-scores scores.npz "
        "--output enhanced.json --report added.csv",
        {"lists": ["sounds"]},
    ),
    ("labels extend runs/a --labels home --output extended", {"MODEL": "runs/a"}),
    ("data list", {}),
    ("data info esc50", {}),
    ("data tiny esc50 esc", {"FOLDER": "esc"}),
    ("data validate esc", {"SOURCE": "esc"}),
    ("data stats esc", {"SOURCE": "esc"}),
    ("data prepare esc50 esc --output prepared --sample-rate 8000", {"SOURCE": "esc"}),
    ("data scan sounds --output list.csv", {"FOLDER": "sounds"}),
    ("data weights sounds --output weights.csv", {"SOURCE": "sounds"}),
    ("models average runs/a/best runs/a/last --output mean", {"CHECKPOINT": "runs/a"}),
    (
        "finetune --backbone ced --option depth=1 --adapter rank=2 --train sounds --output runs/low --epochs 1 "
        "--workers 0 --batch-size 4",
        {},
    ),
    ("models merge runs/low --output merged", {"CHECKPOINT": "runs/low"}),
    ("models complexity tiny --num-classes 3", {}),
    ("models download tiny_other", {}),
    ("models ensemble runs/a runs/a/last --output both", {"MEMBER": "runs/a"}),
    ("models export home10", {}),
    ("export home10 --output without_torch", {}),
    ("models info tiny_home", {}),
    ("models list", {}),
    ("models path tiny_home", {}),
    ("models summary runs/a", {"RUN": "runs/a", "lists": ["sounds"]}),
    ("models verify tiny_home", {}),
    ("cache list", {}),
    ("cache clear sounds embeddings --older-than 4w", {}),
    ("plugins list --json", {}),
    ("plugins new mine --kind loss --output made", {}),
    ("plugins check --kind loss bce", {}),
    ("completion bash", {}),
    ("recipes list", {}),
    ("recipes show equiav", {}),
    ("x equiav create --output equiav.pth --option depth=1 --option width=32 --option heads=2", {}),
]

SLOW: list[tuple[str, dict[str, Any]]] = [
    ("compare --backbone tiny --train sounds --test sounds --epochs 1 --workers 0 --output compared", {}),
    ("compare --backbone tiny --train sounds --test sounds --epochs 1 --workers 0 --output compared", {}),
    ("demo --output demo --clips 64 --epochs 1", {}),
    ("x equiav demo --output pairs --epochs 3", {}),
    ("x equiav retrieve --weights pairs/run --data pairs/pairs/test.json --output found", {"lists": ["pairs"]}),
    ("x equiav pretrain --resume pairs/run", {"lists": ["pairs"]}),
]

FAR = [
    "infer clip.wav --model tiny_far",
    "infer clip.wav --model tiny_far --output parts_far --shard 0/1",
    "listen clip.wav --model tiny_far --state state_far",
    "index build alike_far clip.wav --model tiny_far",
    "finetune --backbone tiny_far --train sounds --output runs/far --epochs 1 --workers 0",
    "finetune --backbone tiny --teacher tiny_far --train sounds --output runs/far --epochs 1 --workers 0",
    "evaluate --model tiny_far --data sounds",
    "compare --backbone tiny_far --train sounds --test sounds --output compared_far",
    "online --model tiny_far --store memory --stream stream.csv --output runs/far",
    "online benchmark --model tiny_far --data esc50.csv --test-fold 3",
    "labels enhance --data mids.json --model tiny_far --output far.json",
    "labels extend tiny_far --labels home --output runs/far",
    "models ensemble tiny_far runs/a --output runs/far",
    "models export tiny_far",
    "export tiny_far --output without_torch_far",
    "models download tiny_far",
]

ANEW = [
    "finetune --backbone tiny_home --freeze-backbone --train sounds --output runs/anew --epochs 1 --workers 0 "
    "--batch-size 4 --audio-cache-gb 0.1",
    "infer clip.wav --model tiny_home",
]

ATTACKS = {
    "pickle": [
        "infer clip.wav --model tiny_home --weights evil.pt",
        "infer clip.wav --model tiny_home --weights evil.safetensors",
        "labels enhance --data mids.json --labels home --scores evil.npz --output evil.json",
    ],
    "import": [
        "infer clip.wav --model runs/a --labels intruder:s",
        "infer clip.wav --model imports",
        "finetune --backbone imports --train sounds --output runs/imports --epochs 1",
        "finetune --backbone tiny --train sounds --loss intruder:s --output runs/imports --epochs 1",
        "finetune --backbone tiny --train sounds --sampler intruder:s --output runs/imports --epochs 1",
        "store init imported --labels home --capacity 3 --policy intruder:s",
    ],
    "address": [
        "infer http://ADDRESS/a.wav --model runs/a",
        "infer http: --model runs/a",
        "infer addresses.csv --model runs/a",
        "evaluate --model runs/a --data addresses.csv",
        "data validate addresses.csv",
    ],
    "input": [
        "infer clip.wav --model runs/a --output clip.wav --format csv --overwrite",
        "infer stream.csv --model runs/a --output stream.csv --overwrite",
        "data weights stream.csv --output stream.csv --overwrite",
        "labels enhance --data mids.json --labels home --model tiny_home --output mids.json --overwrite",
        "x equiav create --labels classes.csv --output classes.csv --overwrite --option depth=1",
        "models average runs/a/best runs/a/last --output runs/a/best",
    ],
    "outside": ["data prepare esc50 leading --output led"],
    "again": [
        "infer clip.wav --model runs/a --output tags.csv",
        "data weights sounds --output weights.csv",
        "evaluate --model runs/a --data sounds --output report",
        "store simulate --steps 20 --seeds 1 --policy reservoir --output simulated",
        "labels enhance --data mids.json --labels home --model tiny_home --output enhanced.json",
        "x equiav create --output equiav.pth --option depth=1 --option width=32 --option heads=2",
    ],
    "full": [
        "finetune --backbone tiny --train sounds --output sounds --epochs 1",
        "models average runs/a/best runs/a/last --output sounds",
        "demo --output sounds",
        "plugins new mine --kind loss --output made",
        "store export memory sounds",
        "labels extend runs/a --labels home --output sounds",
    ],
    "publisher": ["data download esc50 --output downloaded"],
    "hub": ["models push runs/a hf:me/a", "models pull hf:me/a --output pulled"],
    "changed": ["models verify tiny_other"],
    "visitor": [f"store add visited clip.wav --label {DOOR}", f"store add linked clip.wav --label {DOOR}"],
    "by hand": [
        "models path tiny_near",
        "infer clip.wav --model tiny_near",
        "infer clip.wav --model tiny_far --weights ../source.pt",
    ],
}


@dataclass
class Row:
    """A line of the table: for each column the names in it, and the text of the last."""

    commands: list[list[str]]
    reads: list[str]
    writes: list[str]
    removes: list[str]
    connects: str


def rows() -> list[Row]:
    table = re.findall(r"^\| (`.+) \|$", PAGE.partition("\n## Files beside yours")[0], re.MULTILINE)
    found = []
    for line in table:
        names, reads, writes, removes, connects = line.split(" | ")
        for cell in (reads, writes, removes):
            assert cell == "nothing" or re.fullmatch("`[^`]+`(, `[^`]+`)*", cell), cell
        ticked = [re.findall("`([^`]+)`", cell) for cell in (names, reads, writes, removes)]
        found.append(Row([name.split() for name in ticked[0]], *ticked[1:], connects))
    return found


@dataclass
class Did:
    """What a command did, in paths relative to the watched folder where they are in it."""

    arguments: list[str]
    code: int
    printed: str
    events: list[list[str]] = field(repr=False)
    added: list[str]
    changed: list[str]
    removed: list[str]
    seconds: float

    def of(self, *events: str) -> list[str]:
        return [one[1] for one in self.events if one[0] in events and len(one) > 1]

    @property
    def written(self) -> list[str]:
        return [*self.added, *self.changed]

    @property
    def connections(self) -> list[list[str]]:
        return [one for one in self.events if one[0].startswith("socket.") and one[1] != "unix"]


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def write_plugin(folder: Path, distribution: str, source: str) -> None:
    """Install a plugin of one module into *folder*."""
    module = distribution.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[audiotag]\n{distribution} = {module}\n")


def make_folder(root: Path, tiny: Any, address: str) -> None:
    import torch

    work = root / "work"
    for name in ("work", "home", "cache", "tmp", "site"):
        (root / name).mkdir()
    torch.save(tiny.TinyBackbone(21, width=3).state_dict(), root / "source.pt")
    write_plugin(root / "site", "audiotag-tiny", PLUGIN.format(url=(root / "source.pt").as_uri()))
    write_plugin(root / "site", "audiotag-rude", RUDE)
    (root / "site" / "intruder.py").write_text("import pathlib\npathlib.Path(__file__).with_name('imported').touch()\n")
    generator = np.random.default_rng(0)
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for folder in ("sounds/Doorbell", "sounds/Kettle", "audio", f"http:/{address}", "leading/audio"):
        (work / folder).mkdir(parents=True)
    for number in range(12):
        name, fold = ("Doorbell", "Kettle")[number % 2], 1 + number // 4
        wave = 0.3 * np.sin(np.arange(4000) * (0.1, 0.9)[number % 2]) + 0.01 * generator.standard_normal(4000)
        soundfile.write(work / "sounds" / name / f"{number}.wav", wave, 8000)
        soundfile.write(work / "audio" / f"{fold}-{number}-A-{number % 2}.wav", wave, 8000)
        lines.append(f"{fold}-{number}-A-{number % 2}.wav,{fold},{number % 2},{name},True,{number},A")
    (work / "esc50.csv").write_text("\n".join(lines) + "\n")
    soundfile.write(work / "clip.wav", wave, 8000)
    soundfile.write(work / "http:" / address / "a.wav", wave, 8000)
    (work / "http:" / address / "b.m4a").write_bytes(b"what libsndfile leaves to PyAV")
    (work / "addresses.csv").write_text(f"path,labels\nhttp://{address}/a.wav,Kettle\nhttp://{address}/b.m4a,Kettle\n")
    clips = [f"sounds/Kettle/{number}.wav" for number in range(1, 12, 2)]
    (work / "stream.csv").write_text("path,labels\n" + "".join(f"{clip},Door\n" for clip in clips))
    (work / "mids.json").write_text(json.dumps({"data": [{"wav": clip, "labels": [DOOR]} for clip in clips]}))
    (work / "classes.csv").write_text(f"index,mid,display_name\n0,{DOOR},Door\n1,/m/07bgp,Sheep\n")
    (work / "leading" / "meta").mkdir()
    led = [lines[0], "../../pwned.wav,1,0,dog,True,1,A"]
    (work / "leading" / "meta" / "esc50.csv").write_text("\n".join(led) + "\n")
    soundfile.write(root / "work" / "pwned.wav", wave, 8000)  # what ../../pwned.wav leads to from leading/audio
    evil = Evil(root / "executed")
    torch.save({"conv.weight": evil}, work / "evil.pt")
    (work / "evil.safetensors").write_bytes(pickle.dumps({"conv.weight": evil}))
    np.savez(work / "evil.npz", scores=np.array([evil], dtype=object), ids=np.array(["a"]), mids=np.array([DOOR]))


Watch = Callable[..., list[Did]]


@contextmanager
def watching(root: Path, **variables: str) -> Iterator[Watch]:
    """Start the process that runs commands; gives ``watch(commands, **variables)``, which says what they did."""
    (root / "notes").touch()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AUDIOTAG_", "XDG_", "MPL"))},
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "AUDIOTAG_CACHE": str(root / "cache"),
        "AUDIOTAG_WATCH": str(root / "notes"),
        "AUDIOTAG_WATCHED_FOLDER": str(root),
        "PYTHONPATH": os.pathsep.join(map(str, (HERE / "watch", root / "site", HERE.parent))),
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }
    command = [sys.executable, HERE / "watch" / "verbs.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root / "work", env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def watch(commands: list[str], **variables: str) -> list[Did]:
            print(json.dumps([[command.split() for command in commands], variables]), file=asked, flush=True)
            found = [Did(**one) for one in json.loads(answers.readline().replace(str(root) + "/", ""))]
            for one in found:
                for name in ("added", "changed", "removed"):
                    setattr(one, name, [path for path in getattr(one, name) if path != "notes"])
            return found

        yield watch


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A server that nobody may ask."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, listener: socket.socket) -> Path:
    sys.path.insert(0, str(HERE.parent))
    import tiny

    folder = tmp_path_factory.mktemp("watched")
    make_folder(folder, tiny, "{}:{}".format(*listener.getsockname()))
    return folder


@pytest.fixture(scope="module")
def watch(root: Path) -> Iterator[Watch]:
    with watching(root) as watch:
        yield watch


@pytest.fixture(scope="module")
def did(watch: Watch, root: Path) -> list[Did]:
    """What each of QUICK did, in their order."""
    commands = [command for command, _ in QUICK]
    answered = next(place for place, command in enumerate(commands) if "--answers" in command)
    found = watch(commands[:answered])
    lines = [json.dumps({"id": path.stem, "labels": []}) for path in (root / "work" / "asked").glob("*.json")]
    (root / "work" / "answers.jsonl").write_text("\n".join(lines) + "\n")
    found += watch(commands[answered:])
    assert [(one.arguments, one.printed) for one in found if one.code] == []
    return found


@pytest.fixture(scope="module")
def anew(watch: Watch, root: Path, did: list[Did]) -> list[Did]:
    """What each of FAR and ANEW did, after those of `did` and with a cache that has been deleted."""
    return watch([*FAR, *ANEW], AUDIOTAG_CACHE=str(root / "deleted"))


@pytest.fixture(scope="module")
def attacks(watch: Watch, root: Path, did: list[Did], listener: socket.socket) -> dict[str, list[Did]]:
    """What each of ATTACKS did, after those of `did`."""
    work = root / "work"
    shutil.copytree(work / "runs" / "a" / "best", work / "imports")
    described = json.loads((work / "imports" / "audiotag.json").read_text())
    described["backbone"] |= {"spec": "intruder:s", "family": "intruder:s", "factory": "intruder:s"}
    (work / "imports" / "audiotag.json").write_text(json.dumps(described))
    shutil.copy(root / "source.pt", root / "cache" / "weights" / "tiny_near.pt")
    for name in ("visited", "linked"):
        shutil.copytree(work / "memory", work / name)
    (work / "visited" / "files" / "000000" / "letter.txt").write_text("mine")
    (work / "precious").mkdir()
    (work / "precious" / "000007001.wav").write_text("mine")
    (work / "linked" / "files" / "000007").symlink_to(work / "precious")
    with (root / "cache" / "weights" / "tiny_other.pt").open("ab") as file:
        file.write(b"more")
    address = "{}:{}".format(*listener.getsockname())
    commands = [command.replace("ADDRESS", address) for commands in ATTACKS.values() for command in commands]
    found = iter(watch(commands))
    return {name: [next(found) for _ in commands] for name, commands in ATTACKS.items()}


def row_of(arguments: list[str]) -> Row:
    """The row of a command: of those that fit, the one that says most."""
    fitting = []
    for row in rows():
        for words in row.commands:
            verb = [word for word in words if not word.startswith("-")]
            if arguments[: len(verb)] == verb and set(words) - set(verb) <= set(arguments):
                fitting.append((len(words), row))
    assert fitting, arguments
    return max(fitting, key=lambda one: one[0])[1]


def places(names: list[str], did: Did, more: dict[str, Any]) -> list[str]:
    """The paths, from the watched folder, that names of a cell stand for in a command."""
    found = []
    for name in names:
        if name == "CACHE":
            found.append("cache")
        elif name in more:
            found.append(f"work/{more[name]}")
        else:
            option, _, ending = name.partition(".")
            for word, value in zip(did.arguments, did.arguments[1:], strict=False):
                if word == option:
                    path = Path("work", value)
                    found.append(str(path.with_name(f".{path.name}.{ending}") if ending else path))
    return found


def is_in(path: str, allowed: list[str], *, hidden: bool = False) -> bool:
    """Whether *path* is one of *allowed*, or in one, or (with *hidden*) beside one under its hidden name."""
    for place in allowed:
        if Path(path).is_relative_to(place):
            return True
        beside = Path(place).parent
        if hidden and Path(path).is_relative_to(beside):
            first = Path(path).relative_to(beside).parts[0]
            if first.startswith(f".{Path(place).name}."):
                return True
    return False


def check(one: Did, more: dict[str, Any]) -> None:
    row = row_of(one.arguments)
    typed = "audiotag " + " ".join(one.arguments)
    reads = places([*row.reads, "--weights", "--config", "--labels"], one, more)
    reads += [f"work/{name}" for name in more.get("lists", ())]
    writes, removes = places(row.writes, one, more), places(row.removes, one, more)
    if row.connects.endswith("for weights"):
        writes.append("cache/weights")
        reads += ["cache/weights", "source.pt"]
    elsewhere = ["tmp", "/dev", "home/.cache/matplotlib"]
    for path in one.written:
        assert is_in(path, [*writes, "home/.cache/matplotlib"]), f"{typed} writes {path}"
    for path in one.removed:
        assert is_in(path, removes), f"{typed} removes {path}"
    for path in one.of("write", "os.remove", "os.rmdir", "os.rename", "os.truncate", "os.link", "os.symlink"):
        assert is_in(path, [*writes, *removes, *elsewhere], hidden=True), f"{typed} writes or removes {path}"
    for path in one.of("read"):
        assert is_in(path, [*reads, *writes, *elsewhere, "site"], hidden=True), f"{typed} reads {path}"
    assert not one.connections, typed


def test_each_statement_names_its_test_and_each_test_is_named() -> None:
    named = set(re.findall(r"<!-- test: (\w+) -->", PAGE))
    there = {name for name in globals() if name.startswith("test_")}
    assert named == there
    text = re.sub(r"^\|.*$|^#.*$", "", PAGE, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n|\n(?=- )", text):
        assert not paragraph.strip() or re.search(r"<!-- test: \w+ -->$", paragraph.strip()), paragraph


def test_every_command_has_a_row() -> None:
    def verbs(command: click.Command, context: click.Context, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if not isinstance(command, click.Group) or (path and command.invoke_without_command):
            yield path
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                yield from verbs(below, click.Context(below, info_name=name, parent=context), (*path, name))

    there = set(verbs(main, click.Context(main), ()))
    named = {tuple(word for word in words if word[0] != "-") for row in rows() for words in row.commands}
    assert named == {path for path in there if path[0] != "x" or path[1] == "equiav"}
    # What serves until it is stopped is watched in tests/serve and tests/cli/test_serve.py.
    run = {command for command, _ in (*QUICK, *SLOW)} | {"data download", "models push", "models pull", "serve"}
    assert all(any(command.startswith(" ".join(verb)) for command in run) for verb in named)


def test_a_command_does_what_its_row_says(did: list[Did]) -> None:
    for one, (_, more) in zip(did, QUICK, strict=True):
        check(one, more)
    for row in rows():
        mine = [(one, more) for one, (_, more) in zip(did, QUICK, strict=True) if row_of(one.arguments) == row]
        for name in row.writes if mine else ():
            for path in {place for one, more in mine for place in places([name], one, more)}:
                told = any(is_in(change, [path]) for one, _ in mine for change in one.written)
                assert told or name in ("STORE", "CACHE", "SOURCE"), f"{row.commands} is said to write {name}"


@pytest.mark.slow
def test_a_slow_command_does_what_its_row_says(watch: Watch, did: list[Did]) -> None:
    for one, (_, more) in zip(watch([command for command, _ in SLOW]), SLOW, strict=True):
        assert one.code == 0, one.printed
        check(one, more)


def test_weights_come_from_the_stated_address_alone(anew: list[Did]) -> None:
    far = anew[: len(FAR)]
    said = {tuple(words) for row in rows() for words in row.commands if row.connects.endswith("for weights")}
    tried = {tuple(words) for one in far for words in row_of(one.arguments).commands}
    own = {("finetune", "--resume"), ("evaluate", "--tune-thresholds"), ("index", "search")}
    own |= {("models", one) for one in ("average", "merge", "summary")}  # of adapters of published weights
    assert said == tried | own
    for one in far:
        hosts = {event[1] for event in one.connections}
        assert hosts == {"weights.invalid"} and one.code, one
        assert not one.added or one.arguments[0] == "compare"  # which notes that a model failed


def test_a_data_set_comes_from_the_stated_address_alone(attacks: dict[str, list[Did]], did: list[Did]) -> None:
    (one,) = attacks["publisher"]
    (info,) = [other for other in did if other.arguments == ["data", "info", "esc50"]]
    hosts = {event[1] for event in one.connections}
    assert hosts and all(f"//{host}/" in info.printed for host in hosts)
    assert not one.written


def test_models_go_to_the_hub_alone_and_come_from_there(attacks: dict[str, list[Did]]) -> None:
    for one in attacks["hub"]:
        assert {event[1] for event in one.connections} == {"huggingface.co"} and one.code, one
        assert not one.written and not one.removed, one


def test_weights_that_have_changed_are_refused(attacks: dict[str, list[Did]]) -> None:
    (one,) = attacks["changed"]
    assert one.code == 1 and "sha256" in one.printed and not one.removed


def test_results_are_written_beside_their_place_and_renamed(did: list[Did], root: Path) -> None:
    for one in did:
        verb = one.arguments[:2]
        if verb in (["data", "tiny"], ["store", "add"]) or verb[0] in ("online", "models", "listen"):
            continue
        opened = set(one.of("write"))
        for path in one.added:
            hidden = any(part.startswith(".") for part in Path(path).parts)
            assert hidden or path not in opened or path.startswith(("work/memory/", "work/alike/")), path
    (average,) = [one for one in did if one.arguments[:2] == ["models", "average"]]
    assert "work/.mean.audiotag/written-by-audiotag" in average.of("write")
    left = [path.name for path in (root / "work").rglob(".?*.*")]
    assert not [name for name in left if name.endswith((".audiotag-part", ".audiotag", ".part"))]


def test_infer_leaves_its_record_and_no_part(did: list[Did]) -> None:
    (one,) = [one for one in did if "tags.csv" in one.arguments]
    assert set(one.added) == {"work/tags.csv", "work/.tags.csv.resume", "work/embeddings.npz"}
    assert "work/.tags.csv.part" in one.of("write")


def test_compare_marks_its_folder(tmp_path: Path) -> None:
    from audiotag.errors import OptionError
    from audiotag.folders import claim_folder

    claim_folder(tmp_path / "ours", "compare")
    assert (tmp_path / "ours" / ".audiotag").is_file()
    (tmp_path / "ours" / "comparison.csv").touch()
    claim_folder(tmp_path / "ours", "compare")
    (tmp_path / "yours").mkdir()
    (tmp_path / "yours" / "comparison.csv").touch()
    with pytest.raises(OptionError, match="not empty"):
        claim_folder(tmp_path / "yours", "compare")


def test_what_a_store_does_not_know_goes_to_quarantine(
    root: Path, did: list[Did], attacks: dict[str, list[Did]]
) -> None:
    visited = root / "work" / "visited"
    assert {"store.sqlite3", "files"} <= {path.name for path in (root / "work" / "memory").iterdir()}
    assert not (root / "work" / "memory" / "quarantine").exists()
    assert (visited / "quarantine" / "000000" / "letter.txt").read_text() == "mine"
    assert (root / "work" / "precious" / "000007001.wav").read_text() == "mine"
    evicting = [one for one in did if one.arguments[0] == "online" or one.arguments[:2] == ["store", "add"]]
    for one in [*evicting, *attacks["visitor"]]:
        gone = [Path(path) for path in one.of("os.remove") if path.startswith("work/")]
        for path in gone:
            if path.parts[1] in ("memory", "visited", "linked"):
                place = "/".join(path.parts[2:])
                assert re.fullmatch(r"files/\d{6}/\.?\d{9}(\.\w+)?(\.part)?", place), place
    assert any(path.startswith("work/memory/files/") for one in evicting for path in one.of("os.remove"))


def test_nothing_is_left_in_the_temporary_folder(root: Path, did: list[Did]) -> None:
    assert [path for path in (root / "tmp").rglob("*") if not path.is_dir()] == []


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from audiotag.cache.place import cache_folder

    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("AUDIOTAG_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / ".cache" / "audiotag"


def test_messages_wait_in_the_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from neighbours import message

    from audiotag.cli.live_outputs import live_output_options, open_outputs, output_settings
    from audiotag.labels import LabelSet

    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    begin = message(0)
    assert begin.label is not None
    context = live_output_options(click.Command("listen")).make_context("listen", ["--exec", "cat"])
    settings = output_settings(context.params, LabelSet([begin.label]))
    (output,) = open_outputs(context.params, settings)
    output.send(begin)
    output.close()
    assert json.loads(capfd.readouterr().err) == json.loads(begin.to_json())
    if sys.platform == "linux":
        assert settings.folder == tmp_path / ".local" / "state" / "audiotag" / "live"
        assert {path.suffix for path in settings.folder.iterdir()} == {".sqlite3"}


def test_what_the_cache_holds(root: Path, did: list[Did]) -> None:
    assert {path.name for path in (root / "cache").iterdir()} - {"embeddings.sqlite-wal", "embeddings.sqlite-shm"} == {
        "weights",
        "embeddings.sqlite",
        "exports",
        "sounds",
    }


def test_embeddings_take_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from audiotag.cache.ledger import ArrayCache

    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path))
    monkeypatch.delenv("AUDIOTAG_CACHE_GB", raising=False)
    assert ArrayCache().max_bytes == 20e9
    monkeypatch.setenv("AUDIOTAG_CACHE_GB", "0.00001")
    with ArrayCache() as cache:
        for number in range(20):
            cache.put({str(number): np.zeros(500, np.float32)})
        assert len(cache) == 4 and cache.size <= 10_000
        assert set(cache.get([str(number) for number in range(20)])) == {"16", "17", "18", "19"}


def test_weights_go_when_they_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from audiotag.models.store import WeightsRoom, WeightsStore
    from audiotag.plugin import Weights

    store = WeightsStore(tmp_path)
    names = ("fetched.pt", "by_hand.pt", "unknown.pt")
    for name in names:
        (tmp_path / name).write_bytes(b"numbers")
    weights = [Weights(urls=("https://weights.invalid/x",), filename=name) for name in names[:2]]
    store.verify(weights[1], name="mine")  # notes its hash, and that nobody has downloaded it
    assert WeightsRoom(store, weights).clear(before=1.0).entries == 0
    assert WeightsRoom(store, weights).clear().entries == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["by_hand.pt", "by_hand.pt.sha256.json", "unknown.pt"]


def test_the_cache_may_be_deleted(root: Path, anew: list[Did]) -> None:
    for one in anew[len(FAR) :]:
        assert one.code == 0, one
    assert {path.name for path in (root / "deleted").iterdir()} >= {"weights", "embeddings.sqlite", "sounds"}


def test_only_the_list_of_fonts_is_written_in_the_home_folder(root: Path, did: list[Did]) -> None:
    found = [path for path in (root / "home").rglob("*") if path.is_file()]
    assert all(path.parent == root / "home" / ".cache" / "matplotlib" for path in found), found
    assert not [one for one in did if one.of("write") and "--figures" not in one.arguments and any(
        path.startswith("home/") for path in one.of("write"))]  # fmt: skip


def test_only_abandoned_parts_of_the_same_file_are_removed(tmp_path: Path) -> None:
    from audiotag.files import lock, write_atomically

    names = (
        ".out.csv.1.audiotag-part",
        ".out.csv.0.audiotag-part",
        ".out.csv.txt",
        ".in.csv.0.audiotag-part",
    )
    for name in names:
        (tmp_path / name).touch()
    with (tmp_path / names[1]).open("r+b") as alive:
        assert lock(alive.fileno(), wait=False)
        write_atomically(tmp_path / "out.csv", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", *names[1:]}


def test_a_folder_without_our_mark_is_left_alone(tmp_path: Path) -> None:
    from audiotag.errors import OptionError
    from audiotag.folders import atomic_folder

    (tmp_path / ".run.audiotag" / "old").mkdir(parents=True)
    (tmp_path / ".run.audiotag" / "old" / "letter").write_text("mine")
    with pytest.raises(OptionError, match="in the way"), atomic_folder(tmp_path / "run"):
        pass
    assert (tmp_path / ".run.audiotag" / "old" / "letter").read_text() == "mine"


def test_results_are_replaced_only_when_asked(attacks: dict[str, list[Did]]) -> None:
    for one in attacks["again"]:
        assert one.code == 1 and not one.written and not one.removed, one


def test_a_folder_that_holds_something_is_refused(attacks: dict[str, list[Did]]) -> None:
    for one in attacks["full"]:
        assert one.code and not one.written and not one.removed, one


def test_an_evaluation_removes_the_files_of_an_earlier_one(tmp_path: Path) -> None:
    from audiotag.evaluation.evaluation import save_results

    yours = {"metrics.txt": "mine", "average_precision.svg.bak": "mine"}
    for name, text in yours.items():
        (tmp_path / name).write_text(text)
    save_results(tmp_path, {"metrics.json": json.dumps({"format": "audiotag-metrics"}), "confusion.csv": "a"})
    save_results(tmp_path, {"metrics.json": json.dumps({"format": "audiotag-metrics"})})
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", *yours}


def test_the_cache_of_sounds_removes_its_own_files_alone(tmp_path: Path, root: Path) -> None:
    from audiotag.data.clips import Clip
    from audiotag.data.sound_cache import SoundCache

    clips = [Clip(id=path.name, path=path, labels=(0,)) for path in sorted((root / "work" / "audio").iterdir())[:4]]
    cache = SoundCache(tmp_path, 10_000_000)
    for clip in clips:
        cache.read(clip, 8000)
    size = cache.size
    cache.close()
    yours = [tmp_path / "letter.txt", *(folder / "letter.txt" for folder in tmp_path.glob("??"))]
    for path in yours:
        path.write_text("mine")
    cache = SoundCache(tmp_path, size // 2)
    assert 0 < len(cache) < len(clips)
    cache.close()
    assert all(path.read_text() == "mine" for path in yours)


def test_pickles_are_refused(attacks: dict[str, list[Did]], root: Path) -> None:
    for one in attacks["pickle"]:
        assert one.code == 1 and not one.of("pickle.find_class"), one
    assert not (root / "executed").exists()


def test_nothing_is_imported_by_data(attacks: dict[str, list[Did]], root: Path) -> None:
    for one in attacks["import"]:
        assert one.code == 1 and "intruder" in one.printed, one
    assert not (root / "site" / "imported").exists()


def test_addresses_in_data_are_not_opened(attacks: dict[str, list[Did]], listener: socket.socket) -> None:
    for one in attacks["address"]:
        assert not one.connections, one
    with pytest.raises(BlockingIOError):  # nor has a library asked, behind Python's back
        listener.accept()
    assert "a.wav" in attacks["address"][1].printed  # a folder with such a name is read like any other


def test_inputs_are_not_written_over(attacks: dict[str, list[Did]]) -> None:
    for one in attacks["input"]:
        assert one.code and not one.written and not one.removed, one


def test_names_in_lists_lead_nowhere_outside(attacks: dict[str, list[Did]], root: Path) -> None:
    for one in attacks["outside"]:
        assert one.code and all(path.startswith("work/led/") for path in one.written), one
    assert sorted(path.name for path in root.rglob("pwned*")) == ["pwned.wav"]


def test_no_command_connects_without_need(did: list[Did]) -> None:
    assert [one.connections for one in did if one.connections] == []


def test_which_programs_are_started(did: list[Did], attacks: dict[str, list[Did]]) -> None:
    started = {
        Path(path).name for one in did for path in one.of("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system")
    }
    assert started <= {Path(sys.executable).name, "fc-list", "ldconfig", "true"}  # that of --exec


def test_a_plugin_is_code(root: Path, did: list[Did]) -> None:
    assert not (root / "home" / "rude").exists()
    with watching(root, RUDE="1") as watch:
        watch(["models list"])
    assert (root / "home" / "rude").exists()
    (root / "home" / "rude").unlink()


def test_plugins_that_are_not_named_are_not_imported(root: Path, did: list[Did]) -> None:
    with watching(root, AUDIOTAG_LOAD_PLUGINS="audiotag-tiny", RUDE="1") as watch:
        (one,) = watch(["models list"])
    assert not (root / "home" / "rude").exists()
    (listing,) = [one for one in did if one.arguments == ["models", "list"]]
    assert one.code == 0 and "tiny_home" in one.printed and len(one.printed) < len(listing.printed)


def test_the_list_of_plugins_shows_each(did: list[Did]) -> None:
    (one,) = [one for one in did if one.arguments[:2] == ["plugins", "list"]]
    for name in ("audiotag-tiny", "audiotag-rude"):
        assert f'"{name}"' in one.printed and '"1.0"' in one.printed


def test_timm_reads_weights_alone() -> None:
    from timm.models._hub import load_state_dict_from_hf

    assert inspect.signature(load_state_dict_from_hf).parameters["weights_only"].default is True


def test_the_default_logger_sends_nothing() -> None:
    from audiotag.training.settings import Settings

    assert Settings().logger == "csv"


def test_onnx_runtime_is_told_to_report_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from audiotag.engines.runtime import onnx_runtime

    told = "SWITCH = os.environ.get('ORT_DISABLE_TELEMETRY')\ndef disable_telemetry_events(): TOLD.append(True)"
    (tmp_path / "onnxruntime.py").write_text(f"import os\nTOLD = []\n{told}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    module = onnx_runtime()
    del sys.modules["onnxruntime"]
    assert (module.SWITCH, module.TOLD) == ("1", [True])
    assert "ORT_DISABLE_TELEMETRY" not in os.environ


def test_every_environment_variable_is_listed() -> None:
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE))
    read = set()
    for path in [*(ROOT / "audiotag").rglob("*.py"), *(ROOT / "plugins").glob("*/audiotag_*/**/*.py")]:
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Compare | ast.Subscript) else ""
            if "environ" in text or "getenv" in text:
                read |= set(re.findall(r"'([A-Z][A-Z_]{3,})'", text))
    assert listed == read


def test_weights_put_by_hand_need_no_network(root: Path, attacks: dict[str, list[Did]]) -> None:
    place, by_hand, named = attacks["by hand"]
    assert place.printed.split()[0] == "cache/weights/tiny_near.pt"
    for one in (by_hand, named):
        assert one.code == 0 and not one.connections, one


def test_reading_needs_no_write_access(root: Path, did: list[Did]) -> None:
    commands = [
        "infer clip.wav --model runs/a",
        "infer clip.wav --model tiny_home",
        "evaluate --model runs/a --data sounds",
        "models list",
        "data stats sounds",
    ]
    with watching(root, AUDIOTAG_READ_ONLY="1") as watch:
        for one in watch(commands):
            assert one.code == 0 and not one.written, one
