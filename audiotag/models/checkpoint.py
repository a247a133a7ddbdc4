"""Checkpoints of ours: a folder with the network, its classes, and all that is needed to make it again.

    model.safetensors   parameters and buffers
    audiotag.json       format version, model, plugin, options, labels, thresholds, metrics, training settings
    optimizer.pt        state of an unfinished training, only for resuming

Where low-rank adapters are learned, model.safetensors holds them and the head alone; the rest is what the registry
publishes, or base.safetensors in the folder of the run.

Folders are replaced whole (`audiotag.folders`): one writer to a folder, any number of readers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from audiotag.documents import Fields, plain_json
from audiotag.errors import CheckpointError, OptionError, OutputError
from audiotag.files import atomic_path, set_usual_mode
from audiotag.folders import atomic_folder, current_folder
from audiotag.host import get_host
from audiotag.host.needs import needed, requirement, warn_of_version
from audiotag.models.adapters import Adapters, add_adapters, learned_keys, merge_adapters
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.create import build_backbone, resolved_options
from audiotag.models.embedding_head import OverEmbedding
from audiotag.models.facts import (
    BASE_FILE,
    COPY_AGAIN,
    FACTS_FILE,
    FILES,
    FORMAT,
    FORMAT_VERSION,
    LEARNER_FILE,
    TRAINING_FILE,
    WEIGHTS_FILE,
    Classes,
    facts_in,
    find_checkpoint,
    read_classes,
    require_replaceable,
)
from audiotag.models.fingerprints import state_digest
from audiotag.models.model import Model
from audiotag.models.published import load_published, read_safetensors, registered_weights, require_weights
from audiotag.places import is_file
from audiotag.specs import BackboneSpec


def save_checkpoint(
    folder: str | Path,
    model: Model,
    *,
    training_state: dict[str, Any] | None = None,
    learner: AnalyticLearner | None = None,
) -> Path:
    """Write *model* to *folder*, in place of the checkpoint that may be there.

    A program killed at any moment leaves the old checkpoint or the new one, whole.

    Args:
        folder: Where to; made with its parents.
        model: What to write.
        training_state: State of an unfinished training for `load_training_state`: tensors and plain values in
            dicts, lists and tuples.
        learner: What gave the model its head, to go on from.

    Returns:
        *folder*.

    Raises:
        CheckpointError: A weight is not finite or far too large, a value cannot be stored, or *folder* holds something
            else.
        OutputError: *folder* cannot be written.
    """
    return snapshot(model).write(folder, training_state, learner)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a checkpoint holds of a model.

    Attributes:
        state: Parameters and buffers, on the CPU; of a network with adapters these and the head.
        facts: All else, as JSON has it.
    """

    state: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def write(
        self,
        folder: str | Path,
        training_state: Mapping[str, Any] | None = None,
        learner: AnalyticLearner | None = None,
    ) -> Path:
        """Write it as a checkpoint; see `save_checkpoint`."""
        folder, state = Path(folder), dict(self.state)
        require_replaceable(folder, FILES)
        require_weights(state, folder, state)
        training = None if training_state is None else _plain_state(training_state, "training_state")
        try:
            with atomic_folder(folder) as partial:
                save_file(state, partial / WEIGHTS_FILE, metadata={"format": "pt"})
                set_usual_mode(partial / WEIGHTS_FILE)  # safetensors lets nobody but the owner read it
                facts = json.dumps(self.facts, indent=2, ensure_ascii=False) + "\n"
                (partial / FACTS_FILE).write_text(facts, encoding="utf-8")
                if training is not None:
                    torch.save(training, partial / TRAINING_FILE)
                if learner is not None:
                    (partial / LEARNER_FILE).write_bytes(learner.to_bytes())
        except (SafetensorError, RuntimeError) as error:  # what safetensors and torch make of a full disk
            reason = str(error).partition("\n")[0]
            raise OutputError(
                f"the checkpoint cannot be written; the disk may be full ({reason})",
                where=folder,
                fix="Free some space, or name another folder.",
            ) from error
        return folder


def snapshot(model: Model, *, copy: bool = False) -> Snapshot:
    """What a checkpoint of *model* would hold now.

    Args:
        model: The model.
        copy: Whether the model may change before it is written: costs its size in memory.

    Raises:
        CheckpointError: A value cannot be stored.
    """
    with model.computing("asking for the state of"):
        state = _detached_state(model, copy)
        extra_state = plain_json(model.backbone.extra_state(), "extra_state", error=CheckpointError)
    return Snapshot(state, _facts(model, extra_state))


