"""Short recordings, their lists, and checkpoints of the tiny network."""

import csv
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

NAMES = ["hum", "hiss", "beep"]

VOID = {"meta", "link", "br", "wbr", "img", "input", "circle", "rect", "line", "path"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps the page's texts, tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.values = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.values += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.values += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def read_page():
    """The parts of a page: ``read_page(text).tags``, ``.texts`` and ``.values``; tags must nest."""
    return Page


@pytest.fixture
def write_csv():
    """Write a list of clips: ``write_csv(path, rows, header=…)``; returns the path."""

    def write(path: Path, rows, header=("path", "labels", "fold")) -> Path:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write


@pytest.fixture
def sounds(tmp_path, write_csv):
    """A folder of twelve noises at 8 kHz, and clips.csv: path, labels (one to a clip), fold."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for number in range(12):
        label = NAMES[number % 3]
        samples = generator.normal(size=4000) * (0.02, 0.1, 0.5)[number % 3]
        soundfile.write(folder / f"{number}.wav", samples.clip(-1, 1), 8000)
        rows.append([f"{number}.wav", label, number % 4 + 1])
    write_csv(folder / "clips.csv", rows)
    return folder


@pytest.fixture
def checkpoint(tiny, tmp_path):
    """Make a checkpoint of the tiny network: ``checkpoint("name", names=…, single_label=…, seed=…)``."""

    def make(name="run", *, names=NAMES, single_label=False, seed=0, training_state=None):
        labels = LabelSet.from_names(names)
        backbone = create_backbone("tiny", len(labels), seed=seed).eval()
        model = Model(backbone, get_host().backbone("tiny"), {}, labels, name, single_label=single_label)
        return save_checkpoint(tmp_path / "runs" / name, model, training_state=training_state)

    return make
