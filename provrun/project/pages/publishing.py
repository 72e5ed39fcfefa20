"""Publishing: what maps made, as a page of W3C PROV."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provrun import __version__
from provrun.core.cohorts import Grouping
from provrun.core.history import Tried
from provrun.core.levels import levels
from provrun.core.page_order import in_page_order
from provrun.core.records import REUSED
from provrun.errors import NotFound, StorageFailed, UsageError
from provrun.export.census import Census, Standing
from provrun.export.document import Built, Figure, Told, build
from provrun.export.exemplars import Exemplar
from provrun.export.formats import FORMATS
from provrun.export.laws import require
from provrun.export.summary import Part, Summary, additions, choose_exemplars, counted_twice, pool
from provrun.export.things import Captured, Known
from provrun.project.pages.committing import Committing, Planted, secret_of
from provrun.project.pages.leaf_files import LeavesFile, leaves_file
from provrun.record.files import digest_file
from provrun.store.reads import Reads
from provrun.store.summaries import Summaries, brought

if TYPE_CHECKING:
    from provrun.core.history import Use
    from provrun.core.records import MapRecord
    from provrun.core.states import Outcome
    from provrun.export.census import Cohort
    from provrun.project.project import Project


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|^`\\#?]+")
MOST_EXEMPLARS = 8  # attempts of a map
MOST_DRAWN = 64  # tasks, of which those count that have succeeded


class Published(NamedTuple):
    """What an export wrote: the maps on the page, its snapshot and digest, the paths (None for standard output)."""

    maps: list[str]
    snapshot: str
    digest: str
    path: Path | None
    leaves: Path | None = None


def export(
    project: Project, names: Sequence[str] = (), *, format: str = "turtle", path: Path | None = None,
    figures: Sequence[Path] = (), revises: Path | None = None, write: Callable[[str], object] | None = None,
    leaves: Path | None = None, salt: bool = False, tasks: bool = False,
) -> Published:
    """Write a page about maps and all they build on (all maps if none is named) to a file, or through ``write``.

    ``leaves`` gets the records of all tasks; with ``salt`` nobody can guess a record that he was not given. With
    ``tasks`` every attempt follows the page, streamed in constant memory; such a file states no digest. Nothing is
    written when a law of provenance is broken or a file cannot be read.
    """
    if tasks:
        from provrun.project.pages import task_level

        task_level.check_format(format)
    with leaves_file(leaves) as records:
        summaries, built = summarised(
            project, names, figures=figures, revises=revises, records=records, salt=salt, exemplars=not tasks
        )
        require(summaries, built)
        maps = [one.map.name for one in summaries]
        if tasks:
            chunks = task_level.stream(project, format, summaries, built, None if path is None else path.parent)
        else:
            built.seal()
            chunks = FORMATS[format](built)
        if path is not None:
            _write_whole(path, chunks)
        elif write is not None:
            for chunk in chunks if tasks else list(chunks):
                write(chunk)
    return Published(maps, built.snapshot, built.digest, path, leaves)


def summarised(
    project: Project, names: Sequence[str] = (), *, figures: Sequence[Path] = (), revises: Path | None = None,
    records: LeavesFile | None = None, salt: bool = False, exemplars: bool = True,
) -> tuple[list[Summary], Built]:
    """Count maps and all they build on, upstream first, and build their page; ``records`` takes those of all tasks."""
    registry = project.registry
    chosen = in_page_order(registry.select_maps([project.map(name).name for name in names]))
    if not chosen:
        raise NotFound("there is no map to export", next="provrun submit makes one")
    summaries = Summaries(registry.database)
    reads = Reads(registry.database)
    circumstances = summaries.circumstances()
    read_by_others = {d.upstream for record in chosen for d in record.dependencies if d.kind != "after"}
    acceptances = reads.acceptances()
    standings: dict[int, Standing] = {}
    ids = {record.name: record.id for record in chosen}
    by_id = {id: name for name, id in ids.items()}
    told: list[Told] = []
    committing = Committing(registry.database, secret_of(project.dir) if salt else None)
    for record in chosen:
        level = levels(record.name, record.dependencies, record.total)
        submissions = reads.submissions(record.id)
        census = Census(
            circumstances, level, standings, _members(reads, record), read_by_others=record.name in read_by_others,
            additions=additions(submissions),
        )
        write = None if records is None else records.write
        apart = committing.commit_apart(record, circumstances.__getitem__, level, census.count, write)
        if census.standing is not None:
            standings[record.id] = census.standing
        parts = _parts(summaries, record, census, level)
        summary = Summary(
            record, census, parts, submissions, choose_exemplars(parts),
            summaries.own_inputs(record.id),
            acceptances=[one for one in acceptances if one.map == record.id], folder=_folder(project, record),
            brought=brought(registry.database, record.id),
        )
        grouping = summary.grouping()
        planted = apart.planted(grouping.groups)
        if planted is None:
            if records is not None:
                records.begin_again()
            planted = committing.commit(record, grouping, circumstances.__getitem__, level, write)
        summary.commitment = planted.commitment
        if records is not None:
            records.end_map(planted.order)
        shown = _exemplars(reads, summary, planted, by_id) if exemplars else []
        told.append(Told(summary, shown, level))
    built = build(
        registry.uuid, told, _known(reads, summaries, project.config.text("orcid") or None), circumstances,
        figures=[_figure(one) for one in figures], leaves=_leaves(chosen),
        revises=None if revises is None else _page_name(revises), base=_base(project.config.text("export_base")),
        tasks=not exemplars,
    )
    return [one.summary for one in told], built


def grouped(project: Project, record: MapRecord) -> Grouping:
    """Say in which group each task of a map lies."""
    summaries = Summaries(project.registry.database)
    level = levels(record.name, record.dependencies, record.total)
    census = Census(summaries.circumstances(), level, {}, lambda _: (), read_by_others=False)
    census.count(summaries.histories(record.id))
    published = [
        ([one.key for one in members], tail, any(one.shown for one in members))
        for members, tail in pool(census.cohorts.values())
    ]
    return Grouping(published, reused=census.taken, unattempted=census.unattempted > 0)


def _folder(project: Project, record: MapRecord) -> str | None:
    """Say where in its repository the tasks of a map start."""
    code = project.registry.submitted_code(record.id)[1].code
    folder = (project.root / record.workdir).resolve()
    if code.kind != "git" or not folder.is_relative_to(code.root):
        return None
    return folder.relative_to(code.root).as_posix()


def _parts(summaries: Summaries, record: MapRecord, census: Census, level: Callable[[int], int]) -> list[Part]:
    """Order and pool cohorts, give those that stand for tasks a position, and measure what they used."""
    parts: list[Part] = []
    position = 0
    for number, (members, tail) in enumerate(pool(census.cohorts.values())):
        use = _use(summaries, record, members, level)
        shown = any(cohort.shown for cohort in members)
        twice = counted_twice(members, census.several) if tail else ({}, {})
        parts.append(Part(number, members, tail, use, position if shown else None, *twice))
        position += shown
    return parts


def _use(summaries: Summaries, record: MapRecord, cohorts: Sequence[Cohort], level: Callable[[int], int]) -> Use:
    """Measure what the attempts of some cohorts used; the database knows all of an attempt's key but its level."""
    mine = {(context, one.key.outcome, one.key.level) for one in cohorts for context in one.contexts}
    contexts: dict[Outcome, set[int]] = {}
    for context, outcome, _ in mine:
        contexts.setdefault(outcome, set()).add(context)
    listed = {outcome: sorted(found) for outcome, found in sorted(contexts.items())}
    if not any(one.upstream == record.name for one in record.dependencies):
        return summaries.use(record.id, listed)
    return summaries.use(record.id, listed, lambda index, context, outcome: (context, outcome, level(index)) in mine)


