"""Checks of backbones: how they are made, the four steps, shapes, times, gradients."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.engines.torch_engine import TorchEngine
from audiotag.errors import MissingExtraError, OptionError
from audiotag.export.folder import write_exported
from audiotag.seeding import scoped_torch_rng, torch_generator
from audiotag.testing.check import CheckFailedError, check, require, skip
from audiotag.testing.networks import (
    BATCH,
    CLASSES,
    fresh,
    front_end_of,
    inputs,
    longest_of,
    model_of,
    ready,
    require_close,
    require_shape,
    seconds_of,
    settled,
    spectrogram_of,
    waveforms,
)
from audiotag.testing.subjects import Subject
from audiotag.testing.traces import check_no_traces


@check("backbone")
def the_factory_makes_what_the_descriptor_says(subject: Subject) -> None:
    """A network on the CPU, in training mode, float32, with the classes, rate, inputs and sizes that are stated."""
    network, spec = fresh(subject, 3), subject.spec
    require(network.training, "the factory gives a network in eval mode; leave it in training mode")
    for name, tensor in network.state_dict().items():
        require(tensor.device.type == "cpu", f"{name} is on {tensor.device}; make networks on the CPU")
    for name, parameter in network.named_parameters():
        require(parameter.dtype == torch.float32, f"the parameter {name} is {parameter.dtype}, not float32")
        require(bool(torch.isfinite(parameter).all()), f"the parameter {name} is not finite")
    require(network.num_classes == 3, f"num_classes is {network.num_classes} for three classes")
    require(
        network.sample_rate == spec.sample_rate,
        f"sample_rate is {network.sample_rate} Hz, and the descriptor says {spec.sample_rate} Hz",
    )
    require(set(network.inputs) <= {"waveform", "video"} and bool(network.inputs), f"inputs is {network.inputs!r}")
    require(
        ("video" in network.inputs) == (network.video_shape is not None),
        f"inputs is {network.inputs} and video_shape {network.video_shape}; state one where there is the other",
    )
    require(network.max_seconds is None or network.max_seconds > 0, f"max_seconds is {network.max_seconds}")
    if not subject.options:
        require(
            network.gives_frame_logits or not spec.frame_scores,
            f"the descriptor says that frames are scored ({spec.frame_scores}), and the network gives no frame_logits",
        )
        require(
            tuple(network.inputs) == tuple(spec.inputs),
            f"inputs is {network.inputs}, and the descriptor says {spec.inputs}",
        )
        require(
            spec.embedding_dim in (None, network.embedding_dim),
            f"embedding_dim is {network.embedding_dim}, and the descriptor says {spec.embedding_dim}",
        )
    if network.front_end is not None:
        require(isinstance(network.front_end, FrontEnd), "front_end is no FrontEnd")
        rate, own = network.front_end.sample_rate, network.sample_rate
        require(rate == own, f"the front end is for {rate} Hz, the network for {own} Hz")


@check("backbone")
def the_seed_decides_the_parameters(subject: Subject) -> None:
    """One seed makes one network; another seed makes another."""
    first = fresh(subject, seed=3)
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    again = fresh(subject, seed=3).state_dict()
    differing = [name for name, tensor in state.items() if not torch.equal(tensor, again[name])]
    require(not differing, f"two networks of one seed differ in {differing[:3]}")
    other = fresh(subject, seed=4)
    require(
        any(not torch.equal(state[name], parameter) for name, parameter in other.named_parameters()),
        "every seed gives the same parameters; draw them from torch's global generator and do not seed it",
    )


@check("backbone")
def the_front_end_gives_the_declared_spectrogram(subject: Subject) -> None:
    """(batch, bands, frames) in float32, with frames at the declared rate, and the input left as it was."""
    network = settled(subject)
    front_end = front_end_of(network)
    counts = {}
    for seconds in (seconds_of(subject, network), seconds_of(subject, network, 2.5)):
        waveform = waveforms(network, 2, seconds)
        kept = waveform.clone()
        with torch.inference_mode():
            spectrogram = front_end(waveform)
        require(torch.equal(waveform, kept), "the front end changes the waveform that it is given")
        counts[seconds] = spectrogram.shape[-1]
        require_shape(spectrogram, (2, front_end.bands, counts[seconds]), "the spectrogram")
    _require_rate(counts, front_end.frame_rate, longest_of(subject, network), "the spectrogram")


@check("backbone")
def the_front_end_varies_by_its_generator_only(subject: Subject) -> None:
    """Without a generator training and eval mode give the same features; with one, its state decides."""
    network = settled(subject)
    front_end = front_end_of(network)
    waveform = waveforms(network, 2, seconds_of(subject, network))
    with torch.inference_mode():
        plain = front_end.eval()(waveform)
        require(torch.equal(front_end.train()(waveform), plain), "it varies in training mode without a generator")
        one = front_end(waveform, torch_generator("front end"))
        two = front_end(waveform, torch_generator("front end"))
        require(torch.equal(one, two), "equal generators give different features; draw from the given one only")
        unvaried = front_end.eval()(waveform, torch_generator("front end"))
        require(torch.equal(unvaried, plain), "it varies in eval mode")


@check("backbone")
def outputs_have_the_declared_shapes(subject: Subject) -> None:
    """Logits (batch, classes), clip embeddings (batch, embedding_dim), frames (batch, frames, dim): finite float32."""
    network = settled(subject)
    for batch in (BATCH, 1):
        given = inputs(subject, network, batch)
        with torch.inference_mode():
            features = network.forward_features(**given)
            require(len(features) == batch, f"the feature map of {batch} clips has {len(features)} rows")
            require_shape(network(**given), (batch, CLASSES), f"the logits of {batch} clips")
            require_shape(network.embed(**given), (batch, network.embedding_dim), f"the embeddings of {batch} clips")
            frames = network.frames(features)
        require(frames.ndim == 3, f"frames gives {frames.ndim} axes, not (batch, frames, dim)")
        require_shape(frames, (batch, *frames.shape[1:]), f"the frame embeddings of {batch} clips")
        require(frames.shape[1] > 0, "frames gives no frame")


@check("backbone")
def different_clips_score_differently(subject: Subject) -> None:
    """Logits, clip embeddings and frame embeddings depend on the input."""
    network, given = ready(subject)
    with torch.inference_mode():
        features = network.forward_features(**given)
        outputs = {"logits": network(**given), "clip embeddings": network.pool(features)}
        outputs["frame embeddings"] = network.frames(features)
    for what, output in outputs.items():
        spread = float((output - output[:1]).abs().max())
        require(spread > 1e-5 * float(output.abs().max()), f"{what} of different clips are the same")


@check("backbone")
def the_four_steps_make_the_forward_pass(subject: Subject) -> None:
    """`forward` is front end, spectrogram, head input and head one after the other; `embed` is `pool` of the map."""
    network, given = ready(subject)
    with torch.inference_mode():
        spectrogram = spectrogram_of(network, given)
        features = network.forward_spectrogram(spectrogram, given.get("video"))
        logits = network.forward_head(network.head_input(features))
        require_close(network(**given), logits, "forward, and its steps one by one")
        require_close(network.embed(**given), network.pool(features), "embed, and pool of the feature map")


@check("backbone")
def the_head_takes_what_was_kept(subject: Subject) -> None:
    """`head_input` can be kept clip by clip and put together again; a clip embedding alone gives logits too."""
    network, given = ready(subject)
    with torch.inference_mode():
        features = network.forward_features(**given)
        expected = network.forward_head(network.head_input(features))
        kept = [row.float().numpy().copy() for row in network.head_input(features)]
        again = torch.stack([torch.from_numpy(row) for row in kept])
        require_close(network.forward_head(again), expected, "logits of the head's kept input")
        logits = network.forward_head(network.pool(features))
    require_shape(logits, (len(again), CLASSES), "logits of clip embeddings")


@check("backbone")
def frames_come_at_the_declared_rate(subject: Subject) -> None:
    """As many frames as `frame_rate` and the length of the sound say, or those of the fixed length."""
    network = settled(subject)
    front_end_of(network)
    rate = float(network.frame_rate)
    require(rate > 0, f"frame_rate is {rate}")
    counts = {}
    usual = seconds_of(subject, network, subject.spec.clip_seconds)
    for seconds in sorted({seconds_of(subject, network), usual}):
        with torch.inference_mode():
            features = network.forward_features(**inputs(subject, network, 1, seconds))
            counts[seconds] = network.frames(features).shape[1]
    _require_rate(counts, rate, longest_of(subject, network), "`frames`")


@check("backbone")
def frames_are_scored_where_the_head_can(subject: Subject) -> None:
    """`frame_logits` is (batch, frames, classes), frame by frame those of `frames`; without it, an OptionError."""
    network, given = ready(subject)
    with torch.inference_mode():
        features = network.forward_features(**given)
        try:
            found = network.frame_logits(features)
        except OptionError:
            require(not network.gives_frame_logits, "gives_frame_logits is true, and frame_logits refuses")
            return
        frames, alone = network.frames(features), network.frame_logits(features[:1])
    require(network.gives_frame_logits, "frame_logits works; say so by gives_frame_logits")
    require_shape(found, (BATCH, frames.shape[1], CLASSES), "the logits of frames")
    require_close(alone, found[:1], "logits of frames of a clip, alone and in a batch")
    require(bool((found[0] != found[1]).any()), "logits of frames of different clips are the same")


@check("backbone")
def maps_on_the_way_have_names(subject: Subject) -> None:
    """`intermediates` gives each map of `intermediate_names`, batch first and as it was made, then ``"features"``."""
    network, given = ready(subject, 2)
    made: dict[str, Tensor] = {}
    for name in network.intermediate_names:
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _, inputs, output, name=name: made.update({name: output.clone()}))
    found = network.intermediates(**given)
    require(list(found)[-1:] == ["features"], f"the last map is {list(found)[-1:]}, not 'features'")
    missed = [name for name in network.intermediate_names if name not in found]
    require(not missed, f"a pass does not reach {missed[:3]}")
    for name, one in found.items():
        require(len(one) == 2, f"the map {name} of 2 clips has {len(one)} rows")
        require(one.requires_grad, f"no gradient goes through the map {name}")
        changed = name in made and not torch.equal(one, made[name])
        require(not changed, f"the map {name} is changed in place by what comes after it; leave it out")
    with torch.inference_mode():
        require_close(found["features"], network.forward_features(**given), "the map 'features', and the feature map")


@check("backbone")
def each_parameter_is_in_one_group(subject: Subject) -> None:
    """`parameter_groups` holds every parameter once, head and body apart, under names of their own."""
    network = settled(subject)
    groups = network.parameter_groups()
    names = [group.name for group in groups]
    require(len(set(names)) == len(names), f"two groups have one name: {names}")
    times = Counter(id(parameter) for group in groups for parameter in group.parameters)
    head = {id(parameter) for parameter in network.head_parameters()}
    for name, parameter in network.named_parameters():
        require(times[id(parameter)] == 1, f"{name} is in {times[id(parameter)]} groups; each must be in exactly one")
    for group in groups:
        require(bool(group.parameters), f"the group {group.name!r} is empty")
        inside = {id(parameter) in head for parameter in group.parameters}
        require(inside == {group.in_head}, f"in_head of the group {group.name!r} is not what its parameters are")


@check("backbone")
def what_it_can_bear_it_takes(subject: Subject) -> None:
    """`augmentations` names ``"waveform"`` and ``"spectrogram"`` only, and what the network has."""
    network = settled(subject)
    bears = set(network.augmentations)
    require(bears <= {"waveform", "spectrogram"}, f"augmentations is {network.augmentations!r}")
    require("waveform" in network.inputs or not bears, "it takes no sound, and bears augmentations of sound")
    require(network.front_end is not None or "spectrogram" not in bears, "it has no spectrogram, and bears it varied")


def _require_rate(counts: dict[float, int], rate: float, longest: float, what: str) -> None:
    """Fail unless the numbers of frames for lengths in seconds fit the *rate*."""
    (short, few), (long, many) = min(counts.items()), max(counts.items())
    told = f"{what}: " + ", ".join(f"{count} frames for {seconds:g} s" for seconds, count in counts.items())
    if few == many and long - short > 1.5 / rate:
        # A fixed length: shorter sound is padded to it.
        fits = many / rate >= long - 1 / rate and many / rate <= longest + max(2 / rate, 0.05 * longest)
        require(fits, f"{told}, whatever the length, and {many / rate:.3g} s at {rate:g} to the second")
        return
    fits = abs(many - few - (long - short) * rate) <= 2 and abs(many - long * rate) <= max(2.0, 0.05 * long * rate)
    require(fits, f"{told}, which is not {rate:g} to the second")


@check("backbone")
def one_clip_scores_as_in_a_batch(subject: Subject) -> None:
    """In eval mode a clip's logits and embedding do not depend on the other clips of the batch."""
    network, given = ready(subject)
    with torch.inference_mode():
        together, embedded = network(**given), network.embed(**given)
        for index in range(BATCH):
            alone = {name: tensor[index : index + 1] for name, tensor in given.items()}
            require_close(
                network(**alone), together[index : index + 1], f"logits of clip {index}, alone and in a batch"
            )
            require_close(network.embed(**alone), embedded[index : index + 1], f"embedding of clip {index}, likewise")