def _detached_state(model: Model, copy: bool) -> dict[str, Tensor]:
    """The state on the CPU; entries that share memory are copied, as safetensors needs it."""
    state: dict[str, Tensor] = {}
    seen: set[int] = set()
    entries = model.backbone.state_dict()
    kept = entries if model.adapters is None else learned_keys(model.backbone)
    for key, value in ((key, value) for key, value in entries.items() if key in kept):
        tensor = value.detach().to("cpu", copy=copy).contiguous()
        storage = tensor.untyped_storage().data_ptr()
        state[key] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return state


def _facts(model: Model, extra_state: Any) -> dict[str, Any]:
    owner = get_host().owner(model.spec)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "audiotag": version("audiotag"),
        "name": model.name,
        "backbone": {
            "spec": model.spec.name,
            "family": model.spec.family,
            "plugin": {"distribution": owner.distribution, "version": owner.version},
            "options": plain_json(resolved_options(model.spec, model.options), "options", error=CheckpointError),
            "extra_state": extra_state,
            "head": "embedding" if isinstance(model.backbone, OverEmbedding) else "own",
            **({} if model.adapters is None else {"adapters": asdict(model.adapters)}),
        },
        "sample_rate": model.backbone.sample_rate,
        **Classes(model.labels, model.single_label, model.thresholds).to_dict(),
        "metadata": plain_json(model.metadata, "metadata", error=CheckpointError),
    }


def _plain_state(value: Any, place: str) -> Any:
    """*value* as types that ``torch.load(weights_only=True)`` takes back."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {_plain_state(key, place): _plain_state(inner, f"{place}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        items = [_plain_state(inner, f"{place}.{index}") for index, inner in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    raise CheckpointError(
        f"{place} is a {type(value).__name__}, and a training state may hold tensors and plain values only"
    )


def load_checkpoint(folder: str | Path, *, merged: bool = True) -> Model:
    """Read a checkpoint of ours, on the CPU, in eval mode.

    Args:
        folder: As `find_checkpoint` takes it.
        merged: Whether low-rank adapters become part of the layers that they are for; False to go on learning them.

    Raises:
        CheckpointError: There is none, it is damaged or holds numbers that cannot be weights, its plugin is missing
            (and what to install), or the network that its adapters are for is another or not there.
    """
    proper = find_checkpoint(folder)
    while True:
        actual = current_folder(proper)
        identity = _identity(actual)
        try:
            facts = facts_in(actual)
            state = read_safetensors(actual / WEIGHTS_FILE, "the weights cannot be read", COPY_AGAIN)
        except CheckpointError:
            if _identity(current_folder(proper)) == identity:
                raise
            continue
        if _identity(current_folder(proper)) == identity:  # otherwise a writer has come between the two files
            model = _assemble(facts, state, proper)
            return merge(model) if merged else model


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _assemble(facts: Fields, state: dict[str, Tensor], folder: Path) -> Model:
    made_by = facts["backbone"]
    distribution, plugin_version = made_by["plugin"]["distribution"], made_by["plugin"]["version"]
    classes = read_classes(facts, folder)
    options = {key: _as_tuples(value) for key, value in made_by["options"].items()}
    spec_name = made_by["spec"]
    spec = spec_of(facts, folder)
    made_with, now = f"{distribution} {plugin_version}", get_host().owner(spec).label
    fix = f"Install that version: pip install {requirement(distribution, plugin_version)}"
    replaced = made_by.get("head") == "embedding"
    try:
        backbone = build_backbone(spec, 1 if replaced else len(classes.labels), options)
    except OptionError as error:
        raise CheckpointError(
            f"{now} cannot make its network {spec_name!r} ({error.what}); the checkpoint was made with {made_with}",
            where=folder,
            fix=fix,
        ) from error
    adapters = adapters_in(facts)
    with get_host().computing(spec, f"taking back the state of {folder}"):
        backbone.load_extra_state(made_by["extra_state"])  # which may decide the shapes of weights
        if replaced:
            backbone = OverEmbedding(backbone, len(classes.labels))
        if adapters is not None:
            add_adapters(backbone, adapters.rank, adapters.alpha)
    base = {} if adapters is None else _base_of(adapters, spec, options, folder)
    twice, state = base.keys() & state.keys(), {**base, **state}
    own = backbone.state_dict()
    wrong = sorted(set(own) ^ set(state) | twice) or [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} weights do not fit the network {spec_name!r} as {now} makes it "
            f"({', '.join(wrong[:5])}); the checkpoint was made with {made_with}",
            where=folder,
            fix=fix,
        )
    then = f"its scores may differ. The old ones: pip install {requirement(distribution, plugin_version)}"
    made = "the checkpoint was made with"
    warn_of_version(made, spec, distribution, plugin_version, where=folder, then=then)
    require_weights(state, folder, backbone.state_dict())
    with get_host().computing(spec, f"taking back the state of {folder}"):
        backbone.load_state_dict(state)
    backbone.eval()
    return Model(
        backbone=backbone,
        spec=spec,
        options=options,
        name=facts["name"],
        **classes._asdict(),
        metadata=facts["metadata"],
        adapters=adapters,
    )


def adapters_in(facts: Fields) -> Adapters | None:
    """The low-rank adapters that the *facts* of a checkpoint tell of.

    Raises:
        CheckpointError: They are damaged.
    """
    kept = facts.fields("backbone").fields("adapters", None)
    return None if kept is None else Adapters.read(kept)


def merge(model: Model) -> Model:
    """*model* with its adapters, if it has any, merged into the layers that they are for; changed in place."""
    if model.adapters is not None:
        merge_adapters(model.backbone)
        model.adapters = None
    return model


def write_base(model: Model, path: Path) -> None:
    """Write the network that the adapters of *model* are for, without its head.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_path(path) as partial:
        save_file(base_state(model), partial, metadata={"format": "pt"})


