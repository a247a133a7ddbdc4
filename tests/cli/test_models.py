import json

import pytest
import torch
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.cli.options import parse_options
from audiotag.errors import AudiotagError, OptionError, UnknownNameError
from audiotag.host import get_host
from audiotag.models import costs


@pytest.fixture
def audiotag(tiny):
    """Run ``audiotag ARGUMENTS…``; foreseen failures are raised as the console script catches them."""

    def run(*arguments):
        result = CliRunner().invoke(main, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def published(tiny, tmp_path):
    path = tmp_path / "tiny_home_source.pt"
    torch.save(tiny.TinyBackbone(21, width=3).state_dict(), path)
    return path


def test_the_list_shows_families_and_models(audiotag):
    output = audiotag("models", "list").stdout
    assert "NAME" in output.splitlines()[0]
    line = next(line for line in output.splitlines() if line.startswith("tiny_home"))
    assert line.split() == ["tiny_home", "tiny", "8", "kHz", "21", "no", "Home", "mAP", "0.5"]
    assert next(line for line in output.splitlines() if line.startswith("tiny ")).split()[-1] == "family"


def test_the_list_narrows_to_a_family_and_to_published_models(audiotag):
    everything = json.loads(audiotag("models", "list", "--json").stdout)
    ours = json.loads(audiotag("models", "list", "--json", "--family", "tiny").stdout)
    published = json.loads(audiotag("models", "list", "--json", "--family", "tiny", "--published").stdout)
    assert {model["name"] for model in ours} == {"tiny", "tiny_home"} <= {model["name"] for model in everything}
    assert [model["name"] for model in published] == ["tiny_home"]
    with pytest.raises(UnknownNameError, match=r"Did you mean 'tiny'"):
        audiotag("models", "list", "--family", "tinny")


def test_info_has_every_fact(audiotag, tmp_path):
    facts = json.loads(audiotag("models", "info", "tiny_home", "--json").stdout)
    assert (facts["plugin"], facts["plugin_version"]) == ("audiotag-tiny", "1.0")
    assert facts["options"] == {"width": 3} and facts["figures"] == {"Home mAP": 0.5}
    assert facts["weights"]["path"] == str(tmp_path / "cache" / "weights" / "tiny_home.pt")
    assert facts["weights"]["downloaded"] is False
    text = audiotag("models", "info", "tiny_home").stdout
    for line in ("name: tiny_home", "sample rate: 8000", "  Home mAP: 0.5", "  licence: MIT", "  downloaded: no",
                 "not exported: its front end is code of its own"):  # fmt: skip
        assert line in text.splitlines()


def test_download_verify_and_path(audiotag, published, tmp_path):
    place = tmp_path / "cache" / "weights" / "tiny_home.pt"
    before = audiotag("models", "path", "tiny_home")
    assert before.stdout.strip() == str(place)
    assert "audiotag models download tiny_home" in before.stderr
    assert audiotag("models", "download", "tiny_home").stdout == f"tiny_home\t{place}\n"
    assert audiotag("models", "path", "tiny_home").stderr == ""
    assert "\tok\t" in audiotag("models", "verify", "tiny_home").stdout
    assert audiotag("models", "verify", "--all").stdout.count("\tok\t") == 1
    assert "yes" in audiotag("models", "list", "--family", "tiny").stdout


def test_a_damaged_file_fails_verification_and_can_be_downloaded_again(audiotag, published, tmp_path):
    audiotag("models", "download", "tiny_home")
    (tmp_path / "cache" / "weights" / "tiny_home.pt").write_bytes(b"rotten")
    for arguments in (("verify", "tiny_home"), ("verify", "--all"), ("download", "tiny_home")):
        result = audiotag("models", *arguments)
        assert result.exit_code == 1
        assert "damaged or another file" in result.stderr and "1 of 1 failed." in result.stderr
    assert audiotag("models", "download", "--refresh", "tiny_home").exit_code == 0
    assert audiotag("models", "verify", "--all").exit_code == 0


def test_one_failed_download_does_not_stop_the_others(audiotag, tmp_path):
    result = audiotag("models", "download", "tiny_home", "tiny_home")
    assert result.exit_code == 1
    assert result.stderr.count("could not be downloaded from any of 1 address(es)") == 2
    assert "2 of 2 failed." in result.stderr


def test_wrong_names_are_errors_before_anything_is_done(audiotag, published, tmp_path):
    with pytest.raises(OptionError, match=r"tiny: it is a family.*--family tiny --published"):
        audiotag("models", "download", "tiny_home", "tiny")
    with pytest.raises(UnknownNameError, match=r"Did you mean"):
        audiotag("models", "verify", "tiny_hom")
    assert not (tmp_path / "cache").exists()
    assert audiotag("models", "verify").exit_code == 2
    assert audiotag("models", "verify", "tiny_home", "--all").exit_code == 2


def test_nothing_to_verify_is_said(audiotag):
    assert "No weights are in" in audiotag("models", "verify", "--all").stdout


def test_complexity_takes_options_and_needs_no_weights(audiotag, tiny):
    small = json.loads(audiotag("models", "complexity", "tiny", "--num-classes", "5", "--json").stdout)
    wide = json.loads(
        audiotag("models", "complexity", "tiny", "--num-classes", "5", "--option", "width=8", "--json").stdout
    )
    expected = sum(parameter.numel() for parameter in tiny.TinyBackbone(5, width=8).parameters())
    assert expected in wide.values()
    assert wide != small
    with pytest.raises(OptionError, match=r"no option 'widht'.*'width'"):
        audiotag("models", "complexity", "tiny_home", "--option", "widht=8")
    text = audiotag("models", "complexity", "tiny_home", "--seconds", "1").stdout
    assert text.splitlines()[0] == "tiny_home"


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=1", 1),
        ("a=-0.5", -0.5),
        ("a=1e-3", 1e-3),
        ("a=true", True),
        ("a=No", False),
        ("a=none", None),
        ("a=mlp", "mlp"),
        ("a='1'", "1"),
        ("a=2,2,2,1", (2, 2, 2, 1)),
        ("a=c,f", ("c", "f")),
        ("a=c,", ("c",)),
        ("a=3,", (3,)),
        ("a=[1, 2]", (1, 2)),
        ("a=x=y", "x=y"),
        ("a=", ""),
    ],
)
def test_option_values_are_what_they_look_like(pair, value):
    parsed = parse_options([pair])["a"]
    assert parsed == value and type(parsed) is type(value)


