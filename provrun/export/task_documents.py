"""The task level in PROV's own formats: each task is a small document of `prov`, which `prov` writes.

Together the pieces hold what the whole document would, and no two of them are in memory at once. PROV-JSON has its
records by kind, and each name once, so it goes through temporary files.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import chain, count, groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

from provrun.export.task_level import TaskPage

if TYPE_CHECKING:
    from prov.model import ProvDocument

Documents: TypeAlias = "Iterator[ProvDocument]"
FORMATS = ("provn", "provjson", "provxml")
MOST_HELD = 32_000_000
"""Characters that are sorted in memory."""
MOST_RUNS = 64
"""Sorted files that are open at once."""


class DocumentPage(TaskPage["ProvDocument"]):
    """Says it as a document of `prov`."""

    def _begin(self) -> None:
        from prov.model import ProvDocument

        super()._begin()
        self.document = ProvDocument(namespaces=[self._r, self._p, self._pr, self._dcterms])

    def _said(self) -> ProvDocument:
        return self.document


def write(
    format: str, page: ProvDocument, tasks: Iterable[ProvDocument], *, folder: Path | None = None,
    held: int = MOST_HELD,
) -> Iterator[str]:
    """Write the page, and after it what is said of each task.

    PROV-JSON takes as much room again in ``folder`` (None: where temporary files go), in files without a name, which
    are gone however the process ends; ``held`` characters are sorted in memory at a time.
    """
    if format == "provn":
        yield from _provn(page, tasks)
    elif format == "provxml":
        yield from _provxml(page, tasks)
    else:
        yield from _provjson(chain([page], tasks), folder, held)


def _provn(page: ProvDocument, tasks: Iterable[ProvDocument]) -> Iterator[str]:
    yield page.get_provn().removesuffix("endDocument")
    for task in tasks:
        yield "".join(f"  {record.get_provn()}\n" for record in task.get_records())
    yield "endDocument\n"


def _provxml(page: ProvDocument, tasks: Iterable[ProvDocument]) -> Iterator[str]:
    opening, ending = "<prov:document", "</prov:document>\n"

    def written(document: ProvDocument) -> str:
        return str(document.serialize(format="xml")).removesuffix(ending)

    yield written(page)
    for task in tasks:
        text = written(task)
        yield text[text.index(">\n", text.index(opening)) + 2 :]  # its namespaces are those of the page
    yield ending


def _provjson(pieces: Iterable[ProvDocument], folder: Path | None, held: int) -> Iterator[str]:
    from prov.serializers.provjson import encode_json_document

    with ExitStack() as files:
        prefixes: dict[str, str] = {}
        entities = files.enter_context(closing(_Sorted(folder, held)))
        others: dict[str, IO[str]] = {}
        anonymous = count(1)
        for piece in pieces:
            for kind, records in encode_json_document(piece).items():
                if kind == "prefix":
                    prefixes |= records
                    continue
                for name, record in records.items():
                    if kind == "entity":  # tasks share input files, and what they read is said again where it was made
                        for each in record if isinstance(record, list) else [record]:
                            entities.add(_line(name, each))
                        continue
                    if kind not in others:
                        others[kind] = files.enter_context(_spool(folder))
                    others[kind].write(_line(f"_:id{next(anonymous)}" if name.startswith("_:") else name, record))
        yield f'{{\n"prefix": {json.dumps(prefixes)}'
        yield from _listed("entity", _once(entities))
        for kind, file in others.items():
            file.seek(0)
            yield from _listed(kind, file)
        yield "\n}\n"


def _spool(folder: Path | None) -> IO[str]:
    return tempfile.TemporaryFile("w+", dir=folder, encoding="utf-8", newline="\n")


def _line(name: str, record: object) -> str:
    return f"{json.dumps(name)}: {json.dumps(record)}\n"


def _listed(kind: str, lines: Iterable[str]) -> Iterator[str]:
    yield f',\n"{kind}": {{'
    separator = "\n"
    for line in lines:
        yield separator + line.rstrip("\n")
        separator = ",\n"
    yield "\n}"


def _once(lines: Iterable[str]) -> Iterator[str]:
    """Give of the sorted lines with the same name the fullest one; `ValueError` where two say different things."""
    for _, same in groupby(lines, key=lambda line: line.partition(": ")[0]):
        found = list(dict.fromkeys(same))
        fullest = max(found, key=len)
        for line in found if len(found) > 1 else ():
            ((name, record),) = json.loads(f"{{{line}}}").items()
            if not record.items() <= json.loads(f"{{{fullest}}}")[name].items():
                raise ValueError(f"two digests begin alike: {name}")
        yield fullest


class _Sorted:
    """Lines that come in any order and go sorted, of which few are in memory."""

    def __init__(self, folder: Path | None, held: int) -> None:
        self._folder = folder
        self._most = held
        self._lines: list[str] = []
        self._held = 0
        self._runs: list[IO[str]] = []

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._held += len(line)
        if self._held > self._most:
            self._runs.append(self._written(sorted(self._lines)))
            self._lines, self._held = [], 0
            if len(self._runs) == MOST_RUNS:
                merged = self._written(heapq.merge(*self._runs))
                self.close()
                self._runs = [merged]

    def __iter__(self) -> Iterator[str]:
        return heapq.merge(*self._runs, sorted(self._lines))

    def close(self) -> None:
        for run in self._runs:
            run.close()

    def _written(self, lines: Iterable[str]) -> IO[str]:
        file = _spool(self._folder)
        file.writelines(lines)
        file.seek(0)
        return file