def _members(reads: Reads, record: MapRecord) -> Callable[[int], Iterable[int]]:
    """Give the upstream indices of a group or chunk of a map by its number."""

    def members(number: int) -> Iterable[int]:
        part = reads.part(record.id, number)
        runs = part.members if part is not None else ()
        return (first + step * k for first, step, count in runs for k in range(count))

    return members


def _exemplars(reads: Reads, summary: Summary, planted: Planted, names: Mapping[int, str]) -> list[Exemplar]:
    """Tell tasks in full: those chosen, then succeeded ones drawn from the root, with eight attempts in all."""
    chosen = [one.task for one in summary.exemplars]
    found: dict[int, Exemplar] = {}
    left = MOST_EXEMPLARS
    for number, task in enumerate(chain(chosen, islice(planted.sample(), MOST_DRAWN))):
        if not left:
            break  # each draw looks along the map
        if task in found:
            continue
        told = exemplar(reads, summary.map, task, names)
        drawn = number >= len(chosen)
        if 0 < len(told.attempts) <= left and (told.accepted > 0 or not drawn):
            found[task] = told
            left -= len(told.attempts)
    return list(found.values())


def exemplar(reads: Reads, record: MapRecord, index: int, names: Mapping[int, str]) -> Exemplar:
    """Give a task in full; ``names`` are those of maps on the page."""
    shown = reads.shown(record.id, index)
    assert shown is not None, f"{record.name}/{index} is gone"
    attempts = [one for one in reads.attempts(record.id, index) if one.number != REUSED]
    return Exemplar(
        task=index, params=shown.task.params, accepted=shown.task.accepted,
        attempts=[
            Tried(a.number, a.context, a.outcome, a.started, a.wall, a.detail, a.result_digest, a.trail)
            for a in attempts
        ],
        results={a.number: a.result for a in attempts},
        artifacts={a.number: reads.artifacts(record.id, index, a.number) for a in attempts},
        reads={a.number: _read_by(reads, a.trail, names) for a in attempts},
    )