@check("backbone")
def eval_mode_is_deterministic(subject: Subject) -> None:
    """The same input gives the same numbers twice, and leaves parameters, statistics and input as they were."""
    network, given = ready(subject)
    kept = {name: tensor.clone() for name, tensor in given.items()}
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        require(torch.equal(network(**given), network(**given)), "two passes over one input differ")
    require(not any(module.training for module in network.modules()), "a forward pass sets training mode")
    for name, tensor in network.state_dict().items():
        require(torch.equal(tensor, before[name]), f"a forward pass in eval mode changes {name}")
    for name, tensor in given.items():
        require(torch.equal(tensor, kept[name]), f"the forward pass changes the {name} that it is given")


@check("backbone")
def gradients_reach_every_parameter(subject: Subject) -> None:
    """After a few training steps each trainable parameter has had a finite gradient that is not zero."""
    network = fresh(subject).train()
    targets = (torch.arange(BATCH * CLASSES).reshape(BATCH, CLASSES) % 2).float()
    trainable = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    require(bool(trainable), "no parameter is trainable")
    moved: set[str] = set()
    for attempt in range(3):  # stochastic depth may leave a layer out once
        with scoped_torch_rng("gradients", attempt):
            logits = network(**inputs(subject, network, seed=attempt))
            torch.nn.functional.binary_cross_entropy_with_logits(logits, targets).backward()  # type: ignore[no-untyped-call]
        broken = [name for name, one in trainable if one.grad is not None and not one.grad.isfinite().all()]
        require(not broken, f"the gradients of {broken[:5]} are not finite")
        moved |= {name for name, one in trainable if one.grad is not None and one.grad.any()}
        with torch.no_grad():  # what begins at zero lets nothing through to the layers before it
            for _, parameter in trainable:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=-0.01)
    unreached = [name for name, parameter in trainable if parameter.grad is None]
    require(not unreached, f"no gradient reaches {unreached[:5]}; a parameter that is not used should not be one")
    still = [name for name, _ in trainable if name not in moved]
    require(not still, f"the gradient of {still[:5]} is zero at every step; the scores do not depend on it")


