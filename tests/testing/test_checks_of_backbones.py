"""Each check notices the network that breaks its rule, and says how."""

import re

import pytest

from audiotag.testing import run_checks

HEAD = """
import random
import torch
from torch import nn
from audiotag.models.backbone import ClassRows
from audiotag.audio.frontends.families import kaldi_log_mel
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from tiny import TinyBackbone, TinyFrontEnd

class RestlessFrontEnd(TinyFrontEnd):
    def forward(self, waveform, generator=None):
        return super().forward(waveform) + (torch.rand(1) if self.training else 0)

class Odd(TinyBackbone):
"""

EXPORTED = """
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.front_end = LogMelFrontEnd(kaldi_log_mel(8000, 8))
"""

BROKEN = {
    "the_factory_makes_what_the_descriptor_says": ("    sample_rate = 16000", "16000 Hz, and the descriptor says 8000"),
    "the_seed_decides_the_parameters": (
        """
    def __init__(self, num_classes):
        torch.manual_seed(0)
        super().__init__(num_classes)
        """,
        "every seed gives the same parameters",
    ),
    "the_front_end_gives_the_declared_spectrogram": (
        """
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.front_end.frame_rate = 50
        """,
        "not 50 to the second",
    ),
    "the_front_end_varies_by_its_generator_only": (
        """
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.front_end = RestlessFrontEnd()
        """,
        "varies in training mode without a generator",
    ),
    "outputs_have_the_declared_shapes": (
        "    def pool(self, features): return features.mean(-1).squeeze()",
        "the logits of 1 clips has the shape \\(5,\\), not \\(1, 5\\)",
    ),
    "different_clips_score_differently": (
        "    def forward_head(self, head_input): return super().forward_head(torch.zeros_like(head_input))",
        "logits of different clips are the same",
    ),
    "the_four_steps_make_the_forward_pass": (
        "    def embed(self, waveform=None, video=None): return 2 * super().embed(waveform, video)",
        "embed, and pool of the feature map: they differ",
    ),
    "the_head_takes_what_was_kept": (
        "    def head_input(self, features): return features\n"
        "    def forward_head(self, head_input): return self.classifier(head_input.mean(-1))",
        "IndexError|RuntimeError",
    ),
    "frames_come_at_the_declared_rate": ("    frame_rate = 25.0", "not 25 to the second"),
    "one_clip_scores_as_in_a_batch": (
        "    def pool(self, features): return features.mean(-1) - features.mean((0, -1))",
        "alone and in a batch: they differ",
    ),
    "eval_mode_is_deterministic": (
        "    def pool(self, features): return features.mean(-1) + torch.rand(1)",
        "two passes over one input differ",
    ),
    "gradients_reach_every_parameter": (
        "    def forward_spectrogram(self, spectrogram, video=None):\n"
        "        return super().forward_spectrogram(spectrogram).detach()",
        "no gradient reaches \\['conv.weight'",
    ),
    "the_fast_copy_agrees": (
        """
    def accelerated(self):
        import copy
        fast = copy.deepcopy(self).eval()
        with torch.no_grad():
            fast.conv.weight.mul_(0.5)
        return fast
        """,
        "logits of the fast copy: they differ",
    ),
    "it_leaves_no_trace": (
        "    def pool(self, features):\n        print('pooling')\n        return features.mean(-1)",
        "it printed 'pooling",
    ),
    "it_stays_on_its_device": (
        "    def reset_head(self, num_classes, labels=None):\n"
        "        self.classifier = nn.Sequential(nn.Linear(4, num_classes))\n"
        "        self.num_classes = num_classes",
        "on the CPU, whatever the device",
    ),
    "it_takes_odd_lengths": (
        "    def forward_spectrogram(self, spectrogram, video=None):\n"
        "        return super().forward_spectrogram(spectrogram.reshape(len(spectrogram), 8, 100).clone())",
        "RuntimeError",
    ),
    "it_takes_sound_longer_than_its_clip": (
        "    def pool(self, features):\n        assert features.shape[-1] <= 100, 'too long'\n"
        "        return features.mean(-1)",
        "too long",
    ),
    "it_hears_loud_and_faint_sound": (
        "    def forward_spectrogram(self, spectrogram, video=None):\n"
        "        return super().forward_spectrogram(spectrogram) / (spectrogram.amax((1, 2), keepdim=True) > -5)",
        "not finite",
    ),
    "it_takes_silence": (
        "    def forward_spectrogram(self, spectrogram, video=None):\n"
        "        return super().forward_spectrogram(spectrogram / spectrogram.std((1, 2), keepdim=True))",
        "not finite",
    ),
    "it_takes_a_single_sample": (
        "    def pool(self, features):\n        assert features.shape[-1] > 11\n        return features.mean(-1)",
        "AssertionError",
    ),
    "louder_sound_does_not_leak_between_clips": (
        "    def forward_spectrogram(self, spectrogram, video=None):\n"
        "        return super().forward_spectrogram(spectrogram - spectrogram.max())",
        "normalise each clip by itself",
    ),
    "the_head_can_be_made_anew": (
        "    def reset_head(self, num_classes, labels=None):\n"
        "        super().reset_head(num_classes)\n"
        "        self.conv.reset_parameters()",
        "reset_head changes \\['conv.weight'\\]",
    ),
    "the_seed_decides_a_new_head": (
        "    def reset_head(self, num_classes, labels=None):\n"
        "        super().reset_head(num_classes)\n"
        "        values = __import__('numpy').random.default_rng().random(num_classes)\n"
        "        self.classifier[0].bias.data = torch.from_numpy(values).float()",
        "two heads made from one seed differ",
    ),
    "the_head_is_what_head_name_names": (
        "    head_name = 'norm'",
        "depends on the head's parameters|do not depend",
    ),
    "classes_keep_their_rows": (
        """
    def class_rows(self):
        return {"classifier.0.weight": ClassRows((-1, 5), 0)}
        """,
        "whose axis 0 does not run over the 5 classes",
    ),
    "the_head_may_know_its_classes": (
        "    def reset_head(self, num_classes, labels=None):\n"
        "        super().reset_head(num_classes + (labels is not None))",
        "num_classes is 5 after reset_head\\(4, labels\\)",
    ),
    "frames_are_scored_where_the_head_can": (
        "    def frame_logits(self, features): return super().frame_logits(features)[:, 1:]",
        "the logits of frames has the shape",
    ),
    "maps_on_the_way_have_names": (
        "    intermediate_names = ('norm',)\n"
        "    def forward_spectrogram(self, spectrogram, video=None):\n"
        "        return torch.relu_(self.norm(self.conv(spectrogram)))",
        "the map norm is changed in place",
    ),
    "adapters_merge_into_its_layers": (
        """
    adapter_layers = ("mix",)
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.mix = nn.Linear(4, 4)
    def pool(self, features):
        return nn.functional.linear(features.mean(-1), self.mix.weight, self.mix.bias)
        """,
        "no gradient reaches the adapters of \\['mix'\\]",
    ),
    "each_parameter_is_in_one_group": (
        "    def parameter_groups(self): return super().parameter_groups()[:-1]",
        "classifier.0.weight is in 0 groups",
    ),
    "what_it_can_bear_it_takes": (
        "    augmentations = ('spectrograms',)",
        "augmentations is \\('spectrograms',\\)",
    ),
    "a_checkpoint_gives_the_network_back": (
        """
    def on_epoch_start(self, epoch, epochs):
        self.temperature = 2.0
    def load_extra_state(self, state):
        pass
        """,
        "extra_state differs",
    ),
}


