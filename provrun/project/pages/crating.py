"""Publishing a directory: a page of provenance with the code, software and results it speaks of, as an RO-Crate."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from provrun import __version__
from provrun.errors import MissingExtra, Refused, StorageFailed, UsageError
from provrun.export.crate.about import About, citation, zenodo
from provrun.export.crate.facts import Facts
from provrun.export.crate.metadata import NAME, PREVIEW, Written, metadata
from provrun.export.crate.readable import preview, readme
from provrun.export.crate.software import lock, materials
from provrun.export.formats import FORMATS
from provrun.export.laws import require
from provrun.project.pages.committing import Changed
from provrun.project.pages.leaf_files import leaves_file
from provrun.project.pages.publishing import Published, summarised
from provrun.record.files import digest_file
from provrun.store.reads import Reads

if TYPE_CHECKING:
    from provrun.project.project import Project
    from provrun.query.columns import Column
    from provrun.query.rows import Row

LEAVES = "leaves.jsonl.gz"
HIDDEN = frozenset({"state", "stale", "error", "exit", "signal", "outcome", "node", "job"})
"""Columns that a published table lacks: equal in all its rows, true only here, or names of machines and folders."""


def export_crate(
    project: Project, names: Sequence[str] = (), *, path: Path, figures: Sequence[Path] = (),
    revises: Path | None = None, salt: bool = False,
) -> Published:
    """Write an RO-Crate about maps and all they build on into a folder that is new or empty.

    The folder appears as a whole or not at all. The same state gives the same bytes.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Refused(f"{path} is there already", value=str(path), next="name a folder that is new or empty")
    _distinct(figures)
    about = About(
        version=__version__,
        **{name: project.config.text(name) for name in ("title", "author", "orcid", "affiliation", "license")},
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as made:
            crate = CrateFolder(Path(made) / "crate")
            with leaves_file(crate.root / LEAVES) as records:
                summaries, built = summarised(
                    project, names, figures=figures, revises=revises, records=records, salt=salt
                )
                require(summaries, built)
                built.seal()
            facts = Facts(built.statements)
            for name, form in (("provenance.ttl", "turtle"), ("provenance.jsonld", "jsonld")):
                what = "W3C PROV-O" if form == "turtle" else "the same in JSON-LD"
                crate.text(name, FORMATS[form](built), f"The page of provenance, {what}")
            crate.note(LEAVES, "The records of all tasks, to which the page commits")
            write_tables(project, facts, crate)
            variables = _software(Reads(project.registry.database), facts, crate)
            for node, figure in zip(facts.of("Figure"), figures, strict=True):
                crate.copy(f"figures/{figure.name}", figure, "A figure made from the results", node)
            crate.text("CITATION.cff", [citation(about, facts)], "How to cite this crate")
            crate.text(".zenodo.json", [zenodo(about, facts)], "Metadata for Zenodo")
            crate.text("README.md", [readme(facts, about, crate.files)], "What this crate is")
            crate.text(PREVIEW, [preview(facts, about, crate.files)], "This crate for people")
            listed = [one for one in crate.files if one.path != PREVIEW]
            crate.text(NAME, [metadata(facts, about, listed, variables)], "")
            crate.settle(path)
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error.strerror}", value=str(path)) from error
    return Published([one.map.name for one in summaries], built.snapshot, built.digest, path, path / LEAVES)


class CrateFolder:
    """A folder under construction and the files in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[Written] = []
        root.mkdir()

    def text(self, path: str, chunks: Iterable[str], says: str, about: str | None = None) -> None:
        """Write a file of text."""
        with self._place(path).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(chunks)
        self.note(path, says, about)

    def copy(self, path: str, source: Path, says: str, about: str | None = None) -> None:
        """Copy a file."""
        shutil.copyfile(source, self._place(path))
        self.note(path, says, about)

    def bytes(self, path: str, says: str, about: str | None = None) -> _Writing:
        """Give a file to write bytes to; it is kept when the block ends well."""
        return _Writing(self, self._place(path), path, says, about)

    def settle(self, path: Path) -> None:
        """Put the folder where it belongs."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                with (Path(folder) / name).open("rb") as file:
                    os.fsync(file.fileno())
        if path.is_dir():
            path.rmdir()
        self.root.rename(path)

    def _place(self, path: str) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def note(self, path: str, says: str, about: str | None = None) -> None:
        """Take note of a file that is whole."""
        sha256, size = digest_file(self.root / path)
        self.files.append(Written(path, says, size, sha256, about))


class _Writing:
    """A binary file that is noted once it is whole."""

    def __init__(self, crate: CrateFolder, place: Path, path: str, says: str, about: str | None) -> None:
        self._crate = crate
        self._place = place
        self._told = (path, says, about)

    def __enter__(self) -> IO[bytes]:
        self._file = self._place.open("wb")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if error is None:
            self._crate.note(*self._told)
        else:
            self._place.unlink(missing_ok=True)


def _distinct(figures: Sequence[Path]) -> None:
    names = [one.name for one in figures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two figures have the name {twice[0]}", value=twice[0], next="rename one of them")


def write_tables(project: Project, facts: Facts, crate: CrateFolder) -> None:
    """Write the results of each map that has some, as CSV, and as Parquet where pyarrow is there.

    Raises `Changed` when there are more or fewer of them than the page says, because tasks ended meanwhile.
    """
    from provrun.project.asking import columns, results
    from provrun.query.tables import write_csv, write_parquet

    for one in facts.maps:
        expected = one.counts["succeeded"] + one.counts["reused"]
        if not expected:
            continue
        shown = [column for column in columns(project, one.name) if not _hidden(column)]
        with crate.bytes(f"results/{one.name}.csv", f"Parameters and results of {one.name}", one.node) as file:
            rows = write_csv(file, shown, _without_paths(results(project, one.name)))
        if rows != expected:
            raise Changed(one.name)
        try:
            with crate.bytes(f"results/{one.name}.parquet", f"The same of {one.name}, typed", one.node) as file:
                rows = write_parquet(file, shown, _without_paths(results(project, one.name)))
        except MissingExtra:
            continue
        if rows != expected:
            raise Changed(one.name)


def _hidden(column: Column) -> bool:
    return column.part == "field" and column.key in HIDDEN


def _without_paths(rows: Iterable[Row]) -> Iterator[Row]:
    """Leave out where outputs lie: what they are is told by their digests."""
    for row in rows:
        listed = row["outputs"]
        if isinstance(listed, dict) and listed:
            row["outputs"] = {
                name: {key: value for key, value in made.items() if key in ("digest", "size")}
                for name, made in listed.items()
            }
        yield row


def _software(reads: Reads, facts: Facts, crate: CrateFolder) -> dict[str, dict[str, str]]:
    """Write patches of code, and lists of each environment's software; give the environments' variables."""
    for node in facts.of("CodeVersion"):
        digest = facts.text(node, "digest") or ""
        patch = reads.code(digest).patch
        if patch:
            says = "Changes that were not committed, as git apply takes them"
            with crate.bytes(f"code/{digest[:16]}.patch", says, node) as file:
                file.write(patch)
    variables = {}
    for node in facts.of("Environment"):
        digest = facts.text(node, "digest") or ""
        environment = reads.environment(digest)
        variables[node] = dict(environment.variables)
        start = f"environment/{digest[:16]}"
        crate.text(f"{start}.requirements.txt", [lock(environment)], "The packages of an environment", node)
        crate.text(f"{start}.cdx.json", [materials(environment)], "The same as a bill of materials (CycloneDX)", node)
    return variables