@check("backbone")
def the_fast_copy_agrees(subject: Subject) -> None:
    """`accelerated` gives a copy in eval mode with the same numbers up to rounding, and leaves the network alone."""
    network, given = ready(subject)
    with torch.inference_mode():
        expected, embedded = network(**given), network.embed(**given)
        frames = network.frames(network.forward_features(**given))
        training_copy = copy.deepcopy(network).train()
        training_copy.accelerated()
        require(training_copy.training, "accelerated changes the mode of the network itself")
        fast = network.accelerated()
        require(not fast.training, "the fast copy is in training mode")
        require_close(fast(**given), expected, "logits of the fast copy")
        features = fast.forward_features(**given)
        require_close(fast.pool(features), embedded, "embeddings of the fast copy")
        require_close(fast.frames(features), frames, "frames of the fast copy")
        require(torch.equal(network(**given), expected), "accelerated changes the network itself")


@check("backbone")
def it_leaves_no_trace(subject: Subject) -> None:
    """Making and running it prints nothing, seeds nothing and changes no setting of the process."""
    check_no_traces(lambda: subject.factory(**_settings(subject)), draws_from_torch=True)
    network, given = ready(subject, 2)

    def tag() -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(**given)
        return logits

    check_no_traces(tag)
    check_no_traces(lambda: network.train()(**given).sum().backward(), draws_from_torch=True)
    check_no_traces(lambda: network.reset_head(2), draws_from_torch=True)


