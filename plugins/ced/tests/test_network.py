import copy
import functools

import pytest
import torch
from audiotag_ced.backbone import CED

from audiotag import create_backbone, finetune
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.export.folder import write_exported
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.plugin import (
    Model,
    OptionError,
    Tagger,
    change_classes,
    get_host,
    load_published,
    numbered_labels,
    torch_generator,
)

OPTIONS = {"depth": 2}
SHORT = {"depth": 2, "target_length": 100}
"""Pieces of a second."""


def noise(seconds=1.0, batch=2):
    return 0.1 * torch.randn(batch, round(16_000 * seconds), generator=torch_generator("noise"))


@functools.cache
def made(**options):
    network = create_backbone("ced", 5, **options).eval()
    with torch.no_grad():  # fresh parameters are so small that sounds hardly differ
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel() if "pos_embed" not in name else 100
                parameter.normal_(0, fan_in**-0.5, generator=torch_generator(name))
    return network


@pytest.fixture
def backbone():
    return copy.deepcopy(made(**OPTIONS))


@pytest.mark.parametrize(
    ("size", "parameters"), [("tiny", 5_503_183), ("mini", 9_696_655), ("small", 21_622_543), ("base", 85_711_759)]
)
def test_sizes_have_the_published_numbers_of_parameters(size, parameters):
    with torch.device("meta"):
        network = CED(527, size=size)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    (spec,) = (one for one in get_host().backbones.values() if one.name == f"ced-{size}")
    assert (spec.embedding_dim, spec.options["size"]) == (network.embedding_dim, size)
    assert spec.figures["parameters (M)"] == round(parameters / 1e6, 1)


def test_steps_of_the_contract(backbone):
    waveform = noise()
    with torch.inference_mode():
        features = backbone.forward_features(waveform)
        logits = backbone(waveform)
        assert features.shape == (2, 1, 4, 6, 192)
        assert backbone.frames(features).shape == (2, 6, 192)
        assert backbone.frame_rate == 6.25
        torch.testing.assert_close(backbone.frames(features).mean(1), backbone.embed(waveform))
        assert backbone.frame_logits(features).shape == (2, 6, 5)
        torch.testing.assert_close(backbone.forward_head(backbone.head_input(features).clone()), logits)
        torch.testing.assert_close(backbone.forward_head(backbone.embed(waveform)), logits)
        torch.testing.assert_close(backbone.outputlayer(backbone.embed(waveform)), logits, rtol=1e-4, atol=1e-5)
        assert (logits[0] - logits[1]).abs().max() > 1e-4


def test_a_clip_does_not_depend_on_its_neighbours(backbone):
    quiet, loud = 1e-5 * noise(batch=1), 300 * noise(batch=1)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(torch.cat([quiet, loud]))[:1], backbone(quiet), rtol=1e-4, atol=1e-4)


def test_pieces_of_long_sound_are_scored_one_by_one():
    network = made(**SHORT)
    spectrogram = network.front_end(noise(2.5))
    assert spectrogram.shape[2] == 251
    bands = torch.nn.functional.pad(network.init_bn(spectrogram), (0, 49))
    plain = copy.deepcopy(network)
    plain.init_bn = torch.nn.Identity()
    with torch.inference_mode():
        features = network.forward_spectrogram(spectrogram)
        scores = [torch.sigmoid(plain.forward_head(plain.head_input(plain.forward_spectrogram(piece))))
                  for piece in bands.split(100, dim=2)]  # fmt: skip
        assert features.shape == (2, 3, 4, 6, 192)
        assert network.intermediates(noise(2.5))["blocks.1"].shape == (2, 3, 24, 192)
        found = torch.sigmoid(network.forward_head(network.head_input(features)))
        torch.testing.assert_close(found, torch.stack(scores).mean(0))
        loudest = copy.deepcopy(network)
        loudest.join = "maximum"
        found = torch.sigmoid(loudest.forward_head(loudest.head_input(features)))
        torch.testing.assert_close(found, torch.stack(scores).amax(0))


def test_logits_are_finite_however_sure_the_network_is():
    network = made(**SHORT)
    with torch.no_grad():
        head = copy.deepcopy(network)
        head.outputlayer[1].bias.fill_(-300.0)
        assert torch.isfinite(head(noise(2.0))).all()
        assert head(noise(2.0)).max() < -200


def test_frames_of_later_pieces_come_when_they_sound():
    """A piece of 100 frames has six columns, which cover 96 of them."""
    network = made(**SHORT)
    middles = torch.arange(6) * 16.0 + 8
    features = (torch.arange(8)[:, None] * 100 + middles)[None, :, None, :, None].expand(1, 8, 4, 6, 192)
    found = network.frames(features)[0, :, 0]
    assert len(found) == 6 + 700 // 16
    wanted = torch.arange(len(found)) * 16.0 + 8
    assert (found - wanted).abs().max() <= 12
    assert torch.equal(found[:6], wanted[:6])


