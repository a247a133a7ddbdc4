import pickle
from argparse import Namespace

import pytest
import torch
from safetensors.torch import save_file

from audiotag.errors import CheckpointError
from audiotag.models.published import load_published, published_classes, read_state


@pytest.fixture
def network(tiny):
    torch.manual_seed(0)
    return tiny.TinyBackbone(5)


@pytest.fixture
def other(tiny):
    """Another network of the same shape, whose state serves as the published one."""
    backbone = tiny.TinyBackbone(5)
    with torch.no_grad():
        for value in backbone.state_dict().values():
            value.copy_(torch.arange(value.numel()).reshape(value.shape))
    return backbone


def same(first, second):
    second = second.state_dict()
    return all(torch.equal(value, second[key]) for key, value in first.state_dict().items())


def test_a_plain_state_dict_loads_completely(network, other):
    report = load_published(network, other.state_dict())
    assert same(network, other)
    assert set(report.loaded) == set(network.state_dict())
    assert not (report.unused or report.missing or report.replaced or report.converted or report.prefixes)
    assert (report.file_classes, report.classes) == (5, 5)


@pytest.mark.parametrize("prefix", ["module.", "__M__.", "module.__M__.", "__M__.module.", "_orig_mod."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
def test_prefixes_and_wrappers_come_off(network, other, tmp_path, prefix, wrapper):
    state = {prefix + key: value for key, value in other.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "file.pt")
    report = load_published(network, tmp_path / "file.pt")
    assert same(network, other)
    assert "".join(report.prefixes) == prefix
    assert report.not_tensors == (("epoch",) if wrapper else ())


@pytest.mark.parametrize("prefix", ["model.", "net.", "backbone.", "module.model.", "model.module."])
def test_the_network_may_be_a_member_of_what_was_trained(network, other, prefix):
    state = {prefix + key: value for key, value in other.state_dict().items()}
    report = load_published(network, {"loss.weight": torch.ones(2), **state})
    assert same(network, other)
    assert "".join(report.prefixes) == prefix and report.unused == ("loss.weight",)


def test_wrappers_nest(other, tmp_path):
    torch.save({"state_dict": {"model": other.state_dict()}}, tmp_path / "file.pth")
    assert set(read_state(tmp_path / "file.pth")) == set(other.state_dict())


def test_a_prefix_that_few_keys_carry_stays(network, other):
    state = {**other.state_dict(), "module.extra": torch.zeros(1)}
    assert load_published(network, state).unused == ("module.extra",)


def test_a_prefix_that_two_entries_share_a_name_without_is_refused(network, other):
    state = {"module." + key: value for key, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"'conv\.weight' occurs twice"):
        load_published(network, {**state, "conv.weight": state["module.conv.weight"]})


def test_safetensors_load_too(network, other, tmp_path):
    save_file(other.state_dict(), tmp_path / "model.safetensors")
    load_published(network, tmp_path / "model.safetensors")
    assert same(network, other)


def test_renamed_entries_are_reported_as_converted(network, other):
    state = {key.replace("conv.", "stem_conv."): value for key, value in other.state_dict().items()}
    report = load_published(network, state)
    assert same(network, other)
    assert report.converted == ("conv.weight",)


def test_entries_without_a_place_are_reported_and_declared_ones_apart(network, other):
    state = {**other.state_dict(), "second_branch.weight": torch.zeros(2), "front_end_constants.mel": torch.zeros(2)}
    report = load_published(network, state)
    assert report.unused == ("second_branch.weight",)
    assert report.ignored == ("front_end_constants.mel",)
    assert "1 unused: second_branch.weight" in str(report)
    assert report.to_dict()["unused"] == ["second_branch.weight"]


def test_a_missing_entry_is_an_error_and_nothing_is_loaded(network, other):
    state = other.state_dict()
    del state["norm.running_mean"]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"lacks 1 entries.*norm\.running_mean"):
        load_published(network, state)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_older_files_lack_the_counters_of_batch_norm(network, other):
    state = other.state_dict()
    del state["norm.num_batches_tracked"]
    assert load_published(network, state).missing == ("norm.num_batches_tracked",)


def test_another_shape_is_named_on_both_sides(network, other):
    state = other.state_dict()
    state["conv.weight"] = torch.zeros(4, 16, 3)
    with pytest.raises(CheckpointError, match=r"conv\.weight is \(4, 16, 3\) there and \(4, 8, 3\) here"):
        load_published(network, state)


def test_another_class_count_is_named_on_both_sides_with_the_way_out(tiny, other):
    with pytest.raises(CheckpointError, match=r'the file has 5 classes and the network 7.*head="replace"') as caught:
        load_published(tiny.TinyBackbone(7), other.state_dict())
    assert "num_classes=5" in str(caught.value)


def test_replacing_the_head_keeps_what_does_not_depend_on_the_classes(tiny):
    theirs, ours = tiny.TinyBackbone(5, head_type="mlp"), tiny.TinyBackbone(7, head_type="mlp")
    fresh = ours.classifier[2].weight.clone()
    report = load_published(ours, theirs.state_dict(), head="replace")
    assert report.replaced == ("classifier.2.weight", "classifier.2.bias")
    assert torch.equal(ours.classifier[2].weight, fresh)
    assert torch.equal(ours.classifier[0].weight, theirs.classifier[0].weight)
    assert "head starts fresh (5 classes there, 7 here)" in str(report)


def test_replace_loads_a_head_that_fits(network, other):
    assert load_published(network, other.state_dict(), head="replace").replaced == ()
    assert same(network, other)


def test_replace_does_not_excuse_the_rest(tiny, other):
    state = other.state_dict()
    del state["conv.weight"]
    with pytest.raises(CheckpointError, match=r"conv\.weight"):
        load_published(tiny.TinyBackbone(7), state, head="replace")


def test_a_file_without_head_can_start_with_a_fresh_one(network, other):
    state = {key: value for key, value in other.state_dict().items() if not key.startswith("classifier")}
    with pytest.raises(CheckpointError, match=r'Only the head does not.*head="replace"'):
        load_published(network, state)
    report = load_published(network, state, head="replace")
    assert report.replaced == ("classifier.0.weight", "classifier.0.bias")
    assert report.file_classes is None


def test_half_a_layer_of_the_head_is_not_mixed_with_a_fresh_half(network, other):
    state = other.state_dict()
    del state["classifier.0.bias"]
    report = load_published(network, state, head="replace")
    assert report.replaced == ("classifier.0.weight", "classifier.0.bias")


def test_another_family_is_said_so(network):
    with pytest.raises(CheckpointError, match=r"checkpoint of another family"):
        load_published(network, {"transformer.weight": torch.zeros(2)})


ABSURD = [
    ("conv.weight", float("nan")),
    ("conv.weight", float("inf")),
    ("norm.running_mean", -float("inf")),
    ("conv.weight", 1e30),
    ("conv.weight", -1e20),
    ("norm.running_var", -0.5),
    ("norm.running_var", 1e30),
]


@pytest.mark.parametrize(("key", "value"), ABSURD)
@pytest.mark.parametrize("half", [False, True])
def test_numbers_that_cannot_be_weights_are_refused(network, other, key, value, half):
    state = other.state_dict()
    if half:
        state = {key: value.bfloat16() if value.is_floating_point() else value for key, value in state.items()}
    state[key].view(-1)[-1] = value
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"1 entries hold numbers that cannot be weights.*: {key}"):
        load_published(network, state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda value: value.to(torch.int8), "int8"),
        (lambda value: value.to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (lambda value: value.to(torch.complex64), "complex64"),
        (lambda value: value > 0, "bool"),
        (lambda value: value.to_sparse(), "sparse_coo"),
    ],
)
def test_entries_of_another_type_are_no_weights(network, other, change, kind):
    state = other.state_dict()
    state["conv.weight"] = change(state["conv.weight"])
    with pytest.raises(CheckpointError, match=rf"1 entries are of a type that cannot be weights: conv.weight .{kind}"):
        load_published(network, state)