def _settings(subject: Subject) -> dict[str, object]:
    return {**subject.spec.options, **subject.options, "num_classes": 2}


@check("backbone")
def it_stays_on_its_device(subject: Subject) -> None:
    """Passes and new heads move nothing: parameters, statistics and the head stay on the network's device."""
    network = settled(subject)
    with torch.inference_mode():
        network(**inputs(subject, network, 1))
    moved = [name for name, tensor in network.state_dict().items() if tensor.device.type != "cpu"]
    require(not moved, f"a forward pass moves {moved[:3]}")
    network.to("meta")  # a device that every machine has
    network.reset_head(4)
    moved = [name for name in network.head_keys() if network.state_dict()[name].device.type != "meta"]
    require(not moved, f"reset_head makes {moved[:3]} on the CPU, whatever the device; use that of the old head")


@check("backbone")
def it_computes_on_an_accelerator(subject: Subject) -> None:
    """Moved to a CUDA device it gives the numbers of the CPU up to rounding, on that device."""
    if not torch.cuda.is_available():
        skip("this machine has no CUDA device")
    network, given = ready(subject)
    with torch.inference_mode():
        expected = network(**given)
        found = network.to("cuda")(**{name: tensor.to("cuda") for name, tensor in given.items()})
    require(found.device.type == "cuda", f"logits come back on {found.device}")
    require_close(found.cpu(), expected, "logits on a CUDA device and on the CPU", 1e-2)


