import pytest
import torch
from torch import nn

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.errors import OptionError
from audiotag.models.backbone import Backbone
from audiotag.models.complexity import measure_complexity


class Frames(FrontEnd):
    """Ten frames a second of eight numbers each."""

    sample_rate = 1000
    frame_rate = 10.0
    bands = 8

    def forward(self, waveform, generator=None):
        return waveform.reshape(len(waveform), -1, 100)[..., :8].transpose(1, 2)


class Network(Backbone):
    """Runs *body* over (batch, 1, 8, frames), or over frames (batch, frames, 8) where *sequence*."""

    sample_rate = 1000
    frame_rate = 10.0

    def __init__(self, body, channels, sequence=False):
        super().__init__()
        self.front_end = Frames()
        self.body = body
        self.sequence = sequence
        self.embedding_dim = channels
        self.num_classes = 3
        self.classifier = self.make_head(3)

    def forward_spectrogram(self, spectrogram, video=None):
        return self.body(spectrogram.transpose(1, 2) if self.sequence else spectrogram[:, None])

    def pool(self, features):
        return features.mean(1) if self.sequence else features.mean((2, 3))

    def frames(self, features):
        return features

    def make_head(self, num_classes, labels=None):
        return nn.Linear(self.embedding_dim, num_classes)


class Block(nn.Module):
    """1 × 1 to 16 channels and back, with or without an addition, in slices or not."""

    def __init__(self, keeps_input, sliceable):
        super().__init__()
        self.keeps_input = keeps_input
        self.sliceable = sliceable
        self.expand = nn.Conv2d(4, 16, 1, bias=False)
        self.filter = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.project = nn.Conv2d(16, 4, 1, bias=False)

    def forward(self, features):
        result = self.project(torch.relu_(self.filter(torch.relu_(self.expand(features)))))
        return result + features if self.keeps_input else result


class Attention(nn.Module):
    """One head of self-attention."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, tokens):
        query, key, value = self.qkv(tokens)[:, None].chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(query, key, value)[:, 0]


class Mixed(nn.Module):
    """A convolution whose kernel is computed from the clip."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Linear(1, 4 * 9, bias=False)

    def forward(self, features):
        kernel = self.kernel(features.mean((2, 3))).view(4, 1, 3, 3)
        return nn.functional.conv2d(features, kernel, padding=1)


HEAD_MACS = 4 * 3
POSITIONS = 8 * 20  # two seconds


def test_convolutions_and_linear_layers_are_counted():
    body = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    found = measure_complexity(Network(body, 4), seconds=2.0)
    assert found.macs == 4 * 9 * (4 * 10) + HEAD_MACS
    assert found.head_parameters == 4 * 3 + 3
    assert found.parameters == 4 * 9 + 4 + 2 * 4 + found.head_parameters
    assert found.running_statistics == 8
    assert found.peak_memory == 2 * (POSITIONS + 4 * 4 * 10)


def test_grouped_and_transposed_convolutions_are_counted():
    body = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ConvTranspose2d(4, 4, 2, 2))
    macs = measure_complexity(Network(body, 4), seconds=2.0).macs
    assert macs == POSITIONS * (4 + 4 * 9 + 4 * 4 * 4) + HEAD_MACS


def test_layers_written_as_functions_are_counted():
    found = measure_complexity(Network(Mixed(), 4), seconds=2.0)
    assert found.macs == 4 * 9 + POSITIONS * 4 * 9 + HEAD_MACS
    assert found.peak_memory == 2 * (POSITIONS + 4 * POSITIONS)  # a computed kernel is no feature map


def test_the_matrix_products_of_attention_are_counted():
    found = measure_complexity(Network(Attention(), 8, sequence=True), seconds=2.0)
    tokens = 20
    assert found.macs == tokens * 8 * 24 + 2 * tokens * tokens * 8 + 8 * 3
    assert found.peak_memory == 2 * (tokens * tokens + 2 * tokens * 8)


def test_a_fused_transformer_layer_is_counted():
    layer = nn.TransformerEncoderLayer(8, 1, 16, batch_first=True)
    tokens = 20
    expected = tokens * (8 * 24 + 8 * 8 + 2 * 8 * 16) + 2 * tokens * tokens * 8 + 8 * 3
    assert measure_complexity(Network(layer, 8, sequence=True), seconds=2.0).macs == expected
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    ("keeps_input", "peak", "sliced"),
    [
        # Worst moment: the filter, from 16 channels to 16; in slices 4 in, 4 out and an eighth of 32.
        (False, 32, 12),
        # The input's 4 channels wait meanwhile; in slices the input is there anyway.
        (True, 36, 12),
    ],
)
def test_peak_memory_of_an_inverted_residual(keeps_input, peak, sliced):
    stem = nn.Conv2d(1, 4, 1)
    found = measure_complexity(Network(nn.Sequential(stem, Block(keeps_input, True)), 4), seconds=2.0)
    assert found.peak_memory == 2 * POSITIONS * peak
    assert found.sliced_peak_memory == 2 * POSITIONS * sliced


def test_an_input_that_a_layer_uses_anyway_does_not_wait_beside_it():
    class Residual(nn.Conv2d):
        keeps_input = True

        def forward(self, features):
            return super().forward(features) + features

    body = nn.Sequential(nn.Conv2d(1, 4, 1), Residual(4, 4, 1))
    assert measure_complexity(Network(body, 4), seconds=2.0).peak_memory == 2 * POSITIONS * 8


def test_a_block_that_needs_all_channels_at_once_gains_nothing():
    body = nn.Sequential(nn.Conv2d(1, 4, 1), Block(True, False))
    found = measure_complexity(Network(body, 4), seconds=2.0)
    assert found.sliced_peak_memory == found.peak_memory == 2 * POSITIONS * 36


def test_cost_grows_with_the_clip():
    network = Network(nn.Conv2d(1, 4, 1), 4)
    short, long = (measure_complexity(network, seconds).macs for seconds in (1.0, 3.0))
    assert long - HEAD_MACS == 3 * (short - HEAD_MACS)


def test_the_network_is_left_as_it_was():
    network = Network(nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)), 4)
    network.body[1].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    measure_complexity(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network.training
    assert not network.body[1].training
    assert not network.body._forward_hooks


def test_figures_as_plain_types():
    found = measure_complexity(Network(nn.Conv2d(1, 4, 1), 4)).to_dict()
    assert list(found) == [
        "seconds",
        "parameters",
        "head_parameters",
        "running_statistics",
        "macs",
        "peak_memory",
        "sliced_peak_memory",
    ]
    assert all(type(value) in (int, float) for value in found.values())


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_clip_without_length_is_refused(seconds):
    with pytest.raises(OptionError):
        measure_complexity(Network(nn.Conv2d(1, 4, 1), 4), seconds)
