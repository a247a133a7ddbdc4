from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import OptionError

SCRIPT = """
import os, sys
if "closed" in sys.argv:
    sys.stdout = None
from audiotag.cli.main import _prepare_streams
_prepare_streams()
print("caf\\udce9 \u2500")
"""


def printed(*arguments: str, encoding: str = "utf-8") -> bytes:
    environment = {"PYTHONIOENCODING": encoding, "PATH": "", "SYSTEMROOT": ""}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, env=environment, check=True, timeout=60
    )
    return done.stdout.rstrip()


def test_what_an_encoding_lacks_is_printed_all_the_same() -> None:
    assert printed() == b"caf\xe9 \xe2\x94\x80"
    assert printed(encoding="ascii") == b"caf\xe9 \\u2500"


def test_a_closed_output_is_no_failure() -> None:
    assert printed("closed") == b""


NASTY = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202egnp.wav"
SHOWN = r"\u001b]0;owned\u0007\u001b[2J\u000d\u009b31m\u202egnp.wav"

VERB = f"""
import os, sys, time, warnings
import click
from rich.console import Console
from audiotag.cli import main as program
from audiotag.cli.columns import print_columns
from audiotag.errors import AudioError
from audiotag.printing import escape
sys.modules["verb"] = sys.modules[__name__]
program.VERBS["verb"] = ("verb:verb", "")
NASTY = {NASTY!r}

@click.command()
@click.argument("what")
def verb(what):
    if what == "wait":
        try:
            print("waiting", flush=True)
            time.sleep(60)
        finally:
            print("tidied up", flush=True)
    elif what == "swallow":
        print("waiting", flush=True)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(1)
    elif what == "fork":
        if not os.fork():
            print("waiting", flush=True)
            time.sleep(60)
        print("child:", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    elif what == "names":
        click.echo(click.style(NASTY, fg="red"))
        print_columns(("NAME", "N"), [(NASTY, "1")])
        Console().print(escape(NASTY))
        print(NASTY)
        warnings.warn(NASTY)
        click.echo(NASTY, err=True)
        raise AudioError(f"no recording\\n{{NASTY}}", where=NASTY + "\\nError: fake")
    elif what == "system":
        open(os.path.join(NASTY, "x"))
    elif what == "code":
        click.get_current_context().exit(7)
    elif what == "end of file":
        raise EOFError("truncated")

program.run()
"""


def start(what: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", VERB, "verb", what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@posix
@pytest.mark.parametrize(("name", "said"), [("SIGINT", "Ctrl-C"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGHUP")])
@pytest.mark.parametrize("what", ["wait", "swallow"])
def test_every_signal_that_asks_to_stop_ends_a_verb_tidily(what: str, name: str, said: str) -> None:
    number = getattr(signal, name)
    heed = lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGHUP)]  # noqa: E731
    with start(what, preexec_fn=heed) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    if what == "wait":
        assert out == "tidied up\n" and err.strip() == f"Stopped by {said}."


@posix
def test_nohup_is_respected_and_forked_workers_end_without_a_traceback() -> None:
    with start("wait", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    with start("fork", start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert out == f"child: -{signal.SIGTERM:d}\n" and err == ""


def test_control_characters_in_names_never_reach_the_terminal() -> None:
    with start("names", env={**os.environ, "PYTHONIOENCODING": "utf-8"}) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    text = out + err
    assert not {character for character in text if character in "\x1b\x07\r\x9b\u202e"}
    assert out.count(SHOWN) == 3 and err.count(SHOWN) >= 3
    for printed in (out, err):  # click takes whole sequences away before our rule sees them
        assert SHOWN.replace(r"\u001b[2J", "") in printed.splitlines()
    assert rf"Error: {SHOWN}\u000aError: fake: no recording" in err.splitlines()


def test_an_unforeseen_refusal_of_the_system_is_one_line_and_a_bug_is_not_hidden() -> None:
    with start("system") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith(f"Error: {SHOWN}/x: No such file") and err.count("\n") == 1
    with start("end of file") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "EOFError: truncated" in err
    with start("code") as process:
        process.communicate(timeout=60)
    assert process.returncode == 7


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep a folder that a program is in")
def test_a_current_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    script = (
        f"import os; os.chdir({str(tmp_path)!r}); os.rmdir({str(tmp_path)!r})\nfrom audiotag.cli.main import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", script, "models", "list"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: the current folder is gone. Change to one that exists.\n"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("infer", ""), "an argument"),
        (("evaluate", "--data", ""), "--data"),
        (("finetune", "--train=", "--output", "run"), "--train"),
        (("store", "list", " "), "an argument"),
        (("infer", "a.wav", "--model", "", "--top", "1"), "--model"),
    ],
)
def test_an_empty_argument_is_not_the_current_folder(arguments: tuple[str, ...], what: str) -> None:
    failure = CliRunner().invoke(main, arguments).exception
    assert isinstance(failure, OptionError)
    assert str(failure) == f"{what} is empty. Is it a variable that is not set? A dot is the current folder."


@pytest.mark.parametrize(
    ("verb", "arguments", "what"),
    [
        ("infer", ["{sound}", "--model", "home10"], "the model 'home10'"),
        ("labels extend", ["home10", "--labels", "home", "--output", "{new}"], "audiotag labels extend"),
        ("models complexity", ["home10"], "audiotag models complexity"),
        ("plugins check", ["audiotag"], "audiotag plugins check"),
    ],
)
def test_a_verb_that_lacks_its_packages_says_which_extra_brings_them(
    run_light, tmp_path, verb, arguments, what
) -> None:
    soundfile.write(tmp_path / "sound.wav", [0.0] * 800, 8000)
    given = [argument.format(sound=tmp_path / "sound.wav", new=tmp_path / "new") for argument in arguments]
    done = run_light("from audiotag.cli.main import run; run()", *verb.split(), *given)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: {what} needs the package 'torch', which is not installed. "
        "Install it with: pip install 'audiotag[torch]'\n"
    )


def test_python_says_so_too(run_light) -> None:
    done = run_light("import audiotag; print(audiotag.LabelSet); audiotag.load('home10')")
    assert "audiotag.labels.LabelSet" in done.stdout
    assert done.stderr.splitlines()[-1] == (
        "audiotag.errors.MissingExtraError: the model 'home10' needs the package 'torch', which is not installed. "
        "Install it with: pip install 'audiotag[torch]'"
    )


def test_the_package_is_the_command_too() -> None:
    done = subprocess.run([sys.executable, "-m", "audiotag", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("audiotag, version ")