@check("backbone")
def it_computes_in_mixed_precision(subject: Subject) -> None:
    """Under bfloat16 autocast the network (behind its front end) has finite logits, and much the same embedding."""
    network, given = ready(subject, 1)
    with torch.inference_mode():
        expected = network.embed(**given)
        spectrogram = spectrogram_of(network, given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = network.forward_spectrogram(spectrogram, given.get("video"))
            logits = network.forward_head(network.head_input(features)).float()
            found = network.pool(features).float()
    require_shape(logits, (1, CLASSES), "the logits in mixed precision")
    # Eight bits of every layer's output add up over the depth of an untrained network, so numbers are not compared.
    alike = float(torch.nn.functional.cosine_similarity(found, expected).min())
    require(alike > 0.9, f"the embeddings in mixed precision and in float32 have a cosine of {alike:.3f}")


@check("backbone")
def it_can_be_exported(subject: Subject) -> None:
    """Its exported folder (ONNX, front end as data) tags as it does without torch, or its descriptor says why not."""
    if subject.spec.not_exported:
        skip(f"its descriptor says that it cannot: {subject.spec.not_exported}")
    network = settled(subject)
    model = model_of(subject, network)
    given = {name: tensor.numpy() for name, tensor in inputs(subject, network).items()}
    with TemporaryDirectory() as folder:
        try:
            write_exported(model, Path(folder))
        except MissingExtraError as lack:
            skip(str(lack))
        except OptionError as error:
            raise CheckFailedError(f"{error} Where it never can, say so in the descriptor: not_exported.") from error
        engine, exported = TorchEngine(model, accelerate=False), OnnxEngine(folder)
        arguments = (given.get("waveform"), given.get("video"))
        for what in ("logits", "embeddings"):
            wanted, found = (getattr(one.forward(*arguments, embed=True), what) for one in (engine, exported))
            require_close(torch.from_numpy(found), torch.from_numpy(wanted), f"{what} of the export")
        wanted, found = (one.frames(*arguments)[0] for one in (engine, exported))
        require_close(torch.from_numpy(found), torch.from_numpy(wanted), "frames of the export")
