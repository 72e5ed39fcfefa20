"""How a run looks while it runs: one line that moves on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from provrun.cli.output import Output, colourful
from provrun.run.progress import Progress

PLAIN = 30.0  # seconds between lines that go to a file


class Live:
    """Shows progress on a stream."""

    def __init__(self, out: Output, stream: TextIO) -> None:
        self._out = out
        self._stream = stream
        self._moving = stream.isatty() and colourful(stream) and not out.quiet
        self._next = time.monotonic() + (0.0 if self._moving else PLAIN)
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wipe()

    def watch(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next or self._out.quiet:
            return
        line = _line(progress)
        if self._moving:
            self._next = now + 0.2
            self._stream.write(f"\r{line}\x1b[K")
            self._stream.flush()
            self._shown = line
        else:
            self._next = now + PLAIN
            self._out.say(line)

    def tell(self, text: str) -> None:
        self._wipe()
        self._out.warn(text)

    def _wipe(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = ""


def _line(progress: Progress) -> str:
    words = [f"{progress.succeeded} succeeded"]
    words += [f"{progress.failed} failed"] if progress.failed else []
    words += [f"{progress.lost} lost"] if progress.lost else []
    words += [f"{progress.in_flight} in flight", f"{progress.left} left"]
    if progress.rate:
        words.append(f"{progress.rate:.3g}/s")
    if progress.eta is not None and not progress.draining:
        words.append(f"{_duration(progress.eta)} to go")
    return ("draining: " if progress.draining else "") + ", ".join(words)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    return f"{minutes} min" if minutes < 90 else f"{hours} h {minutes % 60:02d} min"
