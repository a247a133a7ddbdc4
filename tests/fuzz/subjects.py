"""What is fuzzed: for each kind of file, sound examples and what the toolkit does with one.

A subject reads as a user's command would. What reading changes is read in a copy (`_scratch`), so that one input does
not touch the next.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from audiotag.labels import Label, LabelSet

if TYPE_CHECKING:
    from audiotag.continual.store import ClipStore
    from audiotag.inference.writers.output import Output
    from audiotag.inference.writers.rows import Result
    from audiotag.models.model import Model
    from audiotag.plugin import Weights
    from audiotag.training.comparison_candidate import Record

RATE = 16_000


@dataclass(frozen=True)
class Subject:
    """One kind of file.

    Attributes:
        seeds: Writes sound examples into a folder; the files that are damaged, one at a time.
        use: Reads one; raises an `AudiotagError`, or does not raise.
        text: Whether the files are text.
    """

    seeds: Callable[[Path], list[Path]]
    use: Callable[[Path], None]
    text: bool = False


def _sound(seconds: float = 0.4) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal((2, len(time)))
    return (0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * noise).astype(np.float32)


# Recordings

CONTAINERS = {
    "aac": ("adts", "aac"), "m4a": ("ipod", "aac"), "mp4": ("mp4", "aac"), "mka": ("matroska", "mp2"),
    "webm": ("webm", "libopus"), "avi": ("avi", "pcm_s16le"), "wma": ("asf", "wmav2"), "ts": ("mpegts", "mp2"),
}  # fmt: skip
"""Ending → container and codec of what PyAV writes."""
FILES = {
    "wav": ("WAV", "PCM_16"), "24.wav": ("WAVEX", "PCM_24"), "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"), "rf64": ("RF64", "PCM_16"), "w64": ("W64", "PCM_16"), "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "PCM_16"), "au": ("AU", "PCM_16"),
}  # fmt: skip
"""Ending → container and encoding of what libsndfile writes."""


def _write_container(path: Path, container: str, codec: str) -> None:
    import av

    with av.open(str(path), "w", format=container) as file:
        file.metadata["title"] = "A café"
        stream = file.add_stream(codec, rate=48_000)
        stream.bit_rate = 96_000
        stream.layout = "stereo"
        samples = (_sound() * 32_000).astype(np.int16).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout="stereo")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, frame_size=stream.frame_size or 1024)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))


def _recordings(folder: Path) -> list[Path]:
    places = []
    for ending, (container, encoding) in FILES.items():
        places.append(folder / f"recording.{ending}")
        soundfile.write(places[-1], _sound().T, RATE, format=container, subtype=encoding)
    for ending, (container, codec) in CONTAINERS.items():
        places.append(folder / f"recording.{ending}")
        _write_container(places[-1], container, codec)
    return places


def _use_recording(path: Path) -> None:
    from audiotag.audio.decoding import probe, read_audio, stream_audio
    from audiotag.errors import AudioError

    with suppress(AudioError):
        probe(path)
    with suppress(AudioError):
        read_audio(path, 32_000, start=0.1, stop=0.3)
    samples = sum(len(block) for block in stream_audio(path, 32_000, block_seconds=0.25))
    assert samples > 0


# Text


@cache
def _clip_bytes() -> bytes:
    import io

    file = io.BytesIO()
    soundfile.write(file, _sound().T, RATE, format="WAV")
    return file.getvalue()


def _lists(folder: Path) -> list[Path]:
    for name in ("a.wav", "b.wav", "audio/a.wav", "audio/b.wav", "audio/1-a-A-0.wav", "audio/2-b-A-1.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(_clip_bytes())
    entries = [
        {"video_id": "one", "wav": "a.wav", "labels": "/m/0bt9lr,/m/01yrx", "fold": 1, "start": 0, "stop": 0.2},
        {"wav": "b.wav", "labels": ["/m/0bt9lr"], "split": "test", "events": [[0.1, 0.3, "/m/01yrx"]]},
    ]
    contents = {
        "manifest.json": json.dumps({"data": entries}, indent=1),
        "clips.csv": 'path,labels,fold,start,stop\na.wav,"dog,cat",1,0,0.2\nb.wav,dog,2,,\n',
        "esc50.csv": "filename,fold,target,category,esc10,src_file,take\n"
        "1-a-A-0.wav,1,0,dog,True,1,A\n2-b-A-1.wav,2,1,rooster,False,2,A\n",
        "events.tsv": "filename\tonset\toffset\tevent_label\na.wav\t0.0\t0.2\tdog\nb.wav\t0.1\t0.3\tcat\n",
        "events_durations.tsv": "filename\tduration\na.wav\t0.4\nb.wav\t0.4\n",
        "bare.txt": "a.wav\t0.0\t0.2\tdog\nb.wav\t0.1\t0.3\tcat\n",
        "timed.csv": "path,labels,onset,offset\na.wav,dog,0,0.2\na.wav,cat,0.1,0.3\nb.wav,none,,\n",
        "a.txt": "0.0\t0.2\tdog\n\\\t100\t200\n0.1\t0.3\tcat\n",
        "b.Table.1.selections.txt": "Selection\tBegin Time (s)\tEnd Time (s)\tLabel\n1\t0.0\t0.2\tdog\n",
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents if name != "events_durations.tsv"]


def _use_list(path: Path) -> None:
    from audiotag.data.reading import read_clips
    from audiotag.errors import AudiotagError
    from audiotag.inference.inputs import find_clips

    with suppress(AudiotagError):
        find_clips([path])
    read_clips(path)


def _label_files(folder: Path) -> list[Path]:
    nodes = [
        {"id": "/m/0jbk", "name": "Animal", "child_ids": ["/m/0bt9lr"], "restrictions": []},
        {"id": "/m/0bt9lr", "name": "Dog", "child_ids": [], "restrictions": ["abstract"]},
    ]
    contents = {
        "classes.csv": 'index,mid,display_name\n0,/m/0bt9lr,Dog\n1,/m/01yrx,"Cat, domestic"\n2,/m/07r660,Door\n',
        "ontology.json": json.dumps(nodes, indent=1),
        "thresholds.json": json.dumps({"/m/0bt9lr": 0.4, "/m/01yrx": 0.5, "/m/07r660": 0.6}),
        "thresholds.csv": "mid,threshold\n/m/0bt9lr,0.4\n/m/01yrx,0.5\n/m/07r660,0.6\n",
        "weights.txt": "1.0\n0.5\n0.25\n",
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]


def _use_label_file(path: Path) -> None:
    from audiotag.data.weights import read_sampling_weights
    from audiotag.evaluation.thresholds import read_thresholds
    from audiotag.labels import read_labels
    from audiotag.ontology import read_ontology

    if path.name == "classes.csv":
        read_labels(path)
    elif path.name == "ontology.json":
        read_ontology(path)
    elif path.name == "weights.txt":
        read_sampling_weights(path, 3)
    else:
        read_thresholds(path, _three())


def _three() -> LabelSet:
    rows = (("/m/0bt9lr", "Dog"), ("/m/01yrx", "Cat"), ("/m/07r660", "Door"))
    return LabelSet([Label(mid, name) for mid, name in rows], "three")


def _settings(folder: Path) -> list[Path]:
    path = folder / "settings.toml"
    path.write_text(
        'epochs = 3\nbatch_size = 8\nseconds = 1.5\nloss = "bce"\noptimiser = "adamw"\nlearning_rate = 1e-3\n'
        'betas = [0.9, 0.999]\nschedule = "cosine"\nwarmup = 0.5\nmixup_alpha = 0.3\nlabel_smoothing = 0.1\n'
        "clip_grad_norm = 1.0\nfrequency_mask = 8\n\n[loss_options]\n"
    )
    return [path]


def _use_settings(path: Path) -> None:
    from audiotag.settings import read_settings
    from audiotag.training.settings import Settings, Situation

    Settings.from_dict(read_settings(path), path).resolve(Situation(single_label=False, pretrained=True))


# What the toolkit writes itself


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A copy of the folder of *path* to work in, removed afterwards."""
    copy = path.parent.with_name(path.parent.name + " scratch")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path.parent, copy, symlinks=True)
    try:
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _model() -> Model:
    from audiotag.host import get_host
    from audiotag.models.create import create_backbone
    from audiotag.models.model import Model

    options = {"width_mult": 0.1}
    labels = LabelSet.from_names(["dog", "cat", "door"], "three")
    return Model(create_backbone("mn", 3, **options).eval(), get_host().backbone("mn"), options, labels, "three")


