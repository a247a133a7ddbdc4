"""A command of ours as a service of systemd: at home in its own folder, restarted, watched, and kept from all else."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from audiotag.cli.options import option

SERVICE = "--service"

_SECRETS = ("--mqtt-login", "--webhook-secret")
"""Options that name files which the service's own user may not read: systemd hands them over."""

_WRITTEN = ("--output", "--clips", "--asked", "--learn", "--lines", "--state")
"""Options that name what is written; relative ones lie in the folder of the service."""

_UNIT = """\
# {command}
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target sound.target

[Service]
Type=notify
ExecStart={start}
Restart=always
RestartSec=5
WatchdogSec={watchdog}
TimeoutStartSec=infinity
EnvironmentFile=-/etc/audiotag/environment
{credentials}
# A user and folders of its own: /var/lib/audiotag and /var/cache/audiotag.
DynamicUser=yes
SupplementaryGroups=audio
StateDirectory=audiotag
StateDirectoryMode=0700
CacheDirectory=audiotag
WorkingDirectory=%S/audiotag
Environment=HOME=%S/audiotag AUDIOTAG_CACHE=%C/audiotag OMP_NUM_THREADS=1

# Nothing else.
UMask=0077
ProtectHome={home}
ProtectSystem=strict
PrivateTmp=yes
DevicePolicy=closed
DeviceAllow=char-alsa rw
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""


service_option = option(
    SERVICE,
    is_flag=True,
    help="Do not begin: print a unit of systemd that runs this very command at every start of the machine.",
    group="Service",
)
"""``--service``: parameter ``service``, a flag; see `print_service`."""


def print_service(arguments: Sequence[str], *, description: str, watchdog: float) -> None:
    """Print the unit.

    Args:
        arguments: Of ``audiotag``, as somebody typed them, ``--service`` among them.
        description: A line for the journal.
        watchdog: Seconds without a sign of life after which it is restarted.
    """
    credentials: list[str] = []
    words = [*_program(), *_at_home([word for word in arguments if word != SERVICE], credentials)]
    home = any(word.startswith(("/home/", "/root/")) for word in words)
    click.echo(
        _UNIT.format(
            command="audiotag " + " ".join(arguments).replace("\n", " "),
            description=description.replace("%", "%%"),
            start=" ".join(word if word.startswith("%d/") else _quoted(word) for word in words),
            watchdog=round(watchdog),
            credentials="".join(f"LoadCredential={one}\n" for one in credentials),
            home="read-only" if home else "yes",
        ),
        nl=False,
    )


def _program() -> list[str]:
    script = Path(sys.executable).with_name("audiotag")
    return [str(script)] if script.exists() else [sys.executable, "-m", "audiotag"]


def _at_home(arguments: Sequence[str], credentials: list[str]) -> Iterator[str]:
    """The arguments for another folder and user: what is read by its whole path, secrets by way of systemd."""
    before = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        inline = bool(equals) and name.startswith("--")
        name, value = (name, value) if inline else (before, argument)
        before = "" if inline else argument
        if name in _SECRETS:
            known = name.removeprefix("--")
            credentials.append(f"{known}:{Path(value).absolute()}")
            value = f"%d/{known}"
        elif name not in _WRITTEN and not value.startswith("-") and Path(value).exists():
            value = str(Path(value).absolute())
        yield from ([name] if inline else [])
        yield value


def _quoted(word: str) -> str:
    """*word* for ``ExecStart``."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%").replace("$", "$$")
    return word if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII) else f'"{word}"'
