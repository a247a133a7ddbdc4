"""Descriptors, and plugins as a whole, that break one rule each."""

import pytest

from audiotag.testing.running import plan_checks, run_case

NETWORK = (
    'BackboneSpec(name="odd", family="odd", factory="tiny:TinyBackbone", summary="Odd", sample_rate=8000, '
    "clip_seconds=1.0, min_seconds=0.1{more})"
)
WEIGHTS = 'weights=Weights(urls=("https://example.org/odd.pt",), filename="odd.pt", licence="MIT")'
PUBLISHED = (
    'BackboneSpec(name="odd_home", family="odd", factory="tiny:TinyBackbone", summary="Odd", sample_rate=8000, '
    f'clip_seconds=1.0, min_seconds=0.1, licence="MIT", {WEIGHTS}{{more}})'
)
WRONG_CLASSES = PUBLISHED.format(more=', labels="home", num_classes=20')
LOSS = 'LossSpec(name={name}, factory="{factory}", summary={summary})'

BROKEN = {
    "the_summary_is_one_line": (
        "losses",
        LOSS.format(name="'odd'", factory="audiotag.training.losses:FocalLoss", summary="''"),
        "the summary is empty",
    ),
    "the_factory_exists": (
        "losses",
        LOSS.format(name="'odd'", factory="audiotag.training.losses:NoSuchLoss", summary="'Odd'"),
        "cannot be imported",
    ),
    "the_factory_takes_the_options": (
        "losses",
        LOSS.format(name="'odd'", factory="tiny:TinyBackbone", summary="'Odd'"),
        "cannot be called as the host does: missing a required argument: 'num_classes'",
    ),
    "published_things_name_their_source": (
        "backbones",
        f"{NETWORK.format(more='')}, {PUBLISHED.format(more='')}",
        "weights without a citation",
    ),
    "the_family_exists": ("backbones", NETWORK.format(more="").replace('family="odd"', 'family="gone"'), "'gone'"),
    "the_labels_fit": (
        "backbones",
        f"{NETWORK.format(more='')}, {WRONG_CLASSES}",
        "'home' has 21 classes, the head 20",
    ),
    "the_published_network_can_be_made": (
        "backbones",
        f"{NETWORK.format(more='')}, {PUBLISHED.format(more=', embedding_dim=99')}",
        "embedding_dim is 4, and the descriptor says 99",
    ),
    "the_host_has_no_complaint": (
        "losses",
        LOSS.format(name="'bce'", factory="audiotag.training.losses:FocalLoss", summary="'Odd'"),
        "the loss 'bce' is registered by audiotag",
    ),
    "it_brings_something": ("losses", "", "no hook returns anything"),
    "hooks_give_the_same_twice": (
        "losses",
        LOSS.format(name="f'odd{next(counter)}'", factory="audiotag.training.losses:FocalLoss", summary="'Odd'"),
        "other descriptors at its second call",
    ),
}


def test_a_live_output_takes_the_settings(install_plugin):
    specs = [f'OutputSpec(name="{name}", factory="odd_lamps:{name}", summary="Odd")' for name in ("Lamp", "nothing")]
    install_plugin(
        "audiotag-lamps",
        "from audiotag.plugin import OutputSpec, hookimpl\n"
        "def Lamp(settings, *, address: str): ...\n"
        "def nothing(): ...\n"
        f"@hookimpl\ndef register_outputs():\n    return [{', '.join(specs)}]\n".replace(
            "odd_lamps", "{__name__}"
        ).replace('factory="', 'factory=f"'),
        entry="lamps",
    )
    results = {
        case.subject.name: run_case(case, {})
        for case in plan_checks("audiotag-lamps")
        if case.check.name == "the_factory_takes_the_options"
    }
    assert results["Lamp"].status == "passed"
    assert "too many positional arguments" in results["nothing"].message


@pytest.mark.parametrize("check", BROKEN)
def test_what_breaks_a_rule_fails_its_check(install_plugin, tiny, check):
    kind, specs, message = BROKEN[check]
    install_plugin(
        "audiotag-odd",
        "import itertools\nfrom audiotag.plugin import BackboneSpec, LossSpec, Weights, hookimpl\n"
        f"counter = itertools.count()\n\n@hookimpl\ndef register_{kind}():\n    return [{specs}]\n",
        entry="odd",
    )
    results = [run_case(case, {}) for case in plan_checks("audiotag-odd") if case.check.name == check]
    assert "failed" in {result.status for result in results}, results
    assert message in " ".join(result.message for result in results)