def test_large_statistics_of_odd_networks_are_weights(network, other):
    state = other.state_dict()
    state["norm.running_var"][0] = 1e20  # a fresh Inception V3 has such
    state["norm.running_mean"][0] = -1e10
    load_published(network, state)


def test_half_precision_files_fill_a_float_network(network, other):
    load_published(network, {key: value.half() for key, value in other.state_dict().items()})
    assert network.conv.weight.dtype == torch.float32
    assert same(network, other)


class Network(torch.nn.Linear):
    """A class that a pickled module needs at unpickling."""


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (torch.nn.Sequential(torch.nn.Linear(1, 1)), r"torch\.nn\.modules"),
        ({"args": Namespace(lr=1), "model": {"a": torch.zeros(1)}}, r"argparse\.Namespace\)"),
    ],
    ids=["module", "namespace"],
)
@pytest.mark.parametrize("archive", [True, False])
def test_pickled_objects_are_refused(tmp_path, content, named, archive):
    torch.save(content, tmp_path / "file.pt", _use_new_zipfile_serialization=archive)
    with pytest.raises(CheckpointError, match=rf"is refused.*pickled Python objects \({named}.*save model.state_dict"):
        read_state(tmp_path / "file.pt")


def test_a_plain_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("unpickled!",))

    (tmp_path / "file.pt").write_bytes(pickle.dumps({"weight": Evil()}, protocol=2))
    with pytest.raises(CheckpointError, match=r"is refused.*\((builtins\.)?print\)"):
        read_state(tmp_path / "file.pt")


@pytest.mark.parametrize("name", ["file.pt", "file.safetensors"])
@pytest.mark.parametrize("content", [b"", b"these are words\n", b"<!DOCTYPE html><html></html>"])
def test_other_files_are_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_state(tmp_path / name)


def test_a_cut_file_is_refused(tmp_path, other):
    torch.save(other.state_dict(), tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.pt.*may be cut short"):
        read_state(tmp_path / "cut.pt")


def test_a_missing_file_and_a_folder_are_said_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"does not exist"):
        read_state(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"is a folder"):
        read_state(tmp_path)


def test_a_file_without_tensors_lists_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "config": {"lr": 1.0}}, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=r"no state dict.*epoch, config"):
        read_state(tmp_path / "file.pt")


@pytest.mark.parametrize("head_type", ["linear", "mlp"])
def test_the_class_count_can_be_read_before_the_network_has_it(tiny, head_type):
    state = tiny.TinyBackbone(13, head_type=head_type).state_dict()
    assert published_classes(tiny.TinyBackbone(2, head_type=head_type), {"model": state}) == 13
    del state["conv.weight"]
    headless = {"conv.weight": torch.zeros(4, 8, 3)}
    assert published_classes(tiny.TinyBackbone(2), headless) is None


@pytest.mark.parametrize(("content", "what"), [(b"", "is empty"), (b"hello there", "is not a PyTorch checkpoint")])
def test_another_kind_of_file_is_said_to_be_one(tmp_path, content, what):
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=what):
        read_state(tmp_path / "file.pt")
