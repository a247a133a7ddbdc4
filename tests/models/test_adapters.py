"""Low-rank adapters: what they compute, what learns, and what a checkpoint keeps of them."""

import copy

import pytest
import torch
from torch import nn

from audiotag.errors import OptionError
from audiotag.models.adapters import LowRankLinear, add_adapters, linear_layers, merge_adapters
from audiotag.models.create import create_backbone

CED = {"depth": 2, "target_length": 64}
EQUIAV = {"depth": 2, "width": 16, "heads": 2, "target_length": 64, "num_mel_bins": 32, "projection_dim": 8}


@pytest.fixture(
    params=[("ced", CED), ("equiav", EQUIAV), ("equiav", {**EQUIAV, "mode": "multimodal", "picture_size": 32})]
)
def network(request):
    family, options = request.param
    return create_backbone(family, 3, **options).eval()


def given(network, batch=2):
    generator = torch.Generator().manual_seed(0)
    inputs = {"waveform": torch.randn(batch, 10_240, generator=generator) * 0.1}
    if "video" in network.inputs:
        inputs["video"] = torch.randn(batch, *network.video_shape, generator=generator)
    return inputs


def trained(network, rank=4, alpha=8.0):
    """The network with adapters that add something."""
    add_adapters(network, rank, alpha)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, LowRankLinear):
            module.adapter_up.data = torch.randn(module.adapter_up.shape, generator=generator) * 0.1
    return network


def test_a_layer_adds_its_product():
    linear = nn.Linear(5, 3)
    layer = LowRankLinear(linear, 2, 6.0)
    x = torch.randn(4, 5)
    assert torch.equal(layer(x), linear(x))  # it begins at zero
    layer.adapter_up.data.normal_()
    expected = linear(x) + 3 * x @ layer.adapter_down.T @ layer.adapter_up.T
    torch.testing.assert_close(layer(x), expected)
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias", "adapter_down", "adapter_up"}


def test_gradients_are_those_of_the_product():
    layer = LowRankLinear(nn.Linear(4, 3).double().requires_grad_(False), 2, 5.0)
    layer.adapter_up.data.normal_()
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)

    def of(down, up, sound):
        return torch.func.functional_call(layer, {"adapter_down": down, "adapter_up": up}, (sound,))

    assert torch.autograd.gradcheck(of, (layer.adapter_down, layer.adapter_up, x))
    layer(x).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is None


def test_adapters_begin_as_the_network_was_and_alone_learn_with_the_head(network):
    inputs = given(network)
    with torch.inference_mode():
        before = network(**inputs)
    add_adapters(network, 4, 4.0)
    with torch.inference_mode():
        assert torch.equal(network(**inputs), before)
    network(**inputs).square().sum().backward()
    learning = {name for name, one in network.named_parameters() if one.grad is not None}
    head = {f"{network.head_name}.{name}" for name, _ in network.head_module().named_parameters()}
    ends = [f"{name}.adapter_{part}" for name in network.adapter_layers for part in ("down", "up")]
    assert len(network.adapter_layers) == 8 * len(network.inputs)  # four in each of two blocks
    assert learning == head | set(ends)


def test_merged_it_computes_the_same(network):
    plain = copy.deepcopy(network)
    trained(network)
    inputs = given(network)
    with torch.inference_mode():
        apart = network(**inputs)
        merge_adapters(network)
        assert (network(**inputs) - apart).abs().max() < 1e-5
        assert (plain(**inputs) - apart).abs().max() > 1e-3
    assert network.state_dict().keys() == plain.state_dict().keys()


def test_the_same_seed_gives_the_same_adapters(network):
    again = copy.deepcopy(network)
    add_adapters(network, 2, 2.0, seed=3)
    add_adapters(again, 2, 2.0, seed=3)
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_who_takes_none_is_refused():
    with pytest.raises(OptionError, match="transformers") as error:
        add_adapters(create_backbone("mn", 2, width_mult=0.1), 8, 8.0)
    assert "--freeze-backbone" in error.value.fix
    with pytest.raises(OptionError, match="larger than"):
        add_adapters(create_backbone("equiav", 2, **EQUIAV), 17, 8.0)


def test_linear_layers_are_named_from_the_network():
    network = nn.ModuleDict({"a": nn.Sequential(nn.Linear(1, 1), nn.ReLU()), "b": nn.Linear(1, 1)})
    assert linear_layers(network, "a") == ("a.0",)
