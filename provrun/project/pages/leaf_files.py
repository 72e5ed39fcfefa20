"""Files of records, compressed or not, as their names say."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, cast

from provrun.errors import MissingExtra, ProvrunError, StorageFailed


class LeavesFile:
    """Writes records in the order of the trees: of each map the groups by position, in each the tasks by index."""

    def __init__(self, out: IO[bytes], folder: Path) -> None:
        self._out = out
        self._folder = folder
        self._waiting: dict[int, IO[bytes]] = {}

    def write(self, position: int, line: bytes) -> None:
        """Write a record of the group at a position; only those of the first group can go to their place at once."""
        if position:
            file = self._waiting.get(position)
            if file is None:
                file = self._waiting[position] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            file.write(line + b"\n")
        else:
            self._out.write(line + b"\n")

    def end_map(self) -> None:
        """Put what waited in its place."""
        for _, file in sorted(self._waiting.items()):
            with file:
                file.seek(0)
                copyfileobj(file, self._out, 1 << 20)
        self._waiting.clear()


@contextmanager
def leaves_file(path: Path | None) -> Iterator[LeavesFile | None]:
    """Write a file of records as a whole or not at all, compressed as its name says."""
    if path is None:
        yield None
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(temporary.open("wb"))
            stack.callback(_kept, raw)
            out = stack.enter_context(_compressing(path, raw))
            yield LeavesFile(out, path.parent)
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
