"""Checks of backbones: heads for other classes, and checkpoints."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from audiotag.labels import Label, LabelSet
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.heads import change_classes
from audiotag.seeding import scoped_torch_rng
from audiotag.testing.check import check, require
from audiotag.testing.networks import CLASSES, inputs, model_of, ready, require_close, require_shape, settled
from audiotag.testing.subjects import Subject


@check("backbone")
def the_head_can_be_made_anew(subject: Subject) -> None:
    """`reset_head` to 1, 2 and 11 classes: logits of that size, a trainable head, and nothing else touched."""
    network, given = ready(subject, 2)
    for classes in (1, 2, 11):
        head = set(network.head_keys())
        body = {name: tensor.clone() for name, tensor in network.state_dict().items() if name not in head}
        network.reset_head(classes)
        require(network.num_classes == classes, f"num_classes is {network.num_classes} after reset_head({classes})")
        after = network.state_dict()
        changed = [name for name, tensor in body.items() if name not in after or not torch.equal(after[name], tensor)]
        require(not changed, f"reset_head changes {changed[:3]}, which is not in the head ({network.head_name})")
        unknown = sorted(set(after) - set(body) - set(network.head_keys()))
        require(not unknown, f"reset_head makes {unknown[:3]}, which is not in the head ({network.head_name})")
        require(all(parameter.requires_grad for parameter in network.head_parameters()), "the new head is frozen")
        with torch.inference_mode():
            require_shape(network.eval()(**given), (2, classes), f"the logits of {classes} classes")


@check("backbone")
def the_seed_decides_a_new_head(subject: Subject) -> None:
    """`reset_head` draws from torch's global generator: one seed, one head."""
    network = settled(subject)
    states = []
    for seed in (1, 1, 2):
        with scoped_torch_rng("head", seed):
            network.reset_head(4)
        states.append({name: network.state_dict()[name].clone() for name in network.head_keys()})
    same = all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    require(same, "two heads made from one seed differ")


@check("backbone")
def the_head_is_what_head_name_names(subject: Subject) -> None:
    """Changing its parameters changes logits and no embedding; training it alone is possible."""
    network, given = ready(subject, 2)
    parameters = list(network.head_parameters())
    require(bool(parameters), f"the module {network.head_name!r} has no parameters")
    inside = {id(parameter) for parameter in parameters}
    with torch.no_grad():
        logits, embedding = network(**given), network.embed(**given)
        for parameter in parameters:
            parameter.add_(0.5)
        require(not torch.allclose(network(**given), logits), "the logits do not depend on the head's parameters")
        require(torch.equal(network.embed(**given), embedding), "the clip embedding depends on the head's parameters")
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in inside)
    network(**given).sum().backward()
    require(any(parameter.grad is not None for parameter in parameters), "a head trained alone gets no gradient")


@check("backbone")
def classes_keep_their_rows(subject: Subject) -> None:
    """With `class_rows`, found out or stated, classes keep their logits in another order and among new ones."""
    network, given = ready(subject, 2)
    rows = network.class_rows()
    state = network.state_dict()
    head = set(network.head_keys())
    require(bool(rows), "class_rows names no entry")
    for name, where in rows.items():
        require(name in head, f"class_rows names {name!r}, which is not in the head")
        view = state[name].reshape(where.shape)
        require(
            view.shape[where.axis] == CLASSES,
            f"class_rows views {name} as {tuple(view.shape)}, whose axis {where.axis} does not run over the "
            f"{CLASSES} classes",
        )
    model = model_of(subject, network)
    order = [CLASSES - 1, 0, 2]
    with torch.inference_mode():
        before = network(**given)
    change_classes(model, LabelSet([model.labels[index] for index in order]))
    with torch.inference_mode():
        require_close(network.eval()(**given), before[:, order], "logits of classes that were put in another order")
    wider = LabelSet([*_others(2), *model.labels])
    change_classes(model, wider)
    with torch.inference_mode():
        require_close(network.eval()(**given)[:, 2:], before[:, order], "logits of classes that others were added to")


def _others(count: int) -> LabelSet:
    return LabelSet([Label(f"new-{index}", f"New {index}") for index in range(count)])


@check("backbone")
def the_head_may_know_its_classes(subject: Subject) -> None:
    """`reset_head` takes the classes' labels beside their number, and makes the same entries of the same shapes."""
    network = settled(subject)
    network.reset_head(4)
    shapes = {name: network.state_dict()[name].shape for name in network.head_keys()}
    network.reset_head(4, _others(4))
    require(network.num_classes == 4, f"num_classes is {network.num_classes} after reset_head(4, labels)")
    found = {name: network.state_dict()[name].shape for name in network.head_keys()}
    require(found == shapes, "with labels the head has other entries than without")


@check("backbone")
def a_checkpoint_gives_the_network_back(subject: Subject) -> None:
    """Saved and loaded, the network has the same entries, plain state and numbers, bit by bit."""
    network = settled(subject)
    network.train()
    network.on_epoch_start(1, 4)  # what a schedule of the family's own has moved must be kept as well
    network.eval()
    given = inputs(subject, network, 2)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "model", model_of(subject, network))
        again = load_checkpoint(Path(folder) / "model").backbone
    require(again.extra_state() == network.extra_state(), "extra_state differs after load_extra_state")
    for name, tensor in network.state_dict().items():
        require(torch.equal(again.state_dict()[name], tensor), f"{name} differs after loading")
    with torch.inference_mode():
        require(torch.equal(again(**given), network(**given)), "the loaded network gives other numbers")
        require(torch.equal(again.embed(**given), network.embed(**given)), "the loaded network embeds differently")