def _checkpoint_facts(folder: Path) -> list[Path]:
    from audiotag.models.checkpoint import save_checkpoint

    return [save_checkpoint(folder / "model", _model()) / "audiotag.json"]


def _use_checkpoint(path: Path) -> None:
    from audiotag.models.checkpoint import load_checkpoint

    load_checkpoint(path.parent)


def _weights(folder: Path) -> list[Path]:
    import torch

    from audiotag.models.checkpoint import save_checkpoint

    model = _model()
    torch.save(dict(model.backbone.state_dict()), folder / "published.pt")
    return [save_checkpoint(folder / "model", model) / "model.safetensors", folder / "published.pt"]


def _use_weights(path: Path) -> None:
    from audiotag.models.published import read_state

    if path.suffix == ".pt":
        read_state(path)
    else:
        _use_checkpoint(path)


def _learners(folder: Path) -> list[Path]:
    from audiotag.models.analytic import AnalyticLearner

    learner = AnalyticLearner(_three(), 5)
    learner.learn_clips(np.eye(5)[:3], _three().mids)
    learner.save(folder / "learner.safetensors")
    return [folder / "learner.safetensors"]


def _use_learner(path: Path) -> None:
    from audiotag.models.analytic import AnalyticLearner

    AnalyticLearner.load(path).scores(np.ones((1, 5)))


