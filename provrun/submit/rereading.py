"""Files that are read twice: once to find every problem, and again while the tasks are stored."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from provrun.core.problems import Problems
from provrun.errors import InvalidInput, UsageError


class Source:
    """A file, or standard input as ``-``; what can be read only once (pipes) is copied to a temporary file first."""

    def __init__(self, file: str | Path) -> None:
        self.name = "standard input" if str(file) == "-" else str(file)
        try:
            if str(file) == "-":
                self._path = self._copied(sys.stdin.buffer)
            elif Path(file).is_file():
                self._path = Path(file)
            else:
                with Path(file).open("rb") as stream:
                    self._path = self._copied(stream)
            with self._path.open("rb") as stream:
                self._stamp = _stamp(stream)
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror}", value=self.name) from None

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file at its beginning; raises ``InvalidInput`` when it is no longer what it was."""
        try:
            with self._path.open("rb") as stream:
                if _stamp(stream) != self._stamp:
                    raise InvalidInput(self.name, ["the file changed while it was read"], next="submit again")
                yield stream
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror}", value=self.name) from None

    def lines(self, problems: Problems) -> Iterator[tuple[int, str]]:
        """Yield each line with its number from 1 and its line end; one that is not UTF-8 is a problem."""
        with self.opened() as stream:
            for number, line in enumerate(stream, 1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
                    problems.add(f"{self.name} line {number}: not UTF-8 ({byte})")

    def _copied(self, stream: BinaryIO) -> Path:
        with tempfile.NamedTemporaryFile(prefix="provrun-", delete=False) as copy:
            weakref.finalize(self, Path(copy.name).unlink)
            shutil.copyfileobj(stream, copy)
        return Path(copy.name)


def _stamp(stream: BinaryIO) -> tuple[int, int, int]:
    found = os.fstat(stream.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns
