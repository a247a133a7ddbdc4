import pytest
import torch
from audiotag_mobilenet_baseline.dymn import annealed_temperature
from audiotag_mobilenet_baseline.dynamic import DynamicConv2d, DynamicRelu
from torch import nn

from audiotag import create_backbone
from audiotag.plugin import scoped_torch_rng, torch_generator

SMALL = {"num_classes": 3, "width_mult": 0.1}


def draw(*shape):
    return torch.randn(*shape, generator=torch_generator(*shape))


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 8), (5, 2, 8), (3, 2, 8)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_each_clip_is_convolved_with_its_own_mixture(kernel, stride, groups, memory_format):
    with scoped_torch_rng(0):
        layer = DynamicConv2d(5, 8, 8, kernel, stride=stride, groups=groups, temperature=0.7)
        nn.init.normal_(layer.residuals[0].weight)
    features, context = draw(3, 8, 10, 12).contiguous(memory_format=memory_format), draw(3, 5)
    shape = (8, 8 // groups, kernel, kernel)
    expected = []
    for clip, vector in zip(features, context, strict=True):
        logits = layer.residuals[0].weight @ vector + layer.residuals[0].bias
        mixture = torch.softmax(logits / 0.7, dim=0)
        mixed = sum(share * stored.view(shape) for share, stored in zip(mixture, layer.weight[0, 0], strict=True))
        expected.append(nn.functional.conv2d(clip[None], mixed, None, stride, kernel // 2, groups=groups))
    torch.testing.assert_close(layer(features, context), torch.cat(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer(features[1:2], context[1:2]), expected[1], rtol=1e-4, atol=1e-5)


def test_a_folded_norm_acts_as_before():
    with scoped_torch_rng(0):
        layer = DynamicConv2d(5, 4, 6, 1, temperature=1.0)
        norm = nn.BatchNorm2d(6).eval()
        nn.init.normal_(norm.running_mean)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    features, context = draw(2, 4, 3, 5), draw(2, 5)
    expected = norm(layer(features, context))
    layer.fold(norm)
    torch.testing.assert_close(layer(features, context), expected)
    torch.testing.assert_close(layer(features[:1], context[:1]), expected[:1])


def test_dynamic_relu_starts_near_relu_and_takes_the_larger_line():
    layer = DynamicRelu(5, 4)
    features, context = draw(2, 4, 3, 5), draw(2, 5)
    nn.init.zeros_(layer.coef_net[0].weight)
    nn.init.zeros_(layer.coef_net[0].bias)
    torch.testing.assert_close(layer(features, context), torch.relu(features))
    nn.init.constant_(layer.coef_net[0].bias, 20.0)  # every coefficient at its upper end
    torch.testing.assert_close(layer(features, context), torch.maximum(2 * features + 0.5, features + 0.5))


def test_temperature_by_the_published_formula():
    # 30 − e until it meets 1 + 0.02·29 − 0.02·e, which ends at 1.
    found = {epoch: annealed_temperature(epoch, 30.0, 1.0, 1.0, 0.02) for epoch in (0, 1, 10, 28, 29, 50, 200)}
    assert found == pytest.approx({0: 30, 1: 29, 10: 20, 28: 2, 29: 1, 50: 1, 200: 1})
    assert annealed_temperature(29, 30.0, 0.5, 1.0, 0.02) == pytest.approx(1.0)
    assert annealed_temperature(35, 30.0, 0.5, 1.0, 0.02) == pytest.approx(0.88)


def test_training_anew_lowers_the_temperature_from_epoch_to_epoch():
    network = create_backbone("dymn", **SMALL)
    seen = []
    for epoch in range(40):
        network.on_epoch_start(epoch, 40)
        seen.append(network.temperature)
    assert seen[:3] == [30.0, 29.0, 28.0]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 1.0
    assert {module.temperature for module in network.modules() if isinstance(module, DynamicConv2d)} == {1.0}


def test_a_published_temperature_stays():
    network = create_backbone("dymn04_as")
    network.on_epoch_start(0, 10)
    assert network.temperature == 1.0


def test_annealing_can_be_turned_off():
    network = create_backbone("dymn", **SMALL, temperature=5.0, anneal_temperature=False)
    network.on_epoch_start(3, 10)
    assert network.temperature == 5.0


def test_training_goes_on_at_the_temperature_where_it_stood():
    network = create_backbone("dymn", **SMALL)
    network.on_epoch_start(12, 40)
    state = network.extra_state()
    assert state == {"temperature": 18.0}
    resumed = create_backbone("dymn", **SMALL)
    resumed.load_extra_state(state)
    assert resumed.temperature == 18.0
    resumed.on_epoch_start(13, 40)
    assert resumed.temperature == 17.0
    # Another training that starts from there does not heat it up again.
    resumed.on_epoch_start(0, 40)
    assert resumed.temperature == 17.0


def test_the_temperature_changes_what_is_computed():
    network = create_backbone("dymn", **SMALL).eval()
    for module in network.modules():
        if isinstance(module, DynamicConv2d):
            nn.init.constant_(module.residuals[0].bias, 0.0)
            module.residuals[0].bias.data[0] = 3.0
    waveform = 0.1 * draw(1, 32_000)
    with torch.inference_mode():
        hot = network.forward_features(waveform)
        network.set_temperature(1.0)
        cold = network.forward_features(waveform)
    assert (cold - hot).abs().max() > 0.1 * hot.abs().max()


def test_an_even_mixture_at_a_high_temperature():
    layer = DynamicConv2d(5, 2, 2, 1, temperature=1e6)
    features, context = draw(2, 2, 3, 3), 10 * draw(2, 5)
    mean = layer.weight[0, 0].mean(0).view(2, 2, 1, 1)
    torch.testing.assert_close(layer(features, context), nn.functional.conv2d(features, mean), rtol=1e-3, atol=1e-4)
