import pytest

from audiotag.testing import run_checks

LOSS = """
import torch
from torch.nn import functional
from audiotag.plugin import Loss, PairLoss
from audiotag.training.losses import mean_over_known

class Odd(Loss):
    def forward(self, logits, targets, mask=None):
        losses = functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
        return {expression}
"""
SOUND = "mean_over_known(losses, mask)"

BROKEN_LOSSES = {
    "each_clip_has_a_finite_loss": ("mean_over_known(losses, mask).mean()", "the trainer averages"),
    "a_clip_does_not_depend_on_the_batch": (
        "mean_over_known(losses, mask) - losses.mean()",
        "alone and in a batch",
    ),
    "extremes_stay_finite": (
        "mean_over_known(-(targets * logits.sigmoid().log() + (1 - targets) * (1 - logits.sigmoid()).log()), mask)",
        "inputs of 10000: the loss is",
    ),
    "soft_targets_are_taken": (
        "mean_over_known(losses / ((targets == 0) | (targets == 1)), mask)",
        "mixed targets: the loss is",
    ),
    "right_answers_cost_less": ("-mean_over_known(losses, mask)", "right answers cost"),
    "its_gradient_leads_down": (
        "2 * mean_over_known(losses, mask).detach() - mean_over_known(losses, mask)",
        "a step against the gradient",
    ),
    "unknown_labels_do_not_count": ("losses.mean(1)", "after a change where the mask is False"),
    "half_precision_is_taken": (
        "mean_over_known(losses * logits.dtype.itemsize / 4, mask)",
        "in float32",
    ),
    "it_is_deterministic_and_leaves_its_inputs": (
        "mean_over_known(losses, mask) + logits.mul_(2)[:, 0] * 0",
        "differ|changes its inputs",
    ),
    "the_loss_leaves_no_trace": ("print('lost') or mean_over_known(losses, mask)", "it printed 'lost"),
}


@pytest.mark.parametrize("check", BROKEN_LOSSES)
def test_a_loss_that_breaks_a_rule_fails_its_check(result_of, check):
    expression, message = BROKEN_LOSSES[check]
    result = result_of("loss", LOSS.format(expression=expression), check)
    assert result.status == "failed", result
    assert any(part in result.message for part in message.split("|")), result.message


def test_a_loss_for_another_task_is_noticed(result_of):
    result = result_of("single", LOSS.format(expression=SOUND), "the_loss_is_for_the_declared_task")
    assert "task is 'multilabel', and the descriptor says 'singlelabel'" in result.message


def test_a_parameter_that_a_loss_does_not_use_is_noticed(result_of):
    source = LOSS.format(expression=SOUND) + (
        "    def __init__(self):\n        super().__init__()\n        self.weight = torch.nn.Parameter(torch.ones(1))\n"
    )
    assert "no gradient reaches ['weight']" in result_of("loss", source, "its_parameters_learn").message


def test_a_loss_that_keeps_the_rules_passes(install_part):
    install_part("loss", LOSS.format(expression=SOUND))
    assert run_checks("odd").ok


def test_pairs_must_not_depend_on_their_order(result_of):
    source = """
        import torch
        from audiotag.plugin import PairLoss

        class Odd(PairLoss):
            def forward(self, first, second):
                return (first - second).square().mean(1) * torch.arange(1, len(first) + 1)
    """
    result = result_of("pairs", source, "a_clip_does_not_depend_on_the_batch")
    assert "pairs in another order" in result.message


SAMPLER = """
import numpy as np
from audiotag.plugin import BatchSampler

class Odd(BatchSampler):
    count = 0
    def epoch(self, targets, generator, context):
        self.count += 1
        return {expression}
"""


@pytest.mark.parametrize(
    ("check", "expression", "message"),
    [
        ("an_epoch_is_a_list_of_clips", "generator.permutation(len(targets)).astype(np.int32)", "int32, not int64"),
        ("an_epoch_is_a_list_of_clips", "np.arange(1, len(targets) + 1)", "reach from 1 to 40"),
        ("the_generator_decides_the_epoch", "np.roll(generator.permutation(len(targets)), self.count)", "resumed run"),
        ("it_takes_awkward_sets", "generator.choice(len(targets), 2, replace=False)", "ValueError"),
        ("every_labelled_clip_has_a_chance", "generator.permutation(len(targets) // 2)", "never chosen"),
        (
            "it_takes_the_losses_of_the_epoch_before",
            "generator.permutation(len(targets)) if context.losses is None else np.flatnonzero(context.losses > 9)",
            "an epoch is empty",
        ),
        ("the_sampler_leaves_no_trace", "np.random.permutation(len(targets))", "numpy's global random numbers"),
    ],
)
def test_a_sampler_that_breaks_a_rule_fails_its_check(result_of, check, expression, message):
    result = result_of("sampler", SAMPLER.format(expression=expression), check)
    assert result.status == "failed", result
    assert message in result.message


