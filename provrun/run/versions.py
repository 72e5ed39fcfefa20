"""What programs say of their version: the first line of what they answer to ``--version``."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import IO

import msgspec

from provrun.run.asides import Asides
from provrun.run.files import Seen

_PATIENCE = 3.0  # seconds; what takes longer has begun to do something else
_LONGEST = 200
_INSTALLED = ("pyvenv.cfg", "conda-meta")  # what environments have beside their programs' folder
_READ = 4096
_MOST = 1 << 20  # bytes that a program may write to a file, its answer included

Program = tuple[str, Seen]
"""The path of a program and what was seen of its file."""


class Versions:
    """Asks each state of each program once, aside: it may not know the question and take its time."""

    def __init__(self, asides: Asides) -> None:
        self._asides = asides
        self._known: dict[Program, str | None] = {}

    def of(self, path: str, seen: Seen) -> str | None:
        """Give what a program has said; None if it was not asked."""
        return self._known.get((path, seen))

    def ask(self, programs: Iterable[Program], environment: Mapping[bytes, bytes], then: Callable[[], None]) -> None:
        """Go on when these programs have been asked: at once if that is so already."""
        unknown = [one for one in programs if one not in self._known]
        if not unknown:
            then()
            return

        def learn(data: bytes | None) -> None:
            said = [None] * len(unknown) if data is None else msgspec.msgpack.decode(data, type=list[str | None])
            self._known.update(zip(unknown, said, strict=True))
            then()

        self._asides.run(lambda: msgspec.msgpack.encode(ask_all([path for path, _ in unknown], environment)), learn)


def is_own_script(path: str) -> bool:
    """Tell whether a program is a script of this user's that no installer of environments has put there.

    Few scripts look at their arguments before they begin. Raises OSError if it cannot be read.
    """
    path = os.path.realpath(path)
    with open(path, "rb") as file:
        if file.read(2) != b"#!" or os.fstat(file.fileno()).st_uid != os.geteuid():
            return False
    place = os.path.dirname(os.path.dirname(path))
    return not any(os.path.exists(os.path.join(place, mark)) for mark in _INSTALLED)


def ask_all(paths: Sequence[str], environment: Mapping[bytes, bytes]) -> list[str | None]:
    """Give for each program the first line that it answers to ``--version``; None if it fails, or takes seconds.

    Only for a process that has nothing else to do: what it may write to files is limited from then on.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(_MOST, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    return [_version(path, environment) for path in paths]


def _version(path: str, environment: Mapping[bytes, bytes]) -> str | None:
    """Ask a program in an empty folder of its own that is removed, with nothing to read; its group is killed."""
    folder = tempfile.mkdtemp(prefix="provrun-version-")
    try:
        # Files, not pipes: what a program says without end is cut off, and nothing that it leaves holds them open.
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
            asked = subprocess.Popen(
                [path, "--version"], stdin=subprocess.DEVNULL, stdout=said, stderr=complained, cwd=folder,
                env=environment, start_new_session=True,
            )  # fmt: skip
            try:
                asked.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                return None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(asked.pid, signal.SIGKILL)
                asked.wait()
            return None if asked.returncode else _first_line(said) or _first_line(complained)
    except OSError:
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _first_line(said: IO[bytes]) -> str | None:
    said.seek(0)
    lines = said.read(_READ).decode(errors="replace").splitlines()
    line = next((line.strip() for line in lines if line.strip()), "")
    # A line with a place in somebody's folders is not for publication, and hardly a version.
    private = os.path.expanduser("~") in line if os.path.expanduser("~") != "/" else False
    return line[:_LONGEST] if line and line.isprintable() and not private else None
