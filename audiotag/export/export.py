"""From a model to a folder that tags without torch."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from audiotag.data.clips import ClipSet
from audiotag.data.source import ClipSource
from audiotag.documents import json_text
from audiotag.engines.cached import DIGESTS, export_place, weights_digests
from audiotag.engines.exported import Exported, read_exported
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.engines.torch_engine import TorchEngine
from audiotag.export.calibration import Calibration, Recordings
from audiotag.export.folder import write_exported
from audiotag.export.page import page
from audiotag.export.precision import require_precision
from audiotag.export.proof import Proof, prove
from audiotag.folders import atomic_folder, check_new_folder, current_folder
from audiotag.host import get_host
from audiotag.inference.ensemble import MEMBERS, ensemble_text, read_ensemble
from audiotag.models.facts import FACTS_FILE, LEARNER_FILE, model_folder
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag.places import is_file

PROOF_FILE = "parity.json"
PAGE_FILE = "README.md"


def export_model(
    model: str | Path | Model,
    output: str | Path,
    *,
    precision: str = "fp32",
    calibrate: Recordings | None = None,
    check: ClipSource | str | Path | ClipSet | None = None,
    progress: bool = False,
) -> tuple[Exported, Proof]:
    """Write a model as a folder that tags without torch, with a proof that it gives the same.

    Args:
        model: A registered model, the folder of a checkpoint or run, or a `Model` (`audiotag.models.load_model` makes
            one with weights, labels or options of its own).
        output: The new folder; it must not exist yet.
        precision: How weights are kept, all of which are computed with in float32: ``"fp32"``; ``"fp16"``, half the
            size; or ``"int8"``, a quarter.
        calibrate: For ``"int8"``, recordings like those that it will hear, fifty or more: a path as `audiotag infer`
            takes it, or clips. Labels do not matter.
        check: Labelled clips to compare on, measures included; None for synthetic sounds.
        progress: Draw a progress bar while weights are downloaded.

    Returns:
        What the folder says, and the proof.

    Raises:
        OptionError: *output* exists, the model's family cannot be exported, or *precision* and *calibrate* do not go
            together.
        AudiotagError: The model or the clips cannot be had.
    """
    require_precision(precision, calibrate is not None)
    output = Path(output)
    check_new_folder(output)
    known: Path | None = None
    if not isinstance(model, Model):
        known = current_folder(model_folder(model)) / LEARNER_FILE
        model = load_model(model, progress=progress)
    with atomic_folder(output) as partial:
        proof = _export(model, partial, precision, calibrate, check)
        if known is not None and is_file(known):  # the analytic learner goes on from it
            shutil.copyfile(known, partial / LEARNER_FILE)
    return read_exported(output), proof


def export_ensemble(
    ensemble: str | Path,
    output: str | Path,
    *,
    precision: str = "fp32",
    calibrate: Recordings | None = None,
    check: ClipSource | str | Path | ClipSet | None = None,
    progress: bool = False,
) -> list[tuple[Exported, Proof]]:
    """Write an ensemble as one whose members are exported; each has its own proof.

    Args:
        ensemble: Its folder.
        output: The new folder; it must not exist yet.
        precision: As for `export_model`.
        calibrate: As for `export_model`.
        check: As for `export_model`.
        progress: Draw a progress bar while weights are downloaded.

    Returns:
        What the folder of each member says, and its proof.

    Raises:
        AudiotagError: As `export_model` raises.
    """
    require_precision(precision, calibrate is not None)
    output = Path(output)
    check_new_folder(output)
    known = read_ensemble(ensemble)
    places = [f"{MEMBERS}/{number:02d}" for number in range(1, 1 + len(known.members))]
    proofs = []
    with atomic_folder(output) as partial:
        for place, member in zip(places, known.members, strict=True):
            (partial / place).mkdir(parents=True)
            model = load_model(member, progress=progress)
            proofs.append(_export(model, partial / place, precision, calibrate, check))
        entries = [{"folder": place, "from": member} for place, member in zip(places, known.members, strict=True)]
        (partial / FACTS_FILE).write_text(ensemble_text(known, entries), encoding="utf-8")
    return [(read_exported(output / place), proof) for place, proof in zip(places, proofs, strict=True)]


def export_to_cache(name: str, *, progress: bool = False) -> tuple[Exported, Proof]:
    """Export a registered model to where tagging finds it (`audiotag.engines.cached`), anew where there is one.

    Raises:
        OptionError: *name* is a family, or cannot be exported.
        AudiotagError: The model cannot be had.
    """
    spec = get_host().backbone(name)
    place = export_place(spec)
    model = load_model(name, progress=progress)
    model.metadata = {**model.metadata, DIGESTS: weights_digests(spec)}
    with atomic_folder(place) as partial:
        proof = _export(model, partial)
    return read_exported(place), proof


def _export(
    model: Model,
    folder: Path,
    precision: str = "fp32",
    calibrate: Recordings | None = None,
    check: ClipSource | str | Path | ClipSet | None = None,
) -> Proof:
    calibration = None if calibrate is None else Calibration.of(model, calibrate)
    exported = write_exported(model, folder, precision, calibration)
    source = None if check is None else ClipSource.of(check)
    proof = prove(TorchEngine(model), OnnxEngine(read_exported(folder)), source)
    if calibration is not None:
        proof = replace(proof, calibrated={"sounds": calibration.sounds, "passes": len(calibration.inputs)})
    (folder / PROOF_FILE).write_text(json_text(proof.to_dict(), indent=2) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(exported, proof), encoding="utf-8")
    return proof
