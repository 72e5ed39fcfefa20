"""Files of records, compressed or not, as their names say."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, cast

from provrun.errors import MissingExtra, ProvrunError, StorageFailed

BUFFERED = 1 << 17  # bytes
COPIED = 1 << 20


class LeavesFile:
    """Writes records in the order of the trees: of each map the groups by position, in each the tasks by index.

    Which group a tree belongs to is known when all records of a map are written. Those of tree 0, which is mostly that
    of the first group and the largest, go to their place at once, those of others wait in files of their own.
    """

    def __init__(self, out: IO[bytes], folder: Path) -> None:
        """``out`` is a file that can be read again and be cut short."""
        self._out = out
        self._folder = folder
        self._start = 0
        self._waiting: dict[int, IO[bytes]] = {}

    def write(self, tree: int, line: bytes) -> None:
        """Write a record of a tree."""
        file = self._out
        if tree:
            file = self._waiting.get(tree) or self._wait(tree)
        file.write(line + b"\n")

    def end_map(self, order: Sequence[int]) -> None:
        """Put what was written since the last map in place: the trees in this order."""
        if order and order[0] != 0:
            self._out.seek(self._start)
            copyfileobj(self._out, self._wait(0), COPIED)
            self._cut()
        for tree in order:
            if tree in self._waiting:
                with self._waiting.pop(tree) as file:
                    file.seek(0)
                    copyfileobj(file, self._out, COPIED)
        self._start = self._out.tell()

    def begin_again(self) -> None:
        """Forget what was written since the last map."""
        for file in self._waiting.values():
            file.close()
        self._waiting.clear()
        self._cut()

    def _wait(self, tree: int) -> IO[bytes]:
        # Closed when its turn comes, or with all that is forgotten.
        file = self._waiting[tree] = tempfile.TemporaryFile(dir=self._folder, buffering=BUFFERED)  # noqa: SIM115
        return file

    def _cut(self) -> None:
        self._out.seek(self._start)
        self._out.truncate()


@contextmanager
def leaves_file(path: Path | None) -> Iterator[LeavesFile | None]:
    """Write a file of records as a whole or not at all, compressed as its name says."""
    if path is None:
        yield None
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(temporary.open("w+b", buffering=BUFFERED))
            stack.callback(_kept, raw)
            out = stack.enter_context(_compressing(path, raw))
            plain = raw if out is raw else stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
            yield LeavesFile(plain, path.parent)
            if out is not raw:
                plain.seek(0)
                copyfileobj(plain, out, COPIED)
        temporary.replace(path)
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error.strerror}", value=str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _kept(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _compressing(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        # Without name and time in its header: the same records give the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed:
            yield cast("IO[bytes]", packed)
    elif path.suffix == ".zst":
        with _zstandard().ZstdCompressor(level=9).stream_writer(raw, closefd=False) as packed:
            yield packed
    else:
        yield raw


@contextmanager
def opened_leaves(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of records, compressed or not, as its name says."""
    try:
        with ExitStack() as stack:
            if path.suffix == ".gz":
                yield cast("IO[bytes]", stack.enter_context(gzip.open(path, "rb")))
            elif path.suffix == ".zst":
                import io

                raw = stack.enter_context(path.open("rb"))
                yield cast("IO[bytes]", io.BufferedReader(_zstandard().ZstdDecompressor().stream_reader(raw)))
            else:
                yield stack.enter_context(path.open("rb"))
    except (OSError, EOFError) as error:
        raise ProvrunError(f"cannot read {path}: {error}", value=str(path)) from error


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise MissingExtra("zstd", "a file whose name ends in .zst") from None
    return zstandard
