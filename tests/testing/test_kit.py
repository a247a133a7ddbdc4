"""The kit itself: what it plans, reports and prints, and how a third party uses it."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import OptionError, UnknownNameError
from audiotag.testing import all_checks, parametrize_with_checks, run_checks
from audiotag.testing.running import plan_checks

LOSS = """
from torch.nn import functional
from audiotag.plugin import Loss
from audiotag.training.losses import mean_over_known

class Odd(Loss):
    def forward(self, logits, targets, mask=None):
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none"){more}
        return mean_over_known(losses, mask)
"""
SOUND = LOSS.format(more="")
NOT_HALF = LOSS.format(more="\n        assert logits.itemsize == 4, 'no half precision'")


def test_checks_have_names_of_their_own_and_say_what_they_ask_for():
    checks = all_checks()
    assert len({(check.kind, check.name) for check in checks}) == len(checks)
    assert all(check.description.endswith(".") and len(check.description) < 130 for check in checks)
    # Fewer would mean that a module is not imported any more.
    assert len(checks) >= 90


def test_expected_failures_are_strict_and_need_a_reason(install_part):
    install_part("loss", NOT_HALF)
    assert not run_checks("odd").ok
    known = {"half_precision_is_taken": "it computes in float32 only"}
    report = run_checks("odd", expected_failures=known)
    assert report.ok
    assert report.counts["expected_failure"] == 1
    assert "it computes in float32 only (AssertionError" in str([one.message for one in report.results])
    assert run_checks("odd", expected_failures={"odd: half_precision_is_taken": "float32 only"}).ok
    install_part("loss", SOUND)
    report = run_checks("odd", expected_failures=known)
    assert not report.ok
    assert report.counts["unexpected_pass"] == 1
    with pytest.raises(OptionError, match=r"'half_precision_is_takn'.*Did you mean 'half_precision_is_taken'"):
        run_checks("odd", expected_failures={"half_precision_is_takn": "a reason"})
    with pytest.raises(OptionError, match="for no reason"):
        run_checks("odd", expected_failures={"half_precision_is_taken": " "})


def test_a_report_counts_what_was_run(install_part):
    install_part("loss", SOUND)
    planned = plan_checks("odd")
    report = run_checks("odd")
    assert len(report.results) == len(planned)
    assert report.run == len(planned) - report.counts["skipped"]
    assert report.summary() == f"audiotag checks: {report.run} run, {report.run} passed; 1 skipped"
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["ok"] and plain["run"] == report.run
    assert {"subject", "check", "status", "message", "seconds"} == set(plain["results"][0])


def test_unknown_names_get_close_matches():
    with pytest.raises(UnknownNameError, match=r"'resevoir'.*Did you mean 'reservoir'"):
        plan_checks("resevoir")
    with pytest.raises(UnknownNameError, match=r"there is no loss 'reservoir'"):
        plan_checks("reservoir", kind="loss")
    with pytest.raises(OptionError, match="there is no kind 'losses'"):
        plan_checks("bce", kind="losses")


def test_a_name_of_a_plugin_and_of_a_thing_means_the_plugin(install_part):
    install_part("loss", SOUND)
    assert {case.subject.kind for case in plan_checks("odd")} == {"plugin", "loss"}
    assert {case.subject.kind for case in plan_checks("Audiotag_Odd")} == {"plugin", "loss"}
    assert {case.subject.kind for case in plan_checks("odd", kind="loss")} == {"loss"}


def test_variants_of_a_family_get_the_cheap_checks(tiny):
    per_name = {}
    for case in plan_checks("audiotag-tiny"):
        per_name.setdefault(case.subject.name, []).append(case.check)
    assert len(per_name["tiny"]) > 30
    assert all(check.cheap for check in per_name["tiny_home"])
    assert len([case for case in plan_checks("audiotag-tiny", thorough=True) if case.subject.name == "tiny_home"]) > 30
    assert len(plan_checks("tiny_home")) > 30, "a single name gets every check"
    report = run_checks("audiotag-tiny", options={"head_type": "mlp"})
    assert [str(result) for result in report.results if not result.ok] == []


def test_options_need_a_family(install_part):
    install_part("loss", SOUND)
    with pytest.raises(OptionError, match="no family of backbones"):
        plan_checks("odd", options={"width": 3})


def test_a_plugin_that_fails_to_load_fails_its_check(install_plugin):
    install_plugin("audiotag-broken", "raise RuntimeError('torn')", entry="broken")
    report = run_checks("broken")
    assert not report.ok
    (failed,) = [result for result in report.results if not result.ok]
    assert failed.check == "it_loads" and failed.message.startswith("RuntimeError: torn. Upgrade it (pip install")


def test_descriptors_that_import_torch_are_noticed(install_plugin):
    source = "import torch\nfrom audiotag.plugin import LossSpec, hookimpl\n@hookimpl\ndef register_losses():\n"
    source += "    return [LossSpec(name='odd', factory='math:sqrt', summary='Odd')]\n"
    install_plugin("audiotag-odd", source, entry="odd")
    messages = {result.check: result.message for result in run_checks("odd").results if not result.ok}
    assert "importing it without torch fails" in messages["descriptors_need_no_torch"]


# As a third party uses it


def test_the_command_prints_a_line_for_each_thing_and_the_count(install_part):
    install_part("loss", NOT_HALF)
    result = CliRunner().invoke(main, ["plugins", "check", "odd"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("plugin odd: 5 checks passed")
    assert lines[1].startswith("loss odd: 1 of 15 checks failed")
    assert lines[2] == "  failed half_precision_is_taken: AssertionError: no half precision"
    assert lines[3] == "audiotag checks: 20 run, 19 passed, 1 failed; 1 skipped"
    expectation = "half_precision_is_taken=float32 only"
    result = CliRunner().invoke(main, ["plugins", "check", "odd", "--expect-failure", expectation, "--verbose"])
    assert result.exit_code == 0
    assert "expected failure half_precision_is_taken: float32 only (AssertionError" in result.stdout
    assert "  passed extremes_stay_finite\n" in result.stdout


def test_the_command_gives_json(install_part):
    install_part("loss", NOT_HALF)
    result = CliRunner().invoke(main, ["plugins", "check", "odd", "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["name"] == "odd" and not report["ok"] and report["counts"]["failed"] == 1


def test_the_command_needs_a_name():
    with pytest.raises(OptionError, match="name what to check"):
        CliRunner().invoke(main, ["plugins", "check"], catch_exceptions=False)


def test_a_test_of_a_few_lines(install_part, plugin_folder, tmp_path):
    install_part("loss", NOT_HALF)
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "test_theirs.py").write_text(
        "from audiotag.testing import parametrize_with_checks\n\n"
        '@parametrize_with_checks("audiotag-odd", expected_failures={"half_precision_is_taken": "float32 only"})\n'
        "def test_conformance(check):\n    check()\n\n"
        '@parametrize_with_checks("bce", expected_failures={"extremes_stay_finite": "we said so"})\n'
        "def test_wrong_expectation(check):\n    check()\n\n"
        '@parametrize_with_checks("ce")\n'
        "def test_forgets_to_call(check):\n    pass\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(plugin_folder)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the test did not run its check; call it: check()" in done.stdout
    assert "[XPASS(strict)] we said so" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "audiotag checks:" in line]
    losses = len(plan_checks("bce"))
    # Every test of the third function fails, those of checks with nothing to look at too.
    run = len(plan_checks("audiotag-odd")) - 1 + losses - 1 + losses
    assert f"audiotag checks: {run} run, " in line
    assert f"{losses} failed" in line and "1 failed as expected" in line and "1 passed unexpectedly" in line


def test_the_decorator_refuses_a_name_that_means_nothing():
    with pytest.raises(UnknownNameError):
        parametrize_with_checks("no-such-plugin")


def test_what_pytest_loads_everywhere_is_light():
    heavy = ("torch", "numpy", "pandas", "scipy", "sklearn", "soundfile", "audiotag.testing.running")
    program = (
        "import sys, audiotag.testing.pytest_plugin, audiotag.testing\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