MORE = [
    (
        "gradients_reach_every_parameter",
        """
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.forgotten = nn.Parameter(torch.ones(4))
        """,
        "no gradient reaches ['forgotten']",
    ),
    (
        "gradients_reach_every_parameter",
        """
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.idle = nn.Parameter(torch.ones(4))
    def pool(self, features):
        return features.mean(-1) + 0 * self.idle
        """,
        "the gradient of ['idle'] is zero at every step",
    ),
    (
        "eval_mode_is_deterministic",
        "    def pool(self, features): return nn.functional.dropout(features.mean(-1))",
        "two passes over one input differ",
    ),
    (
        "outputs_have_the_declared_shapes",
        "    def pool(self, features): return features.double().mean(-1)\n"
        "    def forward_head(self, head_input): return super().forward_head(head_input.float())",
        "the embeddings of 3 clips is torch.float64, not float32",
    ),
    (
        "the_head_can_be_made_anew",
        "    def forward_head(self, head_input): return super().forward_head(head_input).squeeze(1)",
        "the logits of 1 classes has the shape (2,), not (2, 1)",
    ),
]


@pytest.mark.parametrize(("check", "source", "message"), MORE)
def test_other_ways_to_break_a_rule(result_of, check, source, message):
    result = result_of("backbone", HEAD + source, check)
    assert result.status == "failed", result
    assert message in result.message


