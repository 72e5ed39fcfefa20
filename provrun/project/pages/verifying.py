"""Verifying what was published: with the page alone, with the records of all tasks, with a proof."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from provrun.core.leaves import counted
from provrun.core.merkle import Node, Tree, leaf_hash, unpack
from provrun.errors import NotFound, ProvrunError, StorageFailed, Unsound, UsageError
from provrun.export.checks import wrong
from provrun.export.expanding import expand
from provrun.export.proofs import record_of, write_proof, wrong_proof
from provrun.export.rdf import Triple, write_nt
from provrun.export.reading import NotRead, read_page
from provrun.export.view import Broken, Mapped, View, Wrong

CRATE = "ro-crate-metadata.json"
_PAGES = ("provenance.ttl", "provenance.nt", "provenance.jsonld")
_RECORDS = ("leaves.jsonl", "leaves.jsonl.gz", "leaves.jsonl.zst")


class Verdict(NamedTuple):
    """What was found wrong, in the order in which it was checked; the page's digest and what was checked, in words."""

    problems: list[str]
    digest: str | None
    checked: list[str]


class _Counted(msgspec.Struct):
    """What of a record says where it belongs and which sums it adds."""

    map: str
    index: int
    state: str
    origin: dict[str, object] | None
    wall_us: int | None


def verify(
    path: Path, *, leaves: Path | None = None, member: Path | None = None, printed: str | None = None,
    expanded: Path | None = None,
) -> Verdict:
    """Check a published page, or the one in a crate; whatever cannot be read raises `ProvrunError`.

    If all holds, ``expanded`` gets the graph of the task whose proof ``member`` is, as N-Triples.
    """
    page, in_crate = page_of(path)
    leaves = leaves or in_crate
    proof = _bytes(member) if member is not None else None
    triples = read_page(page)
    view = View(triples)
    checked = [str(page)]
    found: list[Wrong] = list(_wrong_crate(path, page, triples)) if path.is_dir() else []
    digest: str | None = None
    try:
        digest = view.text(view.document(), "pageDigest")
        if printed is not None and digest != printed.strip().lower():
            found.append(Wrong("printed-digest", f"the page has {digest}, {printed} was printed"))
        found += wrong(view)
        if proof is not None:
            found += wrong_proof(view, proof)
            if not found:
                record = record_of(proof)
                checked.append(f"{record.map}/{record.index} ({record.fields['state']}) is among the tasks of the page")
        if leaves is not None:
            from provrun.export.recount import recount
            from provrun.project.pages.leaf_files import opened_leaves

            with opened_leaves(leaves) as lines:
                found += recount(view, lines)
            if not found:
                checked.append(f"{sum(one.commitment.sums.tasks for one in view.maps())} records")
        if expanded is not None and proof is not None and not found:
            statements = expand(view, record_of(proof))
            _write(expanded, "".join(write_nt(statements)).encode())
            checked.append(f"{expanded}: {len(statements)} statements on it")
    except Broken as broken:
        found.append(broken.wrong)
    return Verdict([str(one) for one in dict.fromkeys(found)], digest, checked)


def page_of(path: Path) -> tuple[Path, Path | None]:
    """Give the page at a path; of a crate's folder its page and, where it has them, its records."""
    if not path.is_dir():
        return path, None
    if not (path / CRATE).is_file():
        raise NotFound(f"{path} is no crate: it has no {CRATE}", value=str(path), next="give the file of an export")
    page = next((path / name for name in _PAGES if (path / name).is_file()), None)
    if page is None:
        raise NotFound(f"{path} has no {_PAGES[0]}", value=str(path), next="give the file of an export")
    return page, next((path / name for name in _RECORDS if (path / name).is_file()), None)


def _wrong_crate(crate: Path, page: Path, triples: list[Triple]) -> Iterator[Wrong]:
    """Check the files of a crate, what it says of them, and that other copies of its page say the same."""
    from provrun.export.crate.reading import wrong_crate
    from provrun.record.files import digest_file

    there = {one.relative_to(crate).as_posix() for one in crate.rglob("*") if one.is_file()}
    yield from wrong_crate(_bytes(crate / CRATE), there, lambda name: digest_file(crate / name), triples)
    for other in (crate / name for name in _PAGES):
        if other == page or not other.is_file():
            continue
        try:
            if set(read_page(other)) != set(triples):
                yield Wrong("crate-pages-agree", f"{other.name} says something else than {page.name}")
        except NotRead:
            yield Wrong("crate-pages-agree", f"{other.name} cannot be read")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProvrunError(f"cannot read {path}: {error.strerror}", value=str(path)) from error


