"""Reproducing: a sample of published tasks is run again, from the recorded code, and what it gives is compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provrun.core.reproduction import Judged, Verdict, shares
from provrun.errors import NotFound, Unsound, UsageError
from provrun.export.reading import read_page
from provrun.export.view import Broken, View
from provrun.project.pages.checkouts import local_repository
from provrun.project.pages.evidence import Evidence
from provrun.project.pages.recorded import InCrate, InRegistry, Nowhere, Recorded
from provrun.project.pages.rerunning import Rerun, Wish
from provrun.project.pages.verifying import page_of, verify
from provrun.record.scratch import Scratch

if TYPE_CHECKING:
    from provrun.project.pages.software import Used

class Report(NamedTuple):
    """A verdict for each task of the sample, and the software with which they ran."""

    digest: str
    nonce: str
    used: list[Used]
    tasks: list[Judged]

    @property
    def environment(self) -> list[str]:
        """Say in words in what the software differs from the recorded one."""
        return list(dict.fromkeys(line for one in self.used for line in one.differs))

    def count(self, *verdicts: Verdict) -> int:
        """Count the tasks of some verdicts."""
        return sum(one.verdict in verdicts for one in self.tasks)


def reproduce(
    source: str, wish: Wish, *, leaves: Path | None = None, folder: Path | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Report:
    """Run a sample again of the tasks of a crate, of a page with its records, or of a map of the project.

    Nothing of the project is touched: all happens in a temporary folder. Raises `Unsound` for a page that does not
    hold.
    """
    # Not one of `tempfile`: of those nobody removes what a process leaves that is ended by a signal.
    with Scratch() as place:
        scratch = place.path.resolve()
        path = Path(source)
        if path.exists():
            page, in_crate = page_of(path)
            records = leaves or in_crate
            if records is None:
                raise UsageError(
                    f"{page.name} has the digests of its tasks, not their parameters", value=str(page),
                    next=f"provrun reproduce {page} --leaves FILE, which was exported with it",
                )
            values: Recorded = InCrate(path) if path.is_dir() else Nowhere()
            return _reproduce(path, page, records, values, wish, scratch, tell)
        return _of_project(source, wish, folder, scratch, tell)


def _of_project(
    name: str, wish: Wish, folder: Path | None, scratch: Path, tell: Callable[[str], object]
) -> Report:
    from provrun.errors import NoProject
    from provrun.project.pages.publishing import export
    from provrun.project.project import Project

    try:
        project = Project.find(folder)
    except NoProject:
        raise NotFound(
            f"there is no file or folder {name}, and no project here that could have a map of this name", value=name,
            next="provrun reproduce CRATE, or EXPORT --leaves FILE",
        ) from None
    try:
        record = project.map(name)
        page, records = scratch / "page.ttl", scratch / "leaves.jsonl"
        export(project, [name], path=page, leaves=records)
        own = wish._replace(
            maps=wish.maps or (name,),
            repository=wish.repository or local_repository(project.root / record.workdir),
        )
        return _reproduce(page, page, records, InRegistry(project, scratch), own, scratch, tell)
    finally:
        project.close()


def _reproduce(
    path: Path, page: Path, records: Path, recorded: Recorded, wish: Wish, scratch: Path, tell: Callable[[str], object]
) -> Report:
    verdict = verify(path, leaves=records)
    if verdict.problems or verdict.digest is None:
        raise Unsound(
            f"the page does not hold: {verdict.problems[0]}", value=str(path), next=f"provrun verify {path}"
        )
    tell(f"the page and its records hold; page digest {verdict.digest}")
    try:
        evidence = Evidence(View(read_page(page)), records)
    except Broken as broken:
        raise Unsound(f"the page does not hold: {broken}", value=str(page)) from None
    for one in wish.maps:
        if one not in evidence.maps:
            raise NotFound(f"{page.name} has no map {one}", value=one, next=f"maps: {' '.join(evidence.maps)}")
    counts = {
        name: one.commitment.sums.succeeded + one.commitment.sums.reused
        for name, one in evidence.maps.items() if not wish.maps or name in wish.maps
    }
    sample = [
        record for name, share in shares(counts, wish.sample).items()
        for record in evidence.drawn(name, share, wish.nonce.encode())
    ]
    if not sample:
        raise NotFound("there is no task with a result to run again", value=str(page))
    evidence.fetch_read(sample)
    rerun = Rerun(evidence, recorded, wish, scratch, tell)
    judged = rerun.judge(sample)
    return Report(verdict.digest, wish.nonce, rerun.environments.used, judged)