def test_option_keys_take_hyphens():
    assert parse_options(["head-type=mlp"]) == {"head_type": "mlp"}


@pytest.mark.parametrize("pairs", [["width"], ["=3"], ["1a=3"], ["a=1", "a=2"]])
def test_wrong_options_are_errors(audiotag, pairs):
    with pytest.raises(OptionError):
        parse_options(pairs)
    arguments = [part for pair in pairs for part in ("--option", pair)]
    result = audiotag("models", "complexity", "tiny", "--num-classes", "2", *arguments)
    assert result.exit_code == 2


def test_a_failed_plugin_is_mentioned_once_on_stderr(audiotag, install_plugin):
    install_plugin("audiotag-broken", "raise RuntimeError('torn')", entry="broken")
    first, second = audiotag("models", "list", "--json"), audiotag("models", "list", "--json")
    assert (
        first.stderr.count("Warning: the plugin 'broken' of audiotag-broken 1.0 is left out: RuntimeError: torn") == 1
    )
    json.loads(first.stdout)
    assert second.stderr == "", "once per process"


def test_the_console_script_turns_failures_into_one_message(audiotag, monkeypatch, capsys):
    from audiotag.cli.main import run

    monkeypatch.setattr("sys.argv", ["audiotag", "models", "info", "tiny_hom"])
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("Error: there is no model 'tiny_hom'. Did you mean 'tiny_home'")
    monkeypatch.setenv("AUDIOTAG_TRACEBACK", "1")
    with pytest.raises(AudiotagError):
        run()


def test_names_that_two_plugins_have_are_listed_in_full(install_plugin):
    source = (
        "from audiotag.plugin import BackboneSpec, hookimpl\n@hookimpl\ndef register_backbones():\n"
        '    return [BackboneSpec(name="twice", family="twice", factory="x:y", sample_rate=8000, clip_seconds=1.0,'
        " min_seconds=1.0)]\n"
    )
    for name in ("one", "two"):
        install_plugin(f"audiotag-{name}", source, entry=name)
    text = CliRunner().invoke(main, ["models", "list", "--family", "audiotag-one:twice"]).output
    assert "audiotag-one:twice" in text and "audiotag-two:twice" in text
    listed = json.loads(CliRunner().invoke(main, ["models", "list", "--json"]).output)
    assert {"audiotag-one:twice", "audiotag-two:twice"} <= {one["name"] for one in listed}


def test_info_of_a_run_with_adapters_and_merging_them(audiotag, low_and_high, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = "finetune --backbone ced --option depth=1 --adapter rank=2,alpha=4 --train clips.csv --output run"
    result = audiotag(*command.split(), "--epochs", "1", "--workers", "0", "--batch-size", "3", "--device", "cpu")
    assert "Adapters: rank 2, alpha 4" in result.output
    assert audiotag("models", "info", "run", "--json").exit_code == 0
    shown = audiotag("models", "info", "run").output
    assert "adapters:" in shown and "  rank: 2" in shown and "  alpha: 4" in shown
    assert "rank 2, alpha 4 merged into ced" in audiotag("models", "merge", "run", "--output", "whole").output
    assert "adapters" not in audiotag("models", "info", "whole").output
    with pytest.raises(OptionError, match="no adapters"):
        audiotag("models", "merge", "whole", "--output", "more")


def test_what_models_cost_can_be_compared(audiotag, tmp_path, monkeypatch):
    table = tmp_path / "costs.csv"
    lines = [
        "name,parameters,macs,torch_ms,torch_mb,onnx_ms,onnx_mb,machine",
        "mn04_as,1000000,200000000,30,600,20,50,a",
    ]
    table.write_text("\n".join([*lines, "mn10_as,5000000,900000000,15,700,,,a"]) + "\n")
    monkeypatch.setattr(costs, "TABLE", table)
    costs.known_costs.cache_clear()
    try:
        header, first, second, *rest = audiotag("models", "list", "--sort", "speed").stdout.splitlines()
        found = json.loads(audiotag("models", "list", "--sort", "params", "--json").stdout)
        by_memory, by_score = (
            audiotag("models", "list", "--sort", by).stdout.split("\n")[1] for by in ("memory", "score")
        )
    finally:
        costs.known_costs.cache_clear()
    assert header.split()[:2] == ["NAME", "mAP"] and len(rest) > 10
    assert first.split() == ["mn10_as", "0.471", "5", "0.9", "15", "700"]  # what there is not is left out
    assert second.split() == ["mn04_as", "0.432", "1", "0.2", "30", "20", "600", "50"]
    assert [one["name"] for one in found[:2]] == ["mn04_as", "mn10_as"] and found[1]["onnx_ms"] is None
    assert by_memory.startswith("mn04_as ") and by_score.startswith("ced")


def test_the_table_of_costs_is_of_models_that_there_are():
    known = costs.known_costs()
    assert known and set(known) <= set(get_host().backbones)
    for one in known.values():
        assert one.parameters > 0 and one.macs > 0 and one.torch_ms > 0 and one.torch_mb > 0 and one.machine
