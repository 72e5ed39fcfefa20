"""How an attempt ended, and the result that a command printed."""

from __future__ import annotations

import os
import signal
import time
from hashlib import sha256
from typing import NamedTuple

from provrun.core.canonical import Blob, NotAValue, digest_text, encode, read_json
from provrun.core.messages import Result, Start
from provrun.core.records import Artifact, ResultMode
from provrun.core.states import Outcome
from provrun.errors import ProvrunError
from provrun.run.capture import Stream
from provrun.run.limits import OomKills
from provrun.run.packs import BLOB, PackWriter

INLINE = 1 << 16
"""Results whose canonical text is longer go into the pack."""
_LINE = 200
_SHELL_KILLED = 128 + signal.SIGKILL
_NO_MEMORY = "killed by the kernel: the node, or the job's share of it, had no memory left"
_JSON_STARTS = frozenset(b"[{-0123456789")


class NoResult(ProvrunError):
    """A command has not delivered the result it was to deliver."""


def last_line(text: bytes) -> str:
    """Give the last line that is not blank, shortened."""
    for line in reversed(text[-8192:].splitlines()):
        if line.strip():
            return shorten(line.decode(errors="replace").strip())
    return ""


def shorten(text: str) -> str:
    """Cut a line to what fits into a table."""
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"


def signal_name(number: int) -> str:
    """Give a signal's name and meaning: ``SIGSEGV (Segmentation fault)``."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    meaning = signal.strsignal(number)
    return f"{name} ({meaning})" if meaning else name


def died(status: int, oom_kills: OomKills) -> tuple[Outcome, int, str]:
    """Judge the wait status of a process that died of its task."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and oom_kills.new():
            return Outcome.MEMORY, number, _NO_MEMORY
        return Outcome.SIGNAL, number, f"killed by {signal_name(number)}"
    code = os.WEXITSTATUS(status)
    if code == _SHELL_KILLED and oom_kills.new():  # a shell tells so of the process that it has waited for
        return Outcome.MEMORY, signal.SIGKILL, _NO_MEMORY
    return Outcome.EXIT, code, f"exit code {code}"


def not_started(start: Start, why: str) -> Result:
    """Make the result of an attempt that could not be started."""
    return Result(
        start.map, start.index, start.number, Outcome.LAUNCHER, time.time_ns() // 1000, 0, None, None, False, None,
        shorten(why), None, None, None, None, 0, 0,
    )  # fmt: skip


class Found(NamedTuple):
    """A result: canonical JSON text and its digest."""

    text: str
    digest: bytes


def found(value: object) -> Found:
    """Make a result of a value; raise `canonical.NotAValue` if it is none."""
    text = encode(value)
    return Found(text, digest_text("result", text))


def stored(result: Found, pack: PackWriter) -> tuple[Found, list[Artifact]]:
    """Move a long result into the pack; give what stands in its place, and the artifact."""
    if len(result.text) <= INLINE:
        return result, []
    content = result.text.encode()
    digest = sha256(content).digest()
    short = found(Blob({"digest": digest.hex(), "format": "json", "size": len(content)}))
    return short, [Artifact("result", "", digest, len(content), None, pack.append(BLOB, content))]


def printed(mode: ResultMode, out: Stream) -> Found | None:
    """Find the result in what a command printed: None for none; raise `NoResult` where one was promised."""
    if mode == "auto":
        return _last_value(out.text())
    if mode in ("stdout-json", "stdout-text") and out.cut:
        raise NoResult(f"stdout has {out.size} bytes, too many for a result: let it be an output file")
    if mode == "stdout-json":
        return parse(out.text(), "stdout")
    if mode == "stdout-text":
        try:
            return found(out.text().decode().removesuffix("\n"))
        except UnicodeDecodeError:
            raise NoResult("stdout is no UTF-8 text") from None
    return None


def parse(data: bytes, where: str) -> Found:
    """Make a result of JSON text that a command wrote."""
    try:
        return found(read_json(data))
    except NotAValue as error:
        raise NoResult(f"{where} is no JSON value: {shorten(error.message)}") from None


def _last_value(out: bytes) -> Found | None:
    out = out.rstrip()
    line = out[out.rfind(b"\n") + 1 :].strip()
    if not line or line[0] not in _JSON_STARTS:
        return None
    try:
        return found(read_json(line))
    except NotAValue:
        return None