STORE = """
from audiotag.plugin import Decision, StoragePolicy

class Odd(StoragePolicy):
    name = "odd"
    turn = 0

    def decide(self, example):
        return self.replace(self.any_slot(), example, "drawn", 1.0)

    def victim(self):
        return self.any_slot()
"""

BROKEN_STORES = {
    "its_name_is_the_registered_one": ("    name = 'another'", "name is 'another', registered is 'odd'"),
    "the_books_agree_with_the_decisions": (
        "    def decide(self, example):\n        self.admit(example)\n        return Decision(True, None, 'more', 1.0)",
        "the capacity is 8",
    ),
    "the_seed_decides": (
        "    def decide(self, example):\n"
        "        import random\n"
        "        return self.replace(random.randrange(len(self)), example, 'drawn', 1.0)",
        "decide differently|decides otherwise",
    ),
    "its_state_is_restored": (
        "    def decide(self, example):\n"
        "        self.turn += 1\n"
        "        return self.replace(self.turn % len(self), example, 'its turn', 1.0)",
        "it decides differently from there on",
    ),
    "saving_changes_nothing": (
        "    def extra_state(self):\n        self.draws.uniform()\n        return {}",
        "whose state was taken decides differently",
    ),
    "other_states_are_refused": (
        "    def load_state_dict(self, state):\n        pass",
        "is taken",
    ),
    "it_shrinks_and_grows": (
        "    def resize(self, capacity):\n        return []",
        "8 examples are left after resize(5)",
    ),
    "stored_examples_can_be_taken_out": (
        "    def remove(self, example_id):\n        if example_id in self.index: super().remove(example_id)",
        "is no StoreError",
    ),
    "classes_can_be_added": (
        "    def extend_classes(self, count):\n        pass",
        "num_classes is 5 after two were added",
    ),
    "small_stores_work": (
        "    def __init__(self, capacity, num_classes, **more):\n"
        "        super().__init__(max(1, capacity), num_classes, **more)",
        "capacity 0 stores something",
    ),
    "observations_count_without_an_offer": (
        "    def observe(self, labels, times=1):\n        pass",
        "observed is [0, 0, 0, 0, 0], not [3, 0, 3, 0, 0]",
    ),
    "impossible_examples_are_refused": (
        "    def _check_labels(self, labels, where):\n        pass",
        "is taken|Error",
    ),
    "the_policy_leaves_no_trace": (
        "    def victim(self):\n        return 0\n"
        "    def decide(self, example):\n        print('full')\n        return self.skip('full', 0.0)",
        "it printed 'full",
    ),
}


@pytest.mark.parametrize("check", BROKEN_STORES)
def test_a_storage_policy_that_breaks_a_rule_fails_its_check(result_of, check):
    source, message = BROKEN_STORES[check]
    result = result_of("store", STORE + source + "\n", check)
    assert result.status == "failed", result
    assert any(part in result.message for part in message.split("|")), result.message


def test_a_storage_policy_that_keeps_the_rules_passes(install_part):
    install_part("store", STORE)
    report = run_checks("odd")
    assert [result.message for result in report.results if not result.ok] == []


@pytest.mark.parametrize(
    ("check", "source", "message"),
    [
        ("it_is_a_click_command", "def Odd(): pass", "is a function, not a click.Command"),
        (
            "it_has_help",
            "import click\n\n@click.command('odd')\n@click.option('--size')\ndef Odd(size):\n    'Odd.'",
            "the options --size have no help",
        ),
        ("it_has_help", "import click\n\n@click.command('odd')\ndef Odd():\n    pass", "no docstring"),
    ],
)
def test_a_command_that_breaks_a_rule_fails_its_check(result_of, check, source, message):
    result = result_of("command", source, check)
    assert result.status == "failed"
    assert message in result.message
