import copy

import pytest
import torch
from torch import nn

from audiotag.models.acceleration import batch_norm_affine, fold_batch_norm
from audiotag.models.backbone import Backbone
from audiotag.seeding import scoped_torch_rng, torch_generator


class Convolutional(Backbone):
    """Batch norms in every place: after a convolution, with and without bias, after a pause, first, and in the head."""

    sample_rate = 8000
    embedding_dim = 12
    frame_rate = 50.0
    head_name = "head"

    def __init__(self, num_classes=5):
        super().__init__()
        self.front_end = None
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8, eps=1e-3),
            nn.ReLU(),
            nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8, affine=False)),
            nn.Conv2d(8, 12, 1),
            nn.ReLU(),
            nn.BatchNorm2d(12),
            nn.Conv2d(12, 12, 1),
            nn.BatchNorm2d(12, track_running_stats=False),
        )
        self.num_classes = num_classes
        self.head = self.make_head(num_classes)

    def forward_spectrogram(self, spectrogram, video=None):
        return self.features(spectrogram[:, None])

    def pool(self, features):
        return features.mean((2, 3))

    def frames(self, features):
        return features.mean(2).transpose(1, 2)

    def head_input(self, features):
        return features

    def forward_head(self, head_input):
        return self.head(head_input).mean((2, 3))

    def make_head(self, num_classes, labels=None):
        return nn.Sequential(nn.Conv2d(12, num_classes, 1, bias=False), nn.BatchNorm2d(num_classes))


def spectrogram(batch=3):
    return torch.randn(batch, 16, 40, generator=torch_generator("spectrogram"))


@pytest.fixture
def backbone():
    """A network whose running statistics differ from fresh ones."""
    with scoped_torch_rng(0):
        network = Convolutional()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.3, 3.0)
                if module.affine:
                    nn.init.normal_(module.weight, 1.0, 0.5)
                    nn.init.normal_(module.bias)
    return network


def logits(network, features):
    return network.forward_head(network.head_input(network.forward_spectrogram(features)))


def test_the_copy_gives_the_same_numbers(backbone):
    fast = backbone.accelerated()
    backbone.eval()
    torch.testing.assert_close(logits(fast, spectrogram()), logits(backbone, spectrogram()), rtol=1e-4, atol=1e-5)
    ours, theirs = (network.frames(network.forward_spectrogram(spectrogram())) for network in (fast, backbone))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_original_is_left_as_it_was(backbone):
    before = copy.deepcopy(backbone.state_dict())
    fast = backbone.accelerated()
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.zero_()
    after = backbone.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert backbone.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_the_copy_is_for_tagging(backbone):
    fast = backbone.accelerated()
    assert type(fast) is type(backbone)
    assert not any(module.training for module in fast.modules())
    assert not any(parameter.requires_grad for parameter in fast.parameters())


def test_norms_right_after_a_convolution_are_gone_and_others_stay(backbone):
    features = backbone.accelerated().features
    assert isinstance(features[1], nn.Identity)
    assert isinstance(features[3][1], nn.Identity)
    assert isinstance(features[6], nn.BatchNorm2d)  # an activation stands between
    assert isinstance(features[8], nn.BatchNorm2d)  # it has no running statistics


def test_convolutions_take_the_channels_last_layout(backbone):
    features = backbone.accelerated().forward_spectrogram(spectrogram())
    assert features.is_contiguous(memory_format=torch.channels_last)
    assert not features.is_contiguous()


def test_the_head_keeps_its_entries_and_can_be_replaced(backbone):
    fast = backbone.accelerated()
    assert fast.head_keys() == backbone.head_keys()
    fast.reset_head(9)
    assert logits(fast.eval(), spectrogram()).shape == (3, 9)


def test_a_second_copy_of_a_copy_is_the_same(backbone):
    fast = backbone.accelerated()
    torch.testing.assert_close(logits(fast.accelerated(), spectrogram()), logits(fast, spectrogram()))


def test_a_norm_without_running_statistics_is_no_fixed_function():
    with pytest.raises(ValueError, match="running statistics"):
        batch_norm_affine(nn.BatchNorm2d(4, track_running_stats=False))


def test_folding_keeps_a_bias():
    with scoped_torch_rng(1):
        convolution, norm = nn.Conv2d(2, 4, 3, bias=True), nn.BatchNorm2d(4).eval()
        nn.init.normal_(norm.running_mean)
        nn.init.normal_(norm.bias)
        picture = torch.randn(1, 2, 6, 6)
    expected = norm(convolution(picture))
    fold_batch_norm(convolution, norm)
    torch.testing.assert_close(convolution(picture), expected)
    assert convolution.bias.requires_grad