def base_state(model: Model) -> dict[str, Tensor]:
    """The entries of a network, on the CPU, that stay as they are while adapters and the head learn."""
    left_out = learned_keys(model.backbone)
    entries = model.backbone.state_dict().items()
    return {key: value.detach().cpu().contiguous() for key, value in entries if key not in left_out}


def _base_of(adapters: Adapters, spec: BackboneSpec, options: Mapping[str, Any], folder: Path) -> dict[str, Tensor]:
    """The network that the adapters of the checkpoint in *folder* are for, without its head."""
    if adapters.base == "published" and spec.weights is not None:
        network = build_backbone(spec, spec.num_classes or 1, options)
        source, where = registered_weights(spec)
        load_published(network, source, where=where)
        left_out = {*network.head_keys()}
        state = {key: value for key, value in network.state_dict().items() if key not in left_out}
    else:
        # A run's own is in its folder, of which best is a folder and epochs/epoch_001 one of a folder's.
        near = [place / BASE_FILE for place in (folder, *folder.absolute().parents[:2])]
        found = next((path for path in near if is_file(path)), None)
        if found is None:
            raise CheckpointError(
                f"the checkpoint holds low-rank adapters, and the network that they are for ({BASE_FILE}) is not there",
                where=folder,
                fix=f"Copy {BASE_FILE} of the run beside it, or give a merged model (audiotag models merge).",
            )
        where = found
        state = read_safetensors(where, "the network of the adapters cannot be read", COPY_AGAIN)
    if state_digest(state) != adapters.digest:
        raise CheckpointError(
            "these weights are others than those that the checkpoint's adapters were learned for",
            where=where,
            fix="Take the weights that the run started from, or start a new run.",
        )
    return state


def spec_of(facts: Fields, folder: Path) -> BackboneSpec:
    """The descriptor of the network that a checkpoint in *folder* is of, by what its *facts* say.

    Raises:
        CheckpointError: Its plugin is missing (and what to install).
    """
    made_by = facts["backbone"]
    brought = {"distribution": made_by["plugin"]["distribution"], "release": made_by["plugin"]["version"]}
    spec: BackboneSpec = needed(
        "the checkpoint", BackboneSpec, made_by["spec"], **brought, error=CheckpointError, where=folder
    )
    return spec


def _as_tuples(value: Any) -> Any:
    """Lists back into the tuples that options are made of."""
    return tuple(_as_tuples(inner) for inner in value) if isinstance(value, list) else value


def load_training_state(folder: str | Path) -> dict[str, Any]:
    """The state of an unfinished training that `save_checkpoint` has kept.

    Args:
        folder: As `find_checkpoint` takes it.

    Raises:
        CheckpointError: The checkpoint has none, or it is damaged.
    """
    path = current_folder(find_checkpoint(folder)) / TRAINING_FILE
    if not is_file(path):
        raise CheckpointError(
            "the checkpoint holds no training state to resume from",
            where=path,
            fix="Resume from the run's 'last' checkpoint, or start a new training from this one.",
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler meets damaged bytes with errors of every kind
        raise CheckpointError(
            f"the training state cannot be read ({type(error).__name__}: {str(error).partition(chr(10))[0]})",
            where=path,
            fix="Start a new training from the checkpoint's weights.",
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"the training state is a {type(state).__name__}, not a dict", where=path)
    return state
