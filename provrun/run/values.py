"""What functions return, as canonical text and blobs, and back; nothing is pickled.

Arrays become ``.npy`` bytes, data frames Arrow IPC streams. In the text stands ``{"$blob": {...}}`` with ``digest``
(sha256 of the content, hex), ``format`` (``npy``, ``arrow``, ``json``, ``file``) and ``size``; ``frame`` names the kind
of data frame, ``path`` the file of ``file``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any, NamedTuple, cast

from provrun.core.canonical import Blob, NotAValue, decode, digest_text, encode
from provrun.core.records import Artifact

INLINE = 1 << 16
"""Results whose canonical text is longer become a blob themselves."""

Reader = Callable[[str], bytes]
"""Gives the content of a blob by its digest (hex)."""


class Encoded(NamedTuple):
    """A result: its canonical text, its digest, and per blob the artifact and the content (None for files)."""

    text: str
    digest: bytes
    blobs: list[tuple[Artifact, bytes | None]]


def encode_result(value: object, workdir: str) -> Encoded:
    """Encode what a function returned; raise `canonical.NotAValue`, naming the type, for anything else.

    Paths are taken from ``workdir``, must lie beneath it and be files.
    """
    blobs: list[tuple[Artifact, bytes | None]] = []
    try:
        text = encode(value)
    except NotAValue:
        text = encode(_replace(value, "", workdir, blobs))
    if len(text) > INLINE:
        content = text.encode()
        place = _blob("", content, "json", blobs)
        text = encode(place)
    return Encoded(text, digest_text("result", text), blobs)


def decode_result(text: str, read: Reader, workdir: str = "") -> object:
    """Decode a result: JSON values, numpy arrays, data frames of the kind that was returned, paths."""
    if '"$' not in text:
        return decode(text)
    return restore(decode(text), read, workdir)


def restore(value: object, read: Reader, workdir: str = "") -> object:
    """Put back what stands for blobs in a decoded result."""
    if isinstance(value, Blob):
        return _content(value, read, workdir)
    if isinstance(value, Mapping):
        return {key: restore(item, read, workdir) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item, read, workdir) for item in value]
    return value


def _replace(value: object, path: str, workdir: str, blobs: list[tuple[Artifact, bytes | None]]) -> object:
    if isinstance(value, dict):
        return {
            key: _replace(item, f"{path}.{key}" if path else str(key), workdir, blobs) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_replace(item, f"{path}[{position}]", workdir, blobs) for position, item in enumerate(value)]
    if isinstance(value, PurePath):
        return _file(value, path, workdir, blobs)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.complexfloating):
        return _blob(path, _npy(value, path), "npy", blobs)
    if isinstance(value, complex):
        import numpy as np

        return _blob(path, _npy(np.complex128(value), path), "npy", blobs)
    frame = _frame_of(value)
    if frame:
        return _blob(path, _arrow(value, frame), "arrow", blobs, frame=frame)
    return value


def _blob(path: str, content: bytes, format: str, blobs: list[tuple[Artifact, bytes | None]], **more: str) -> Blob:
    digest = sha256(content).digest()
    blobs.append((Artifact("result", path, digest, len(content)), content))
    return Blob({"digest": digest.hex(), "format": format, "size": len(content), **more})


def _npy(value: object, path: str) -> bytes:
    import io

    import numpy as np

    array = np.asanyarray(value)
    if type(array) is not np.ndarray or array.dtype.hasobject:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        of = f" of {array.dtype} elements" if array.dtype.hasobject else ""
        raise NotAValue(
            f"{path or 'the value'} is of type {kind}{of}, which is no value", value=kind,
            next="return plain arrays of numbers, or lists of values",
        )  # fmt: skip
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _file(value: PurePath, path: str, workdir: str, blobs: list[tuple[Artifact, bytes | None]]) -> Blob:
    from provrun.run.files import Files, beneath

    whole = os.path.join(workdir, value)
    relative = os.path.relpath(whole, workdir)
    if not beneath(workdir, relative):
        raise NotAValue(f"{path or 'the value'} is the path {value}, which is not beneath the folder of the map")
    try:
        found, _, size, _ = Files().look(whole)
    except OSError as error:
        raise NotAValue(f"{path or 'the value'} is the path {value}: {error.strerror}") from None
    blobs.append((Artifact("output", path, bytes.fromhex(found), size, relative), None))
    return Blob({"digest": found, "format": "file", "path": relative, "size": size})


def _frame_of(value: object) -> str | None:
    """Name the library whose data frame this is; none is imported for it."""
    for name, kind in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")):
        module = sys.modules.get(name)
        if module is not None and isinstance(value, getattr(module, kind)):
            return name
    return None


def _arrow(value: object, frame: str) -> bytes:
    import io

    buffer = io.BytesIO()
    if frame == "polars":
        cast("_Polars", value).write_ipc_stream(buffer)
        return buffer.getvalue()
    try:
        import pyarrow
    except ImportError:
        from provrun.errors import MissingExtra

        raise MissingExtra("data", "a data frame as result") from None
    table: Any = pyarrow.Table.from_pandas(value) if frame == "pandas" else value
    with pyarrow.ipc.new_stream(buffer, table.schema) as stream:
        stream.write_table(table)
    return buffer.getvalue()


class _Polars:
    """What is used of a polars data frame."""

    def write_ipc_stream(self, file: object) -> None: ...


def _content(blob: Blob, read: Reader, workdir: str) -> object:
    format = blob["format"]
    if format == "file":
        return Path(workdir, cast(str, blob["path"]))
    content = read(cast(str, blob["digest"]))
    if format == "json":
        return decode_result(content.decode(), read, workdir)
    import io

    if format == "npy":
        import numpy as np

        array = np.load(io.BytesIO(content), allow_pickle=False)
        return array if array.shape else array[()]
    frame = blob.get("frame")
    if frame == "polars":
        import polars

        return polars.read_ipc_stream(io.BytesIO(content))
    import pyarrow

    table = pyarrow.ipc.open_stream(content).read_all()
    return table.to_pandas() if frame == "pandas" else table
