"""What decides the answers of a network, as hashes: its options, its numbers, its code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from audiotag.errors import UnknownNameError
from audiotag.host import get_host
from audiotag.models.create import resolved_options
from audiotag.models.embedding_head import OverEmbedding
from audiotag.models.model import Model


def backbone_fingerprint(model: Model) -> str:
    """A hash of what the head is given by: options, parameters and statistics, without the head."""
    return model_fingerprint(model, leaving_out=model.backbone.head_keys())


def embedding_fingerprint(model: Model) -> str:
    """A hash of what gives the clip embeddings: the same whatever head follows."""
    backbone = model.backbone
    network = replace(model, backbone=backbone.network) if isinstance(backbone, OverEmbedding) else model
    return backbone_fingerprint(network)


def model_fingerprint(model: Model, *, leaving_out: Collection[str] = ()) -> str:
    """A hash of the options, parameters and statistics that decide a clip's logits, but for some entries."""
    digest = hashlib.blake2b(digest_size=16)
    options = sorted(map(repr, resolved_options(model.spec, model.options).items()))
    with model.computing("asking for the state of"):
        extra_state, state = model.backbone.extra_state(), model.backbone.state_dict()
    digest.update(repr((model.spec.factory, options, extra_state)).encode())
    _add_state(digest, {key: tensor for key, tensor in state.items() if key not in leaving_out})
    return digest.hexdigest()


def state_digest(state: Mapping[str, Tensor]) -> str:
    """A hash of parameters and statistics alone."""
    digest = hashlib.blake2b(digest_size=16)
    _add_state(digest, state)
    return digest.hexdigest()


def _add_state(digest: hashlib.blake2b, state: Mapping[str, Tensor]) -> None:
    for key, tensor in sorted(state.items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())


def code_fingerprint(model: Model) -> str:
    """A hash of the code that makes and runs the network, since the same weights mean something else in other code.

    It covers distribution and version of the plugin, every source file of the packages that the factory and the
    network's class are in, the modules of this package that layers come from, and the versions of other libraries.
    """
    network = model.backbone
    try:
        owner = get_host().owner(model.spec)
        plugin = (owner.distribution, owner.version)
    except UnknownNameError:  # a network of somebody's own, whose descriptor no plugin registers
        plugin = ("", "")
    modules = {model.spec.factory.partition(":")[0], *(one.__module__ for one in type(network).__mro__)}
    own = {name.partition(".")[0] for name in modules} - {_CORE, "builtins", "abc", "torch"}
    modules |= {type(layer).__module__ for layer in network.modules()}
    digest = hashlib.blake2b(repr(plugin).encode(), digest_size=16)
    for path in sorted({path for package in own for path in _sources(package)}):
        digest.update(path.read_bytes())
    for name in sorted(modules):
        package, module = name.partition(".")[0], sys.modules.get(name)
        if package == _CORE and module is not None and module.__file__ is not None:
            digest.update(Path(module.__file__).read_bytes())
        elif package not in own:
            digest.update(f"{package} {getattr(sys.modules.get(package), '__version__', '')}".encode())
    return digest.hexdigest()


_CORE = __name__.partition(".")[0]


def _sources(package: str) -> list[Path]:
    """The source files of a package or of a module that stands alone."""
    module = sys.modules.get(package)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    file = getattr(module, "__file__", None)
    found = [path for folder in folders for path in folder.rglob("*.py")]
    return found or ([Path(file)] if file is not None else [])