def prove(task: str, page: Path, output: Path, *, leaves: Path | None = None, folder: Path | None = None) -> str:
    """Write a proof that a task is among those of a page, from its records or from the registry; give the task."""
    name, _, index = task.rpartition("/")
    if not name or not index.isdecimal():
        raise UsageError(f"{task} is no task", value=task, next="give MAP/INDEX")
    page, in_crate = page_of(page)
    view = View(read_page(page))
    try:
        maps = view.maps()
    except Broken as broken:
        raise Unsound(f"{page}: {broken}", value=str(page), next=f"provrun verify {page}") from None
    one = next((one for one in maps if one.name == name), None)
    if one is None or int(index) >= one.commitment.sums.tasks:
        raise NotFound(f"{page} has no task {task}", value=task, next="provrun prove MAP/INDEX of a map on the page")
    if leaves is not None or in_crate is not None:
        from provrun.project.pages.leaf_files import opened_leaves

        with opened_leaves(leaves or in_crate or page) as lines:
            text = _from_leaves(maps, one, int(index), lines, page)
    else:
        text = _from_registry(folder, one, int(index), page)
    data = text.encode() + b"\n"
    (problem, *_) = [*wrong_proof(view, data), None]
    if problem is not None:
        raise Unsound(f"{task}: {problem}", value=task, next=f"provrun verify {page}")
    _write(output, data)
    return f"{name}/{index}"


def _write(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error.strerror}", value=str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _from_leaves(maps: list[Mapped], wanted: Mapped, index: int, lines: IO[bytes], page: Path) -> str:
    mark = f'"index":{index},"inputs"'.encode()
    for one in maps:
        for place, group in enumerate(one.groups):
            if one is not wanted:
                for _ in range(group.sums.tasks):
                    lines.readline()
                continue
            found = _way(group.sums.tasks, lines, mark, one.name, index)
            if found is not None:
                root, position, line, tree = found
                if (unpack(root.sums), root.hash) != (group.sums, group.root):
                    raise Unsound("the records are not those of the page", value=str(page))
                return write_proof(one.name, place, position, line, tree.path)
    raise Unsound(f"the records lack {wanted.name}/{index}", value=str(page))


def _way(
    count: int, lines: IO[bytes], mark: bytes, name: str, index: int
) -> tuple[Node, int, bytes, Tree] | None:
    """Build the tree of a group from its records, watching one task; None if it is not there.

    Of the other records only that is read from which sums follow: whether they are the page's, its root tells.
    """
    tree = Tree()
    decode = msgspec.json.Decoder(_Counted).decode
    found: tuple[int, bytes] | None = None
    try:
        for _ in range(count):
            line = lines.readline().rstrip(b"\n")
            one = decode(line)
            if found is None and mark in line and (one.map, one.index) == (name, index):
                found = tree.size, line
                tree.watch()
            tree.add(counted(one.state, one.origin is not None, one.wall_us or 0).pack(), leaf_hash(line))
        return None if found is None else (tree.root(), *found, tree)
    except ValueError as error:
        raise Unsound(f"the records are not those of the page: {error}") from None


def _from_registry(folder: Path | None, one: Mapped, index: int, page: Path) -> str:
    from provrun.core.levels import levels
    from provrun.project.pages.committing import SECRET, Committing, secret_of
    from provrun.project.pages.publishing import grouped
    from provrun.project.project import Project
    from provrun.store.summaries import Summaries

    project = Project.find(folder)
    try:
        record = project.map(one.name)
        circumstances = Summaries(project.registry.database).circumstances()
        level = levels(record.name, record.dependencies, record.total)
        grouping = grouped(project, record)
        secrets = [None] + ([secret_of(project.dir)] if (project.dir / SECRET).exists() else [])
        if index < record.total:
            for secret in secrets:
                commitment, way = Committing(project.registry.database, secret).way(
                    record, grouping, circumstances.__getitem__, level, index
                )
                if commitment.root.hash == one.commitment.root:
                    return write_proof(one.name, way.group, way.position, way.record, way.path)
        raise ProvrunError(
            f"{one.name} has changed since {page.name} was exported", value=one.name,
            next="provrun prove ... --leaves FILE proves it from the records that were exported with the page",
        )
    finally:
        project.close()
