"""What the code blocks of the documentation find: recordings, lists of clips, a small model, weights without downloads.

Everything is made up. In the folder where a page is run there are

- ``clip.wav``, ``door.wav``, ``hour.flac``, ``night.flac`` (not an hour, nor a night) and the folder ``recordings``;
- ``train.json``, ``val.json``, ``test.json``, ``evening.json`` with clips of four of the classes in ``home.csv``, and
  ``labelled.json`` with classes of the list ``home``;
- ``sounds`` and ``test``, a folder per class in each, and ``esc50.csv``, ``esc10.csv`` with the folder ``audio``:
  four classes, five folds.

Python blocks may use the names ``waveform`` (a second at 16 kHz), ``sample_rate``, ``batch``, ``vector`` and
``generator``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiotag.data.synthesis import demo_labels, mix_clip
from audiotag.host import get_host
from audiotag.seeding import numpy_generator

RATE = 32_000
LARGEST = 30_000_000
"""Parameters of the largest network that weights are made up for."""


def sound(mids: list[str], *key: str | int, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return mix_clip(mids, rate, seconds, 1, numpy_generator(0, *key))[:, 0].astype(np.float32)


def write_manifest(folder: Path, name: str, mids: tuple[str, ...], count: int, *, silent: int = 0) -> None:
    """*count* clips, classes in turn; every *silent*-th has no label."""
    entries = []
    for number in range(count):
        mid = mids[number % len(mids)]
        path = folder / "clips" / f"{name}_{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sound([mid], name, number), RATE)
        labels = [] if silent and number % silent == 0 else [mid]
        entries.append({"wav": f"clips/{path.name}", "labels": labels})
    (folder / f"{name}.json").write_text(json.dumps({"data": entries}))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that every page begins with, to be copied."""
    folder = tmp_path_factory.mktemp("prepared")
    mids = demo_labels().mids
    demo_labels().to_csv(folder / "home.csv")
    for name, count, silent in (("train", 20, 0), ("val", 8, 0), ("test", 8, 0), ("evening", 8, 4)):
        write_manifest(folder, name, mids[:4], count, silent=silent)
    write_manifest(folder, "labelled", ("/m/05tny_", "/m/0d31p", "/m/0fx9l"), 6)
    (folder / "recordings" / "kitchen").mkdir(parents=True)
    places = ("clip.wav", "door.wav", "recordings/hall.wav", "recordings/kitchen/kettle.flac")
    for number, place in enumerate(places):
        soundfile.write(folder / place, sound([mids[number]], place, seconds=2.0), RATE)
    for place in ("hour.flac", "night.flac"):
        # Short pieces in a row: the time to make a sound grows with the square of its length.
        soundfile.write(folder / place, np.tile(sound([mids[0], mids[4]], place, seconds=2.0), 10), RATE)
    (folder / "audio").mkdir()
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for number in range(20):
        fold, target = 1 + number // 4, number % 4
        rows.append(f"{fold}-{number}-A-{target}.wav,{fold},{target},sound_{target},True,{number},A")
        soundfile.write(folder / "audio" / f"{fold}-{number}-A-{target}.wav", sound([mids[target]], number), RATE)
    for name in ("esc50.csv", "esc10.csv"):
        (folder / name).write_text("\n".join(rows) + "\n")
    for source, count in (("sounds", 6), ("test", 2)):
        for name, mid in (("Doorbell", mids[0]), ("Kettle", mids[2]), ("Vacuum", mids[5])):
            (folder / source / name).mkdir(parents=True)
            for number in range(count):
                path = folder / source / name / f"{source}_{number}.wav"
                soundfile.write(path, sound([mid], source, name, number), RATE)
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tenth of the usual width with the classes of ``home.csv``, fresh."""
    from audiotag.models.checkpoint import save_checkpoint
    from audiotag.models.create import create_backbone
    from audiotag.models.model import Model

    options: dict[str, Any] = {"width_mult": 0.1}
    backbone = create_backbone("mn", len(demo_labels()), **options).eval()
    model = Model(backbone, get_host().backbone("mn"), options, demo_labels(), "home")
    return save_checkpoint(tmp_path_factory.mktemp("small") / "model", model)


@pytest.fixture
def names() -> dict[str, Any]:
    """What Python blocks begin with."""
    import torch

    generator = np.random.default_rng(0)
    waveform = sound([demo_labels().mids[0]], "waveform", rate=16_000)
    return {
        "__name__": "__main__",
        "waveform": waveform,
        "sample_rate": 16_000,
        "batch": torch.from_numpy(np.stack([waveform, waveform])),
        "vector": generator.normal(size=8),
        "generator": generator,
    }


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def weights(
    weights_folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Put weights for the models that a text names where downloads would go.

    Of a file whose hash is known the real one is needed, from the assets; the others are made up.
    """
    monkeypatch.setenv("AUDIOTAG_CACHE", str(weights_folder))

    def provide(text: str) -> None:
        named = set(re.findall(r"[A-Za-z0-9_.()-]+", text))
        for name, spec in get_host().backbones.items():
            if name not in named or spec.weights is None or spec.weights.shipped:
                continue
            place = weights_folder / "weights" / spec.weights.filename
            place.parent.mkdir(exist_ok=True)
            if place.exists():
                continue
            if spec.weights.sha256 is not None:
                shutil.copy(request.getfixturevalue("assets") / "assets" / "weights" / place.name, place)
            else:
                make_up(name, place)

    return provide


def make_up(name: str, place: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from audiotag.models.create import create_backbone

    backbone = create_backbone(name)
    size = sum(parameter.numel() for parameter in backbone.parameters())
    assert size <= LARGEST, f"{name} has {size:,} parameters: mark the block as not run"
    for key, rows in backbone.class_rows().items():
        if rows.shape == (-1,):  # a bias: few classes are heard
            backbone.state_dict()[key].fill_(-3.0)
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    save_file(state, place) if place.suffix == ".safetensors" else torch.save(state, place)