@pytest.mark.parametrize("seconds", [0.001, 0.1, 0.15, 3.0, 10.12, 12.0])
def test_any_length_is_taken(backbone, seconds):
    with torch.inference_mode():
        assert torch.isfinite(backbone(noise(seconds))).all()


def test_every_parameter_learns(backbone):
    backbone.train()
    backbone(noise(2.0)).square().sum().backward()
    assert not [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    decayed = [id(one) for group in backbone.parameter_groups() if group.decayed for one in group.parameters]
    assert id(backbone.time_pos_embed) not in decayed and id(backbone.outputlayer[1].weight) in decayed


@pytest.mark.parametrize(("columns", "kept"), [(63, True), (80, True), (40, False)])
def test_position_tables_of_another_length_are_fitted(columns, kept):
    network = create_backbone("ced", 5, **OPTIONS)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    table = torch.arange(columns, dtype=torch.float32).expand(1, 192, 1, columns)
    load_published(network, {**state, "time_pos_embed": table})
    found = network.time_pos_embed[0, 0, 0]
    if kept:
        assert found.tolist() == list(range(63))
    else:
        expected = torch.nn.functional.interpolate(table, (1, 63), mode="bilinear", align_corners=False)[0, 0, 0]
        assert torch.equal(found, expected)


def test_a_pretrained_file_has_no_head(backbone):
    body = {key: value for key, value in backbone.state_dict().items() if not key.startswith("outputlayer.")}
    report = load_published(create_backbone("ced", 3, **OPTIONS), body)
    assert set(report.fresh) == set(backbone.head_keys())


def test_known_classes_keep_their_scores(backbone):
    model = Model(backbone, get_host().backbone("ced"), OPTIONS, numbered_labels(5), "test")
    with torch.no_grad():
        backbone.outputlayer[0].weight.fill_(1.5)
    order = [4, 0]
    with torch.inference_mode():
        before = backbone(noise())
        change_classes(model, type(model.labels)([model.labels[index] for index in order]))
        torch.testing.assert_close(backbone.eval()(noise()), before[:, order], rtol=1e-4, atol=1e-5)
    assert backbone.num_classes == 2
    backbone.reset_head(7)
    assert backbone(noise()).shape == (2, 7)


def test_a_checkpoint_of_ours_gives_the_network_back(backbone, tmp_path):
    save_checkpoint(
        tmp_path / "model", Model(backbone, get_host().backbone("ced"), OPTIONS, numbered_labels(5), "test")
    )
    again = load_checkpoint(tmp_path / "model").backbone.eval()
    with torch.inference_mode():
        assert torch.equal(again(noise()), backbone(noise()))


@pytest.mark.parametrize("join", ["probabilities", "logits"])
def test_windows_of_very_long_sound_are_joined_as_pieces_are(join, tmp_path):
    options = {"depth": 1, "join": join}
    model = Model(copy.deepcopy(made(**options)), get_host().backbone("ced"), options, numbered_labels(5), "test")
    with torch.no_grad():
        model.backbone.outputlayer[1].weight.mul_(5)
    sound = noise(70.0, 1) * torch.linspace(0, 3, 70 * 16_000)
    with torch.inference_mode():
        logits = model.backbone(sound.reshape(7, 160_000))
    expected = torch.sigmoid(logits.mean(0) if join == "logits" else torch.special.logit(torch.sigmoid(logits).mean(0)))
    for engine in (model, OnnxEngine(write_exported(model, tmp_path))):
        found = Tagger(engine).scores(sound, 16_000)[0]
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)


def test_frame_embeddings_have_times(backbone):
    tagger = Tagger(Model(backbone, get_host().backbone("ced"), OPTIONS, numbered_labels(5), "test"))
    frames, times = tagger.embed(noise(12.0), 16_000, kind="frame")
    assert frames.shape == (2, 75, 192)
    assert times[:2].tolist() == [0.08, 0.24]
    assert times[-1] < 12


def test_fine_tuning(low_and_high, tmp_path, backbone):
    trained = Model(backbone, get_host().backbone("ced"), OPTIONS, numbered_labels(5), "trained")
    save_checkpoint(tmp_path / "trained", trained)
    result = finetune(
        tmp_path / "trained",
        low_and_high,
        output=tmp_path / "run",
        val_fraction=0.25,
        epochs=1,
        batch_size=3,
        workers=0,
        device="cpu",
    )
    assert (result.settings.final_lr, result.settings.mixup_alpha) == (0.1, 0.5)  # of the family's own recipe
    assert load_checkpoint(tmp_path / "run" / "best").backbone.num_classes == 2


@pytest.mark.parametrize(
    "options",
    [{"size": "huge"}, {"join": "sum"}, {"depth": 0}, {"target_length": 8}, {"drop_path": 1.0}, {"norm_momentum": 0.0}],
)
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(OptionError) as error:
        create_backbone("ced", 2, **options)
    assert error.value.fix