def _store(folder: Path) -> ClipStore:
    from audiotag.continual.store import ClipStore, Payload

    store = ClipStore.create(folder / "store", ["dog", "cat"], capacity=3)
    for number in range(5):
        embedding = np.full(8, number, dtype=np.float32)
        store.add(f"clip{number}", Payload.from_embedding(embedding), [("dog", "cat")[number % 2]])
    return store


def _stores(folder: Path) -> list[Path]:
    with _store(folder) as store:
        files = [clip.path for clip in store]
    return [next((folder / "store").glob("*.sqlite*")), files[0]]


def _use_store(path: Path) -> None:
    from audiotag.continual.store import ClipStore, Payload

    root = next(folder for folder in path.parents if folder.name == "store")
    with _scratch(root / "store.sqlite3") as copy, tempfile.TemporaryDirectory() as outside, ClipStore(copy) as store:
        store.verify()
        store.statistics()
        store.embeddings()
        store.add("new", Payload.from_embedding(np.zeros(8, dtype=np.float32)), ["dog"])
        store.export(Path(outside) / "export")


def _exports(folder: Path) -> list[Path]:
    with _store(folder) as store:
        store.export(folder / "export")
    return [folder / "export" / "store.json"]


def _use_export(path: Path) -> None:
    from audiotag.continual.store import ClipStore

    with _scratch(path) as copy:
        ClipStore.from_export(copy, copy / "store").close()


def _archives(folder: Path) -> list[Path]:
    from audiotag.audio.encoding import encode_mp3
    from audiotag.data.archive import writing

    path = folder / "clips.h5"
    with writing(path) as archive:
        for number in range(2):
            archive.add(f"{number}.mp3", encode_mp3(_sound()[0], RATE), [number], 3)
    return [path]


def _use_archive(path: Path) -> None:
    from audiotag.data.archive import read_index, read_member

    for number in range(min(3, len(read_index(path).names))):
        read_member(path, str(number))


def _scores(folder: Path) -> list[Path]:
    values = np.random.default_rng(0).random((4, 3), dtype=np.float32)
    names = np.array(["a", "b", "c", "d"])
    mids = np.array(["/m/0bt9lr", "/m/01yrx", "/m/07r660"])
    np.savez(folder / "plain.npz", scores=values, ids=names, mids=mids)
    np.savez_compressed(folder / "packed.npz", scores=values, ids=names, mids=mids)
    np.save(folder / "teacher.npy", values)
    (folder / "teacher.json").write_text(json.dumps({str(name): row for row, name in enumerate(names)}))
    return [folder / name for name in ("plain.npz", "packed.npz", "teacher.npy", "teacher.json")]


def _use_scores(path: Path) -> None:
    from audiotag.data.scores import ScoresFile

    if path.suffix == ".npz":
        ScoresFile.read(path)
    else:
        ScoresFile.read(path.with_suffix(".npy"), labels=_three())


def _ensembles(folder: Path) -> list[Path]:
    from audiotag.inference.ensemble import save_ensemble
    from audiotag.models.checkpoint import save_checkpoint

    members = [save_checkpoint(folder / name, _model()) for name in ("one", "two")]
    copied = save_ensemble(members, folder / "copied")
    named = save_ensemble(members, folder / "named", combine="probabilities", copy=False)
    return [one.folder / "audiotag.json" for one in (copied, named)]


def _use_ensemble(path: Path) -> None:
    from audiotag.inference.loading import load

    load(path.parent)


def _records(folder: Path) -> list[Path]:
    """What outlives a command, for the next one to go on with."""
    from audiotag.data.prepared import LeftOut, Preparation
    from audiotag.models.store import WeightsStore

    left_out = (LeftOut("one", "train", "it is empty"),)
    Preparation(
        "esc50", plugin="audiotag", facts={"rate": RATE}, single_label=True, complete=True, left_out=left_out
    ).write(folder)
    (folder / "small.pt").write_bytes(b"weights")
    WeightsStore(folder).verify(_published(), name="small")
    with _tags(folder / "tags.csv") as output:
        for name in ("a.wav", "b.wav"):
            output.write(_result(name))
    record = _comparison(folder)
    record.training_seconds, record.epochs = 1.5, 3
    record.path.parent.mkdir()
    record.save()
    return [folder / "audiotag-dataset.json", folder / "small.pt.sha256.json", folder / ".tags.csv.resume", record.path]