@pytest.mark.parametrize("check", BROKEN)
def test_a_network_that_breaks_a_rule_fails_its_check(result_of, check):
    source, message = BROKEN[check]
    result = result_of("backbone", HEAD + source, check)
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("torch.manual_seed(1)", "seeds torch's global generator"),
        ("random.random()", "Python's global random numbers"),
        ("__import__('numpy').random.seed(1)", "numpy's global random numbers"),
        ("torch.set_default_dtype(torch.float64)", "the default type of floating-point numbers"),
        ("__import__('os').environ.update(ODD='1')", "the environment"),
        ("__import__('os').system('echo from below')", "it printed 'from below"),
    ],
)
def test_traces_are_noticed(result_of, monkeypatch, body, message):
    import torch

    monkeypatch.setenv("ODD", "0")
    source = f"{HEAD}    def __init__(self, num_classes):\n        super().__init__(num_classes)\n        {body}\n"
    try:
        result = result_of("backbone", source, "it_leaves_no_trace")
    finally:
        torch.set_default_dtype(torch.float32)
    assert result.status == "failed"
    assert message in result.message


def test_a_network_that_keeps_the_rules_passes_every_check(install_part):
    install_part("backbone", HEAD + EXPORTED)
    report = run_checks("odd")
    assert [result for result in report.results if result.status == "failed"] == []
    assert report.ok and report.run >= 35


def test_a_front_end_that_is_code_fails_the_export(result_of):
    result = result_of("backbone", HEAD + "    pass", "it_can_be_exported")
    assert "front end is code of its own" in result.message and "not_exported" in result.message


def test_a_descriptor_may_say_why_there_is_no_export(result_of):
    spec = (
        'BackboneSpec(name="odd", family="odd", factory="odd_part:Odd", summary="Odd", sample_rate=8000, '
        'clip_seconds=1.0, min_seconds=0.1, embedding_dim=4, not_exported="it is too odd")'
    )
    result = result_of("backbone", HEAD + "    pass", "it_can_be_exported", spec)
    assert result.status == "skipped" and "it is too odd" in result.message


@pytest.mark.slow
def test_a_network_that_cannot_be_traced_is_captured_and_otherwise_refused(result_of):
    body = "    def pool(self, features): return super().pool(features) * float(features.shape[-1])\n"
    assert result_of("backbone", HEAD + EXPORTED + body, "it_can_be_exported").status == "passed"
    body = "    def pool(self, features): return torch.special.bessel_j0(features).mean(-1)\n"
    result = result_of("backbone", HEAD + EXPORTED + body, "it_can_be_exported")
    assert result.status == "failed"
    assert "traced: " in result.message and "captured: " in result.message


def test_a_factory_of_something_else_is_named(result_of):
    result = result_of(
        "backbone", "class Odd:\n    def __init__(self, num_classes): pass", "eval_mode_is_deterministic"
    )
    assert "returned Odd, not a Backbone" in result.message


def test_mixed_precision_that_goes_wrong_is_noticed(result_of):
    body = (
        "    def pool(self, features):\n"
        "        pooled = features.mean(-1)\n"
        "        return pooled if pooled.dtype == torch.float32 else -pooled\n"
        "    def forward_spectrogram(self, spectrogram, video=None):\n"
        "        features = super().forward_spectrogram(spectrogram)\n"
        "        return features.bfloat16() if torch.is_autocast_enabled('cpu') else features\n"
    )
    result = result_of("backbone", HEAD + body, "it_computes_in_mixed_precision")
    assert "have a cosine of -" in result.message
