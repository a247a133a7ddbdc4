"""Checks of every descriptor."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

from audiotag.errors import LabelError
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.labels import known_labels
from audiotag.models.create import create_backbone
from audiotag.specs import BackboneSpec, CommandSpec, DatasetSpec, MetricSpec, RecipeSpec, SourceSpec, WriterSpec
from audiotag.testing.check import CheckFailedError, check, refused, require
from audiotag.testing.subjects import Subject
from audiotag.training.recipes import load_recipe

_LONGEST_SUMMARY = 120


def _is_published(spec: Any) -> bool:
    if isinstance(spec, BackboneSpec):
        return spec.weights is not None
    return isinstance(spec, DatasetSpec) and bool(spec.licence)


@check("descriptor", cheap=True)
def the_summary_is_one_line(subject: Subject) -> None:
    """There is a summary for lists, of one line."""
    summary = subject.spec.summary
    require(bool(summary.strip()), "the summary is empty; say in a line what it is")
    require("\n" not in summary, "the summary has several lines")
    require(len(summary) <= _LONGEST_SUMMARY, f"the summary has {len(summary)} characters, more than a line of a list")


@check("descriptor", cheap=True)
def the_descriptor_is_frozen(subject: Subject) -> None:
    """It cannot be changed after it is made, the mappings in it neither."""
    spec = subject.spec
    settable = "its attributes can be set; derive from nothing, use the classes of audiotag.plugin"
    with refused(dataclasses.FrozenInstanceError, settable):
        spec.name = spec.name
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        require(not isinstance(value, dict | list | set), f"{field.name} is a {type(value).__name__}; give a tuple")


@check("descriptor", cheap=True, applies=lambda spec: not isinstance(spec, RecipeSpec))
def the_factory_exists(subject: Subject) -> None:
    """What the descriptor names (the implementation, a reader of weights) can be imported and called."""
    require(callable(subject.factory), f"{subject.spec.factory!r} is not callable")
    if isinstance(subject.spec, BackboneSpec) and subject.spec.reader is not None:
        get_host().resolve(subject.spec, subject.spec.reader)  # says itself what is wrong


@check("descriptor", cheap=True, applies=lambda spec: not isinstance(spec, RecipeSpec | CommandSpec))
def the_factory_takes_the_options(subject: Subject) -> None:
    """The factory takes the descriptor's options, with values of these types, and needs nothing that nobody gives."""
    given: dict[str, Any] = dict(subject.options)
    if isinstance(subject.spec, BackboneSpec):
        given = {**subject.spec.options, **given, "num_classes": 2}
    if subject.kind == "store":
        given |= {"capacity": 1, "num_classes": 2, "seed": 0}
    if not isinstance(subject.spec, DatasetSpec | MetricSpec | SourceSpec | WriterSpec):
        check_options(subject.spec, subject.factory, given)
    positional = [given.pop(name) for name in ("capacity", "num_classes") if subject.kind == "store"]
    if subject.kind == "schedule":
        given |= {"epochs": 1, "warmup": 0.0, **subject.spec.shape}
    elif subject.kind == "optimiser":
        positional = ["groups"]
    elif subject.kind == "metric":
        positional = ["scored"] if subject.spec.task == "events" else ["targets", "scores", "known"]
    elif subject.kind == "writer":
        positional = ["settings", "file"][: 2 if subject.spec.magic else 1]
    elif subject.kind == "source":
        positional = ["place", "settings"]
    elif subject.kind == "output":
        positional = ["settings"]
    signature = inspect.signature(subject.factory)
    try:
        # Of an output only its user knows the address.
        (signature.bind_partial if subject.kind == "output" else signature.bind)(*positional, **given)
    except TypeError as error:
        raise CheckFailedError(f"{subject.spec.factory!r} cannot be called as the host does: {error}") from error


@check("descriptor", cheap=True, applies=_is_published)
def published_things_name_their_source(subject: Subject) -> None:
    """Weights come with a citation and licences, published data with a licence, a citation and a page."""
    spec = subject.spec
    if isinstance(spec, BackboneSpec) and spec.weights is not None:
        require(bool(spec.citation), "weights without a citation; say whose they are")
        require(bool(spec.licence) and bool(spec.weights.licence), "a licence is empty; write 'unknown' where it is")
    else:
        require(bool(spec.homepage), "a published data set without a homepage, where people get it")


@check("descriptor", cheap=True, applies=lambda spec: isinstance(spec, BackboneSpec))
def the_family_exists(subject: Subject) -> None:
    """A backbone's family is registered, without weights, and with the same factory."""
    spec = subject.spec
    family = get_host().backbone(spec.family)
    require(family.weights is None, f"the family {spec.family!r} has weights; register the fresh network by that name")
    require(
        family.factory == spec.factory,
        f"the family {spec.family!r} is made by {family.factory!r}, this one by {spec.factory!r}",
    )


@check("descriptor", cheap=True, applies=lambda spec: isinstance(spec, BackboneSpec) and spec.recipe is not None)
def the_recipe_suits_any_set(subject: Subject) -> None:
    """The family's own recipe can be read, and leaves open what hangs on the data and on the network's options."""
    recipe = load_recipe(subject.spec.recipe)
    fixed = sorted({"loss", "seconds", "sampler", "metric", "freeze_backbone"} & set(recipe.settings))
    require(not fixed, f"the recipe {recipe.name!r} sets {', '.join(fixed)}, which hangs on the data")
    require(not recipe.options, f"the recipe {recipe.name!r} sets options; state them in the descriptors")


@check("descriptor", cheap=True, applies=lambda spec: isinstance(spec, BackboneSpec) and spec.labels is not None)
def the_labels_fit(subject: Subject) -> None:
    """The class list that a backbone names can be read and has as many classes as the head."""
    spec = subject.spec
    try:
        labels = known_labels(spec.labels)
    except LabelError as error:
        raise CheckFailedError(f"the class list {spec.labels!r} cannot be read: {error}") from error
    require(len(labels) == spec.num_classes, f"{spec.labels!r} has {len(labels)} classes, the head {spec.num_classes}")


@check("descriptor", cheap=True, applies=lambda spec: isinstance(spec, BackboneSpec) and spec.weights is not None)
def the_published_network_can_be_made(subject: Subject) -> None:
    """A network with the options of a published model has the stated sizes (no weights are loaded)."""
    spec = subject.spec
    wanted = spec.num_classes or 2
    dim, rate, held = _facts(subject, wanted)
    stated = spec.embedding_dim
    require(stated in (None, dim), f"embedding_dim is {dim}, and the descriptor says {stated}")
    require(rate == spec.sample_rate, f"sample_rate is {rate} Hz")
    for name, classes in held.items():
        require(classes is not None, f"class_rows names {name!r}, which is not in the state dict")
        require(classes == wanted, f"{name} holds {classes} classes, not {wanted}")


_Facts = tuple[int, int, dict[str, int | None]]
_known: dict[tuple[Any, str, int], _Facts] = {}


def _facts(subject: Subject, classes: int) -> _Facts:
    """Of the published network: size of embeddings, rate, and entry of its head → how many classes that holds.

    Several files of one network cost as much as one.
    """
    key = (subject.factory, repr(sorted(subject.spec.options.items())), classes)
    if key not in _known:
        network = create_backbone(subject.spec, classes)
        state = network.state_dict()
        held = {
            name: state[name].numel() // -math.prod(rows.shape) if name in state else None
            for name, rows in network.class_rows().items()
        }
        _known[key] = network.embedding_dim, network.sample_rate, held
    return _known[key]