def _read_by(reads: Reads, trail: str | None, names: Mapping[int, str]) -> list[tuple[str, int, int]]:
    """Give the attempts whose results one read, where the record lists them one by one."""
    found = []
    for map, first, second in json.loads(trail or "[]"):
        if map not in names or isinstance(second, str):
            continue
        if second != REUSED:
            found.append((names[map], first, second))
        elif (origin := reads.origins(map, [first])[first]).registry == reads.uuid:
            found.append((origin.map, origin.task, origin.attempt))
    return found


def _known(reads: Reads, summaries: Summaries, orcid: str | None) -> Known:
    codes = {one.digest: Captured(reads.code(one.digest).code, one.captured or 0) for one in reads.codes()}
    hosts = {around.host for around in summaries.circumstances().values()}
    return Known(
        codes=codes, environments={one.digest: reads.environment(one.digest) for one in reads.environments()},
        hosts={digest: reads.host(digest) for digest in hosts}, sizes=summaries.sizes_of_inputs(),
        version=__version__, orcid=orcid,
    )


def _base(configured: str) -> str | None:
    """Check the address under which things are named: what follows it is a UUID and a fragment."""
    if not configured:
        return None
    if not _ADDRESS.fullmatch(configured):
        raise UsageError(
            "export_base is no address to which a name could be added", value=configured,
            next="provrun config export_base https://example.org/runs/",
        )
    return configured


def _leaves(chosen: Sequence[MapRecord]) -> list[str]:
    """Name the maps on which no other of the page builds: figures are made from their results."""
    built_on = {dependency.upstream for record in chosen for dependency in record.dependencies}
    return [record.name for record in chosen if record.name not in built_on]


def _figure(path: Path) -> Figure:
    if not path.is_file():
        raise NotFound(f"no figure {path}", value=str(path), next="give the path of a file")
    sha256, size = digest_file(path)
    return Figure(path.name, sha256, size)


def _page_name(path: Path) -> str:
    """Find the name by which a published page speaks of itself."""
    from rdflib import RDF, Graph, URIRef

    guessed = {".ttl": "turtle", ".nt": "nt", ".jsonld": "json-ld", ".trig": "trig"}
    if path.suffix not in guessed:
        raise NotFound(f"{path} is no RDF page", value=str(path), next="give a .ttl, .nt, .jsonld or .trig export")
    graph = Graph().parse(path, format=guessed[path.suffix])
    bundles = sorted(str(one) for one in graph.subjects(RDF.type, URIRef("http://www.w3.org/ns/prov#Bundle")))
    mine = [one for one in bundles if one.endswith("#page")]
    if not mine:
        raise NotFound(f"{path} is no page of provrun", value=str(path))
    return mine[-1]


def _write_whole(path: Path, chunks: Iterable[str]) -> None:
    """Write a file as a whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", newline="\n", delete=False
        ) as file:
            try:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o666 & ~_umask())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error.strerror}", value=str(path)) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
