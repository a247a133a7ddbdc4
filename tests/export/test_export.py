"""A model and its exported folder are the same to whoever tags with them."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import audiotag
from audiotag.audio.decoding import read_audio
from audiotag.cli.main import main
from audiotag.engines.cached import export_place
from audiotag.engines.exported import read_exported
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.engines.torch_engine import TorchEngine
from audiotag.errors import AudiotagWarning, CheckpointError, LabelError, OptionError
from audiotag.export.export import export_model
from audiotag.host import get_host
from audiotag.inference.ensemble import save_ensemble
from audiotag.inference.tagger import Tagger
from audiotag.labels import Label, LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.loading import load_model
from audiotag.models.model import Model


def same(found: object, wanted: object) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_exported_folder_tags_as_the_model(model: Model, folder: Path, recordings: list[Path]) -> None:
    before, after = Tagger(model), audiotag.load(folder)
    assert isinstance(after.engines[0], OnnxEngine)
    assert (after.name, after.labels, after.single_label) == ("small", model.labels, False)
    assert after.metadata == {"note": "made for a test"}
    assert after.thresholds is not None and after.thresholds.tolist() == [0.3, 0.5, 0.7]
    pairs = zip(
        before.tag_files(recordings, embeddings=True), after.tag_files(recordings, embeddings=True), strict=True
    )
    for one, other in pairs:
        assert one.tags is not None and other.tags is not None and one.seconds == other.seconds
        assert one.tags.labels == other.tags.labels
        same(other.logits, one.logits)
        same(other.embedding, one.embedding)
    for path in recordings:
        wanted = before.events(path, window=0.5, threshold=0.5)
        found = after.events(path, window=0.5, threshold=0.5)
        assert len(found) == len(wanted)
        assert all(np.array_equal(found[name], wanted[name]) for name in found.columns if name != "score")
        same(found.score, wanted.score)


def test_a_batch_of_any_size_and_frames_come_out_right(model: Model, folder: Path) -> None:
    before, after = Tagger(model), audiotag.load(folder)
    for batch, samples in ((1, 900), (5, 8000), (3, 12_345)):
        waveforms = np.random.default_rng(batch).uniform(-0.3, 0.3, (batch, samples)).astype(np.float32)
        same(after.logits(waveforms, 8000), before.logits(waveforms, 8000))
        frames, times = after.embed(waveforms, 8000, "frame")
        wanted, middles = before.embed(waveforms, 8000, "frame")
        same(frames, wanted)
        assert times.tolist() == middles.tolist()
    with pytest.raises(OptionError, match="no feature maps"):
        after.embed(waveforms, 8000, "map")


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_clips_that_threads_share_come_out_in_their_order(folder: Path, threads: int) -> None:
    engine, alone = OnnxEngine(folder, threads=threads), OnnxEngine(folder, threads=1)
    for count, samples in ((7, 8000), (5, 1300), (2, 20_000)):
        waveforms = np.random.default_rng(count).uniform(-0.3, 0.3, (count, samples)).astype(np.float32)
        found = engine.forward(waveforms, embed=True)
        wanted = [alone.forward(row[None], embed=True) for row in waveforms]
        same(found.logits, np.concatenate([one.logits for one in wanted]))
        same(found.embeddings, np.concatenate([one.embeddings for one in wanted if one.embeddings is not None]))


@pytest.mark.parametrize("kind", ["torch", "onnx", "onnx in threads"])
def test_overlapping_windows_share_frames_and_score_as_each_alone(
    model: Model, folder: Path, recordings: list[Path], kind: str
) -> None:
    engine = TorchEngine(model) if kind == "torch" else OnnxEngine(folder, threads=1 if kind == "onnx" else 2)
    tagger, heard = Tagger(engine), []
    spectrograms = engine.spectrograms

    def counted(waveforms: np.ndarray) -> np.ndarray:
        heard.append(waveforms.size)
        return spectrograms(waveforms)

    engine.spectrograms = counted  # type: ignore[method-assign]
    sound = read_audio(recordings[3], 8000)
    for window, hop, batch in ((1.0, 0.25, 4), (1.0, 0.1, 1), (2.0, 0.123, 3), (0.05, 0.03, 2), (70.0, 3.0, 2)):
        heard.clear()
        scored = list(tagger.score_windows(recordings[3], window=window, hop=hop, batch_size=batch, embeddings=True))
        for one in scored[:3] + scored[-3:]:
            alone = sound[round(one.onset * 8000) :][: round(window * 8000)]
            same(one.scores, tagger.scores(alone, 8000)[0])
            same(one.embedding, tagger.embed(alone, 8000)[0])
        if window == 1.0:
            assert 70 * 8000 < sum(heard) < 1.6 * 70 * 8000
    heard.clear()
    assert len(list(tagger.score_windows(recordings[3], window=1.0, hop=1.0))) == 70
    assert heard == []  # they share nothing


def test_the_folder_says_all_about_the_model_and_how_well_it_does(model: Model, folder: Path) -> None:
    names = {"audiotag.json", "network.onnx", "front_end.safetensors", "parity.json", "README.md"}
    assert {path.name for path in folder.iterdir()} == names
    exported = read_exported(folder)
    assert exported.labels == model.labels
    assert exported.lengths == model.lengths
    assert exported.front_end is not None and exported.front_end.digest == model.backbone.front_end.description.digest  # type: ignore[union-attr]
    assert exported.source["model"] == "small" and exported.source["plugin"]["distribution"] == "audiotag-small"
    assert exported.card["code_licence"] == "MIT"
    proof = json.loads((folder / "parity.json").read_text())
    assert proof["sounds"] == "synthetic sounds" and proof["check"] is None
    assert 0 < proof["logits"]["relative"] < 1e-4 and proof["features"]["relative"] < 1e-4
    assert proof["top_class"] == proof["decisions"] == 1.0 and proof["threshold"] == "tuned"
    page = (folder / "README.md").read_text()
    assert "Licence of the published code: MIT" in page and "100.00%" in page


def test_a_proof_on_labelled_clips_has_their_measures(model: Model, recordings: list[Path], tmp_path: Path) -> None:
    listed = "path,labels\n" + "".join(
        f"{path},{label}\n" for path, label in zip(recordings[:3], ("kettle", "rain", "kettle"), strict=True)
    )
    (tmp_path / "clips.csv").write_text(listed + "gone.wav,rain\n")
    _, proof = export_model(model, tmp_path / "out", check=tmp_path / "clips.csv")
    assert proof.clips == 3 and proof.check is not None
    before, after = proof.check["mAP"]
    assert before is not None and before == after
    assert "| mAP |" in (tmp_path / "out" / "README.md").read_text()


LIGHT = """
import json
import numpy as np
import soundfile
import audiotag
tagger = audiotag.load(sys.argv[1])
sound = np.load(sys.argv[2])
print(json.dumps([tagger.logits(sound, 8000).tolist(), list(tagger.tag((sound, 8000)).labels)]))
"""


def test_an_exported_folder_needs_nothing_of_any_extra(
    model: Model, folder: Path, tmp_path: Path, run_light: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    sound = np.random.default_rng(1).uniform(-0.3, 0.3, 9000).astype(np.float32)
    np.save(tmp_path / "sound.npy", sound)
    done = run_light(LIGHT, folder, tmp_path / "sound.npy")
    assert done.returncode == 0, done.stderr
    logits, labels = json.loads(done.stdout)
    same(logits, Tagger(model).logits(sound, 8000))
    assert labels == list(Tagger(model).tag((sound, 8000)).labels)


COMMAND = """
from audiotag.cli.main import run
sys.argv = ["audiotag", *sys.argv[1:]]
run()
"""


def test_infer_writes_the_same_files_without_torch(
    model: Model,
    folder: Path,
    recordings: list[Path],
    tmp_path: Path,
    run_light: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    for options in (["--format", "csv"], ["--events", "--threshold", "0.4", "--format", "jsonl"]):
        plain, light = tmp_path / "plain", tmp_path / "light"
        shared = ["infer", "--model", str(folder), *map(str, recordings), "--overwrite", *options]
        run = CliRunner().invoke(main, [*shared, "--output", str(plain)])
        assert run.exit_code == 0, run.output
        done = run_light(COMMAND, *shared, "--output", light)
        assert done.returncode == 0, done.stderr
        assert light.read_bytes() == plain.read_bytes()


def _measured(path: Path) -> str:
    """The text of a file of an evaluation, without the lines that say when it was made, and by which command."""
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if not re.search(r"(?i)command\b|measured_at|20\d\d-\d\d-\d\d", line))


def test_evaluate_writes_the_same_files_without_torch(
    folder: Path, recordings: list[Path], tmp_path: Path, run_light: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    rows = zip(recordings[:3], ("kettle", "rain", "doorbell"), strict=True)
    (tmp_path / "clips.csv").write_text("path,labels\n" + "".join(f"{path},{label}\n" for path, label in rows))
    for kind in ("--multi-label", "--single-label"):
        plain, light = tmp_path / f"plain{kind}", tmp_path / f"light{kind}"
        shared = ["evaluate", "--model", str(folder), "--data", str(tmp_path / "clips.csv"), kind, "--metric", "mAP"]
        run = CliRunner().invoke(main, [*shared, "--output", str(plain)])
        assert run.exit_code == 0, run.output
        done = run_light(COMMAND, *shared, "--output", light)
        assert done.returncode == 0, done.stderr
        names = sorted(path.name for path in plain.iterdir())
        assert "per_class.csv" in names and names == sorted(path.name for path in light.iterdir())
        assert [_measured(light / name) for name in names] == [_measured(plain / name) for name in names]


def test_a_tagger_of_a_folder_can_be_pickled(folder: Path) -> None:
    tagger = audiotag.load(folder)
    sound = np.random.default_rng(2).uniform(-0.3, 0.3, 8000).astype(np.float32)
    wanted = tagger.logits(sound, 8000)
    assert pickle.loads(pickle.dumps(tagger)).logits(sound, 8000).tolist() == wanted.tolist()


def test_two_exports_of_one_model_have_one_fingerprint(model: Model, folder: Path, tmp_path: Path) -> None:
    export_model(model, tmp_path / "again")
    first, second = (OnnxEngine(path).fingerprint() for path in (folder, tmp_path / "again"))
    assert first == second
    with torch.no_grad():
        next(iter(model.backbone.head_parameters())).add_(1)
    export_model(model, tmp_path / "changed")
    assert OnnxEngine(tmp_path / "changed").fingerprint() != first


def test_settings_of_an_exported_network_are_its_own(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="weights are given for an exported network"):
        audiotag.load(folder, weights=tmp_path / "x.pt")
    with pytest.raises(OptionError, match="on the CPU with precision 32"):
        audiotag.load(folder, device="cuda")
    with pytest.raises(OptionError, match="on the CPU with precision 32"):
        audiotag.load(folder, precision="bf16-mixed")
    renamed = LabelSet([Label(one.mid, one.name.upper()) for one in read_exported(folder).labels], "mine")
    assert audiotag.load(folder, labels=renamed).labels.names == ("KETTLE", "DOORBELL", "RAIN")
    with pytest.raises(LabelError, match="other classes"):
        audiotag.load(folder, labels=["rain", "kettle", "doorbell"])
    with pytest.raises(CheckpointError, match="cannot be trained"):
        load_model(folder)


def test_what_cannot_be_exported_is_refused_with_the_reason(model: Model, tiny: object, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(OptionError, match="not empty"):
        export_model(model, tmp_path / "there")
    model.backbone.front_end = tiny.TinyFrontEnd()  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match="front end is code of its own"):
        export_model(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_family_may_say_that_it_cannot_be_exported(model: Model, tmp_path: Path) -> None:
    object.__setattr__(model.spec, "not_exported", "it draws its kernels by dice")
    with pytest.raises(OptionError, match="by dice"):
        export_model(model, tmp_path / "new")


def test_the_command_exports_a_registered_model(tmp_path: Path, recordings: list[Path]) -> None:
    run = CliRunner().invoke(main, ["export", "home10", "--output", str(tmp_path / "home10")])
    assert run.exit_code == 0, run.output
    assert "of torch's on 24 clips" in run.output
    told = []
    for model in ("home10", tmp_path / "home10"):
        told.append(list(audiotag.load(model).tag(recordings[1]).labels))
    assert told[0] == told[1]


def test_weights_of_half_the_size_tag_almost_the_same(model: Model, tmp_path: Path) -> None:
    wide = create_backbone("small", 3000, seed=0)
    labels = LabelSet.from_names([f"class {number}" for number in range(3000)], source="test")
    wider = replace(model, backbone=wide.eval(), labels=labels, thresholds=None)
    sizes, logits = [], []
    sound = np.random.default_rng(3).uniform(-0.3, 0.3, 8000).astype(np.float32)
    for precision in ("fp32", "fp16"):
        exported, _ = export_model(wider, tmp_path / precision, precision=precision)
        assert exported.precision == precision
        sizes.append(exported.network.stat().st_size)
        logits.append(audiotag.load(tmp_path / precision).logits(sound, 8000))
    assert sizes[1] < 0.75 * sizes[0]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 1e-3 * np.abs(logits[0]).max()
    with pytest.raises(OptionError, match="fp8"):
        export_model(model, tmp_path / "other", precision="fp8")


def test_an_ensemble_is_exported_member_by_member(
    model: Model, tmp_path: Path, recordings: list[Path], run_light: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    other = replace(model, backbone=create_backbone("small", 3, seed=1).eval(), thresholds=None)
    for number, one in enumerate((model, other)):
        save_checkpoint(tmp_path / f"member{number}", one)
    save_ensemble([tmp_path / "member0", tmp_path / "member1"], tmp_path / "both", combine="probabilities")
    run = CliRunner().invoke(main, ["export", str(tmp_path / "both"), "--output", str(tmp_path / "exported")])
    assert run.exit_code == 0, run.output
    before, after = audiotag.load(tmp_path / "both"), audiotag.load(tmp_path / "exported")
    assert after.combine == "probabilities" and all(isinstance(engine, OnnxEngine) for engine in after.engines)
    sound = np.random.default_rng(4).uniform(-0.3, 0.3, 9000).astype(np.float32)
    same(after.logits(sound, 8000), before.logits(sound, 8000))
    np.save(tmp_path / "sound.npy", sound)
    done = run_light(LIGHT, tmp_path / "exported", tmp_path / "sound.npy")
    assert done.returncode == 0, done.stderr
    same(json.loads(done.stdout)[0], before.logits(sound, 8000))


def test_an_export_is_evaluated_and_keeps_tuned_thresholds(
    model: Model, folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    rows = zip(recordings[:3], ("kettle", "rain", "doorbell"), strict=True)
    (tmp_path / "clips.csv").write_text("path,labels\n" + "".join(f"{path},{label}\n" for path, label in rows))
    wanted = audiotag.evaluate(model, tmp_path / "clips.csv", single_label=False)
    found = audiotag.evaluate(folder, tmp_path / "clips.csv", single_label=False)
    assert found.summary == pytest.approx(wanted.summary, abs=1e-6, nan_ok=True)
    tuned = audiotag.evaluate(
        folder, tmp_path / "clips.csv", tune_thresholds_on=tmp_path / "clips.csv", single_label=False
    )
    kept = audiotag.load(folder)
    assert kept.thresholds is not None and kept.thresholds.tolist() != [0.3, 0.5, 0.7]
    assert "thresholds" in kept.metadata and tuned.summary["clips"] == 3


def test_the_kept_export_of_a_registered_model_is_taken_on_the_cpu(
    tmp_path: Path, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))

    def engine(**settings: Any) -> type:
        return type(audiotag.load("home10", **settings).engines[0])

    assert engine() is TorchEngine
    with pytest.raises(OptionError, match="audiotag models export"):
        engine(engine="onnx")
    run = CliRunner().invoke(main, ["models", "export", "home10"])
    assert run.exit_code == 0, run.output
    assert engine() is engine(engine="onnx") is OnnxEngine
    assert engine(engine="torch") is engine(precision="bf16-mixed") is TorchEngine
    told = CliRunner().invoke(main, ["infer", "--model", "home10", "--engine", "torch", str(recordings[1])])
    assert told.exit_code == 0, told.output
    listed = json.loads(CliRunner().invoke(main, ["cache", "list", "--json"]).output)
    assert [kind["entries"] for kind in listed["kinds"] if kind["kind"] == "exports"] == [1]
    place = audiotag.load("home10").engines[0].exported.folder
    mine = shutil.copytree(place, place.with_name("mine"))  # not of a name that audiotag gives
    (tmp_path / "far").mkdir()
    far = shutil.copytree(place, tmp_path / "far" / place.name.replace("home10", "far"))
    (place.parent / far.name).symlink_to(far)
    assert CliRunner().invoke(main, ["cache", "clear", "exports"]).output.startswith("exports: 1 removed")
    assert mine.is_dir() and any(far.iterdir()) and not place.exists()
    assert engine() is TorchEngine
    with pytest.raises(OptionError, match="there is no engine"):
        engine(engine="jax")


def test_torch_is_not_taken_for_an_exported_folder(folder: Path) -> None:
    with pytest.raises(OptionError, match="not torch"):
        audiotag.load(folder, engine="torch")


def test_onnx_runtime_keeps_no_number_of_the_device_and_reports_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_light: Callable[..., Any]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    np.save(tmp_path / "sound.npy", np.zeros(8000, np.float32))
    done = run_light(LIGHT, folder, tmp_path / "sound.npy")
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_processes_compute_with_a_session_of_their_own_and_end(folder: Path) -> None:
    """An inherited session has threads in the parent alone: one that goes would wait for them for ever."""
    program = (
        "import os, sys, numpy as np, audiotag\n"
        "from audiotag.engines.onnx_engine import OnnxEngine\n"
        "tagger = audiotag.Tagger(OnnxEngine(sys.argv[1], threads=3))\n"
        "sound = np.linspace(-1, 1, 8000, dtype=np.float32), 8000\n"
        "expected = tagger.tag(sound).scores\n"
        "for number in range(6):\n"
        "    if (child := os.fork()) == 0:\n"
        "        if number % 2:\n"
        "            assert np.allclose(tagger.tag(sound).scores, expected)\n"
        "        sys.exit(0)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def _damaged(place: Path) -> None:
    (place / "network.onnx").write_bytes(b"no network")


def _without_facts(place: Path) -> None:
    (place / "audiotag.json").unlink()


def _of_another_version(place: Path) -> None:
    place.rename(place.with_name(f"home10-{'0' * 12}"))


def _of_other_weights(place: Path) -> None:
    facts = json.loads((place / "audiotag.json").read_text())
    facts["metadata"]["weights_sha256"] = dict.fromkeys(facts["metadata"]["weights_sha256"], "0" * 64)
    (place / "audiotag.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_damaged, "ONNX"),
        (_without_facts, "cannot be read"),
        (_of_another_version, "another version of the plugin"),
        (_of_other_weights, "other weights"),
    ],
)
def test_a_kept_export_that_cannot_be_used_is_told_of_once_and_torch_computes(
    kept_home10: Path, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(kept_home10)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        engines = [audiotag.load("home10").engines[0] for _ in range(2)]
    assert [type(one) for one in engines] == [TorchEngine, TorchEngine]
    (warning,) = [one for one in told if issubclass(one.category, AudiotagWarning)]
    assert why in str(warning.message) and "audiotag models export home10" in str(warning.message)
    with pytest.raises(CheckpointError, match="audiotag models export home10"):
        audiotag.load("home10", engine="onnx")
    assert type(audiotag.load("home10", engine="torch").engines[0]) is TorchEngine


def test_a_kept_export_that_is_damaged_can_be_made_again(kept_home10: Path) -> None:
    _without_facts(kept_home10)
    assert CliRunner().invoke(main, ["models", "export", "home10"]).exit_code == 0
    assert type(audiotag.load("home10").engines[0]) is OnnxEngine


@pytest.fixture(scope="module")
def exported_home10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDIOTAG_CACHE", str(cache))
        assert CliRunner().invoke(main, ["models", "export", "home10"]).exit_code == 0
    return cache


@pytest.fixture
def kept_home10(exported_home10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kept export of ``home10``, to be spoilt."""
    shutil.copytree(exported_home10, tmp_path / "cache")
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))
    return export_place(get_host().backbone("home10"))