def _use_record(path: Path) -> None:
    from audiotag.data.prepared import read_preparation
    from audiotag.models.store import WeightsStore

    if path.name == "audiotag-dataset.json":
        read_preparation(path.parent)
    elif path.name == "small.pt.sha256.json":
        WeightsStore(path.parent).verify(_published(), name="small")
    elif path.name == ".tags.csv.resume":
        with _scratch(path) as copy, _tags(copy / "tags.csv") as output:
            output.write(_result("c.wav"))
    else:
        _comparison(path.parent.parent)


def _published() -> Weights:
    from audiotag.plugin import Weights

    return Weights(urls=("https://example.org/small.pt",), filename="small.pt", licence="MIT")


@contextmanager
def _tags(path: Path) -> Iterator[Output]:
    from audiotag.inference.writers import open_output

    with open_output("csv", path, made_by={"model": "three"}, resume=path.exists()) as output:
        yield output


def _result(name: str) -> Result:
    from audiotag.data.clips import Clip
    from audiotag.inference.events import Event
    from audiotag.inference.writers.rows import Result

    return Result(Clip(name, Path(name)), 0.4, (Event(0.0, 0.4, "Dog", "/m/0bt9lr", 0.5),))


def _comparison(folder: Path) -> Record:
    from audiotag.training.comparison_candidate import Candidate, Plan, Record
    from audiotag.training.request import Request

    request = Request.of("mn", "clips.csv")
    plan = Plan(output=folder, request=request, measured=request.train, settings={}, clip_seconds=1.0)
    return Record(Candidate(backbone="mn", name="three"), plan)


def _recipes(folder: Path) -> list[Path]:
    import sys

    from audiotag.host import reset_host

    package = folder / "fuzzed"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from audiotag.plugin import RecipeSpec, hookimpl\n\n\n@hookimpl\ndef register_recipes():\n"
        "    return [RecipeSpec(name='fuzzed', path='fuzzed:recipe.toml')]\n"
    )
    path = package / "recipe.toml"
    path.write_text('epochs = 3\nloss = "focal"\n\n[loss_options]\ngamma = 2.0\n\n[options]\nwidth_mult = 0.4\n')
    facts = folder / "fuzzed-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fuzzed\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[audiotag]\nfuzzed = fuzzed\n")
    sys.path.insert(0, str(folder))
    reset_host()
    return [path]


def _use_recipe(path: Path) -> None:
    from audiotag.training.recipes import load_recipe

    load_recipe("fuzzed")


def _runs(folder: Path) -> list[Path]:
    """A finished run; to go on with it reads all that it keeps and then has nothing to learn."""
    from audiotag.training.finetune import finetune

    rows = ["path,labels"]
    for number in range(4):
        (folder / f"{number}.wav").write_bytes(_clip_bytes())
        rows.append(f"{folder / f'{number}.wav'},{('dog', 'cat')[number % 2]}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    run = folder / "run"
    finetune(
        "mn",
        folder / "clips.csv",
        output=run,
        options={"width_mult": 0.1},
        epochs=1,
        batch_size=2,
        workers=0,
        val_fraction=0.0,
    )
    return [run / name for name in ("run.json", "data.json", "settings.toml")]


def _use_run(path: Path) -> None:
    from audiotag.training.finetune import resume_run

    with _scratch(path) as copy:
        resume_run(copy)


def _online(folder: Path) -> list[Path]:
    from audiotag.continual.online import OnlineLearner

    with _store(folder) as store:
        OnlineLearner(_model(), store, folder=folder / "run")
    return [folder / "run" / "last" / "optimizer.pt"]


def _use_online(path: Path) -> None:
    from audiotag.continual.online import OnlineLearner
    from audiotag.continual.store import ClipStore

    home = path.parents[2]
    with ClipStore(home / "store") as store:
        OnlineLearner.resume(home / "run", store)


SUBJECTS: dict[str, Subject] = {
    "recordings": Subject(_recordings, _use_recording),
    "lists": Subject(_lists, _use_list, text=True),
    "labels": Subject(_label_files, _use_label_file, text=True),
    "settings": Subject(_settings, _use_settings, text=True),
    "checkpoints": Subject(_checkpoint_facts, _use_checkpoint, text=True),
    "weights": Subject(_weights, _use_weights),
    "learners": Subject(_learners, _use_learner),
    "stores": Subject(_stores, _use_store),
    "exports": Subject(_exports, _use_export, text=True),
    "archives": Subject(_archives, _use_archive),
    "scores": Subject(_scores, _use_scores),
    "ensembles": Subject(_ensembles, _use_ensemble, text=True),
    "records": Subject(_records, _use_record, text=True),
    "recipes": Subject(_recipes, _use_recipe, text=True),
    "runs": Subject(_runs, _use_run, text=True),
    "online": Subject(_online, _use_online),
}
"""Kind → subject."""
