"""Hosts: lists of them, which of them is this one, and which respond."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from provrun.errors import UsageError
from provrun.run.launcher import Launcher

RESPONSE = 15.0  # seconds a host may take to run nothing
_AT_ONCE = 16
_LINE = re.compile(r"(?P<name>[\w.\-]+)(?::(?P<short>[1-9]\d*))?(?:\s+(?:max[_-])?slots\s*=\s*(?P<long>[1-9]\d*))?")


class Host(NamedTuple):
    """A host and how many tasks of one core it runs at once; None for as many as it has cores."""

    name: str
    slots: int | None


def read_hosts(path: Path) -> list[Host]:
    """Read a host list: a name per line, ``host:2`` or ``host slots=2``; a name that comes again has more slots.

    Raises `UsageError` without the file, and with all lines that name no host.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise UsageError(f"no list of hosts in {path}: {error.strerror}", value=str(path)) from error
    counts: dict[str, list[int | None]] = {}
    wrong = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].strip()
        match = _LINE.fullmatch(words)
        if match:
            slots = match["short"] or match["long"]
            counts.setdefault(match["name"], []).append(int(slots) if slots else None)
        elif words:
            wrong.append(f"line {number}: {words}")
    if wrong or not counts:
        problem = "; ".join(wrong) or "no host in it"
        raise UsageError(f"{path}: {problem}", value=str(path), next="one per line: node1, node1:8 or node1 slots=8")
    return [Host(name, _slots(listed)) for name, listed in counts.items()]


def _slots(listed: list[int | None]) -> int | None:
    # A name alone says nothing of slots; one that is repeated, as schedulers write it, has one for each line.
    return None if listed == [None] else sum(slots or 1 for slots in listed)


def first_here(hosts: Sequence[Host]) -> list[Host]:
    """Put this host first, where the manager is; raises `UsageError` if it is not among them."""
    here = next((host for host in hosts if is_here(host.name)), None)
    if here is None:
        name = os.uname().nodename
        raise UsageError(
            f"this host, {name}, is not among the hosts: the manager runs here", value=name,
            next=f"add {name} to the list, or start from one of its hosts",
        )
    return [here, *(host for host in hosts if host is not here)]


def is_here(name: str) -> bool:
    """Tell whether a name is that of this host: one whose address may be bound here."""
    own = os.uname().nodename
    if name in (own, own.partition(".")[0], "localhost"):
        return True
    with suppress(OSError):
        for family, kind, _, _, address in socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM):
            with suppress(OSError), socket.socket(family, kind) as probe:
                probe.bind(address)
                return True
    return False


def responding(
    hosts: Sequence[Host], launcher: Launcher, environ: Mapping[str, str], patience: float = RESPONSE
) -> list[Host]:
    """Give the hosts on which the launcher can start something within ``patience`` seconds."""
    with TemporaryDirectory(prefix="provrun-") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
        files = [Path(folder) / str(number) for number in range(len(hosts))]
        answers = pool.map(lambda host, file: _responds(host, file, launcher, environ, patience), hosts, files)
        return [host for host, answer in zip(hosts, answers, strict=True) if answer]


def _responds(host: Host, file: Path, launcher: Launcher, environ: Mapping[str, str], patience: float) -> bool:
    command = launcher.across([host.name], file, "echo", "here")
    probe = subprocess.Popen(
        command, env=launcher.environ(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )
    try:
        return "here" in probe.communicate(timeout=patience)[0]
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(probe.pid, 9)
        probe.communicate()
        return False
