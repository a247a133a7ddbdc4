"""``--threads`` holds for both engines, in processes that the command starts too, until the command ends."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import torch
from click.testing import CliRunner

from audiotag.cli.options import device_option
from audiotag.engines.threads import usable_threads

COUNT = "from audiotag.engines.threads import usable_threads; print(usable_threads())"


@click.command()
@device_option
def told(device: str) -> None:
    """Print what computes."""
    child = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    click.echo(f"{device} {usable_threads()} {torch.get_num_threads()} {child.stdout.strip()}")


def test_threads_hold_for_both_engines_until_the_command_ends() -> None:
    before = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    for count in (3, 1):
        run = CliRunner().invoke(told, ["--threads", str(count), "--device", "cpu"])
        assert run.output == f"cpu {count} {count} {count}\n"
        assert (os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()) == before
    assert CliRunner().invoke(told, ["--threads", "0"]).exit_code == 2
