"""Running a sample of published tasks again, after those that they read, and a verdict for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from provrun.core.canonical import Blob, Value
from provrun.core.reproduction import WRONG, Judged, Verdict, is_close
from provrun.core.states import Outcome
from provrun.export.recipes import code_of
from provrun.export.view import Broken
from provrun.project.pages.checkouts import Checkouts
from provrun.project.pages.evidence import Evidence, Named, Needed, Unknown
from provrun.project.pages.recorded import Recorded
from provrun.project.pages.reruns import Bench, Made, Task, value_of
from provrun.project.pages.software import Environments
from provrun.record.installing import CannotInstall
from provrun.record.rebuilding import CannotRebuild

if TYPE_CHECKING:
    from provrun.core.leaves import Record
    from provrun.core.messages import Result
    from provrun.project.pages.software import Used

SAMPLE = 10
_UNDECIDED = frozenset({Outcome.LAUNCHER, Outcome.TIMEOUT, Outcome.MEMORY})  # this machine's, as likely as the task's
MOST_RERUN = 10_000
"""Tasks that are run again at most because those of a sample read them."""


class Wish(NamedTuple):
    """What is wanted: how many tasks, of which maps (all if none is named), drawn with which nonce, within ``rtol``.

    ``repository`` and ``inputs`` are where to find code and input files. With ``rebuild`` tasks run with the recorded
    software, else with what is here.
    """

    sample: int = SAMPLE
    maps: tuple[str, ...] = ()
    nonce: str = ""
    rtol: float | None = None
    repository: str | None = None
    inputs: Path | None = None
    slots: int | None = None
    rebuild: bool = False


class Rerun:
    """Runs the tasks of a sample again, after those that they read where what these gave is not at hand."""

    def __init__(
        self, evidence: Evidence, recorded: Recorded, wish: Wish, scratch: Path, tell: Callable[[str], object]
    ) -> None:
        self.evidence = evidence
        self.recorded = recorded
        self.wish = wish
        self.tell = tell
        self.scratch = scratch
        self.slots = wish.slots or len(os.sched_getaffinity(0))
        self.checkouts = Checkouts(scratch, wish.repository, recorded.patches, tell)
        self.environments = Environments(recorded, evidence, scratch, wish.rebuild, tell)
        self.needed: dict[Named, Needed] = {}
        self.blocked: dict[Named, str] = {}
        self.known: dict[Named, Made] = {}
        self.results: dict[Named, Result] = {}
        self.shared: dict[Named, list[str]] = {}

    def judge(self, sample: Sequence[Record]) -> list[Judged]:
        """Run what is needed, and give a verdict for each task of the sample."""
        from provrun.project.running import new_uuid

        for record in sample:
            self._need(record)
        self._tell_what_runs()
        for record in sample:
            with suppress(CannotRebuild, CannotInstall, Broken):  # which each of its tasks will say
                self._surroundings(record)
        more = len(self.needed) - len(sample)
        self.tell(f"running {len(sample)} tasks again" + (f" and {more} that they read" if more > 0 else ""))
        with Bench(self.scratch, new_uuid(), self.slots) as bench:
            for name in self.evidence.maps:
                self._run(bench, name)
            return [self._excused(record, self._judged(bench, record)) for record in sample]

    def _tell_what_runs(self) -> None:
        """Say which commands and functions will run: they are somebody else's."""
        for name in self.evidence.maps:
            if any(map == name for map, _ in self.needed):
                recipe = self.evidence.applied[name].recipe
                self.tell(f"{name} runs {recipe.function or ' '.join(recipe.words)}")

    # What is needed

    def _need(self, record: Record) -> None:
        pending = [record]
        while pending:
            one = pending.pop()
            named = (one.map, one.index)
            if named in self.needed or named in self.blocked:
                continue
            try:
                self._require_room(one.map)
                needed = self.evidence.needed(one)
                upstream = self._upstream(needed)
            except Unknown as why:
                self.blocked[named] = str(why)
                continue
            self.needed[named] = needed
            pending += upstream

    def _require_room(self, map: str) -> None:
        width = self.evidence.applied[map].policy.width
        if width > self.slots:
            raise Unknown(f"it takes {width} cores, and there are {self.slots} (--slots {width} runs it all the same)")

    def _upstream(self, needed: Needed) -> list[Record]:
        """Give the tasks that must run before one; those are left out whose results are at hand."""
        found: list[Record] = []
        for map, entries in needed.reads.items():
            missing = []
            for index, number, result in entries:
                params = self.evidence.params(map, index)
                made = self.recorded.result(map, index, number, result, params) if result is not None else None
                if made is not None:
                    self.known[map, index] = made
                else:
                    missing.append((index, number, result))
            records = self.evidence.records(map, {index for index, _, _ in missing})
            for index, number, result in missing:
                fields = records[index].fields
                if (fields["attempt"], fields["result"]) != (number, result):
                    raise Unknown(f"it read attempt {number} of {map}/{index}, which has been replaced since")
            self.evidence.fetch_read(records.values())
            found += records.values()
        if len(self.needed) + len(found) > MOST_RERUN:
            raise Unknown(f"more than {MOST_RERUN:,} tasks would have to run before it")
        return found

    # Running

    def _run(self, bench: Bench, name: str) -> None:
        """Run the tasks of a map that are needed, those of one version of code and one environment at a time."""
        alike: dict[tuple[object, object], list[Needed]] = {}
        for (map, _), one in self.needed.items():
            if map == name:
                fields = one.record.fields
                alike.setdefault((fields["code"], fields["environment"]), []).append(one)
        how = self.evidence.applied[name]
        for some in alike.values():
            ready = [one for one in some if self._is_ready(one)]
            try:
                target, used = self._surroundings(some[0].record)
                workdir = _folder_in(target, how.folder or ".")
                file = (how.recipe.function or "").rpartition(":")[0]
                if file.endswith(".py"):
                    _inside(target, workdir / file, f"the file {file}")
                for one in ready:
                    self._place_inputs(one, workdir)
            except (CannotRebuild, CannotInstall, Broken) as error:
                self.blocked.update(((name, one.record.index), _words(error)) for one in ready)
                continue
            if not ready:
                continue
            tasks = [self._task(one, how.reduces) for one in ready]
            each = sorted({map for task in tasks for map in task.each}, key=self._position, reverse=True)
            own = sorted({key for one in ready for key in cast("dict[str, Value]", one.record.fields["params"])})
            ran = bench.run(
                name, how.recipe, how.digest, workdir, own, each, sorted(how.reduces), tasks, how.policy, used
            )
            for task in tasks:
                self.shared[name, task.at] = ran.shared
                result = ran.results.get(task.at)
                if result is not None:
                    self.results[name, task.at] = result
                    if result.outcome == Outcome.SUCCEEDED:
                        self.known.setdefault((name, task.at), bench.made(task, result, workdir))
            self.tell(f"{name}: {len(ran.results)} of {len(tasks)} have ended")

    def _surroundings(self, record: Record) -> tuple[Path, Used]:
        """Give a folder with a task's code, and its software; raises where they cannot be had."""
        digest = str(record.fields["code"])
        code = code_of(self.evidence.view, digest)
        if code.digest != digest:
            raise CannotRebuild(
                "its code is more than the commit and the tree on the page (repositories inside of it), or another one",
                value=digest[:12],
            )
        tree = self.checkouts.of(code)
        return tree, self.environments.of(str(record.fields["environment"]), tree)

    def _is_ready(self, one: Needed) -> bool:
        """Tell whether all that a task reads is there, and is what was recorded."""
        for map, entries in one.reads.items():
            for index, _, digest in entries:
                again = self.results.get((map, index))
                if (map, index) not in self.known:
                    why = self.blocked.get((map, index), "it did not end well")
                    self.blocked[one.record.map, one.record.index] = f"it reads {map}/{index}: {why}"
                    return False
                found = None if again is None or again.result_digest is None else again.result_digest.hex()
                if again is not None and found != digest:
                    self.blocked[one.record.map, one.record.index] = f"it reads {map}/{index}, which came out otherwise"
                    return False
        return True

    def _position(self, name: str) -> int:
        return self.evidence.maps[name].position

    def _task(self, one: Needed, reduces: frozenset[str]) -> Task:
        each = {map: self.known[map, entries[0][0]] for map, entries in one.reads.items() if map not in reduces}
        rows = {
            map: [(index, self.known[map, index]) for index, _, _ in entries]
            for map, entries in one.reads.items() if map in reduces
        }
        return Task(one.record.index, one.params, one.upstream, each, rows)

    def _place_inputs(self, one: Needed, workdir: Path) -> None:
        """Let a task find its input files where it looks for them."""
        if self.wish.inputs is None:
            return
        from provrun.core.template import Template

        known = {"index": one.record.index, "task": f"{one.record.map}/{one.record.index}", **one.params}
        for text in self.evidence.applied[one.record.map].recipe.inputs:
            try:
                (name,) = Template.parse((text,), False).fill(lambda name: known[name.rpartition(".param.")[2]])
            except KeyError:  # what another task has made, which lies where that one has put it
                continue
            source, target = self.wish.inputs / name, workdir / name
            if source.exists() and not target.exists():
                _folder_in(self.scratch, target.parent)
                target.symlink_to(source.resolve())

    # Judging

    def _excused(self, record: Record, judged: Judged) -> Judged:
        """Take back a verdict that may be due to a recorded environment that is not whole."""
        if judged.verdict not in WRONG:
            return judged
        lacking = self._surroundings(record)[1].lacking
        if not lacking:
            return judged
        why = f"its environment lacks {', '.join(lacking)}; in what there is: {judged.verdict}, {judged.why}"
        return judged._replace(verdict=Verdict.NOT_RUN, why=why)

    def _judged(self, bench: Bench, record: Record) -> Judged:
        named = (record.map, record.index)
        task = f"{record.map}/{record.index}"
        fields = record.fields
        digest = cast("str | None", fields["result"])
        if named in self.blocked:
            return Judged(task, Verdict.NOT_RUN, self.blocked[named], digest)
        result = self.results.get(named)
        if result is None:
            return Judged(task, Verdict.FAILED, "it ended the process that ran it", digest)
        if result.outcome != Outcome.SUCCEEDED:
            why = result.error or Outcome(result.outcome).word
            verdict = Verdict.NOT_RUN if result.outcome in _UNDECIDED else Verdict.FAILED
            return Judged(task, verdict, why.strip().splitlines()[-1] if why.strip() else "", digest)
        made = result.artifacts or []
        own = sorted(one.digest.hex() for one in made if one.role == "input")
        inputs = cast("dict[str, list[str]]", fields["inputs"])
        if own != inputs["own"] or self.shared[named] != inputs["shared"]:
            return Judged(task, Verdict.NOT_RUN, "its input files are others than those that were read", digest)
        outputs = {one.name: one.digest.hex() for one in made if one.role == "output"}
        recorded = {name: one["digest"] for name, one in cast("dict[str, dict[str, str]]", fields["outputs"]).items()}
        found = None if result.result_digest is None else result.result_digest.hex()
        differing = sorted(name for name in {*outputs, *recorded} if outputs.get(name) != recorded.get(name))
        if digest is None and found is None and not recorded and not outputs:
            return Judged(task, Verdict.NOTHING, "it ended well; no result and no output was recorded")
        if differing:
            return Judged(task, Verdict.DIFFERS, f"output {', '.join(differing)} differs", digest, found)
        if found == digest:
            return Judged(task, Verdict.REPRODUCED, "", digest, found)
        return self._compared(bench, record, result, digest, found)

    def _compared(
        self, bench: Bench, record: Record, result: Result, digest: str | None, found: str | None
    ) -> Judged:
        task = f"{record.map}/{record.index}"
        if self.wish.rtol is None or digest is None:
            return Judged(task, Verdict.DIFFERS, "its result is another one", digest, found)
        number = cast("int", record.fields["attempt"])
        before = self.recorded.result(record.map, record.index, number, digest, self._params(record))
        if before is None:
            why = "its result is another one, and the recorded one is not here to be compared within a tolerance"
            return Judged(task, Verdict.DIFFERS, why, digest, found)
        now = {one.digest.hex(): (bench.job, one.place) for one in result.artifacts or [] if one.place}
        close = is_close(
            value_of(before.result), value_of(result.result), self.wish.rtol,
            lambda one, other: self._close_blobs(one, before, other, now),
        )
        if close:
            return Judged(task, Verdict.CLOSE, f"within {self.wish.rtol:g}", digest, found)
        return Judged(task, Verdict.DIFFERS, f"not within {self.wish.rtol:g}", digest, found)

    def _params(self, record: Record) -> dict[str, Value]:
        return self.needed[record.map, record.index].params

    def _close_blobs(self, one: Blob, before: Made, other: Blob, now: dict[str, tuple[str, str]]) -> bool:
        """Compare arrays element by element; other content is the same or it is not."""
        if one["format"] != "npy" or other["format"] != "npy":
            return False
        from io import BytesIO

        from provrun.run.packs import blob_reader

        try:
            import numpy as np
        except ImportError:
            return False
        arrays = [
            np.load(BytesIO(blob_reader(self.scratch, places)(str(blob["digest"]))), allow_pickle=False)
            for blob, places in ((one, before.blobs), (other, now))
        ]
        first, second = arrays
        if first.shape != second.shape or first.dtype != second.dtype:
            return False
        return bool(np.allclose(second, first, rtol=self.wish.rtol or 0.0, atol=0.0, equal_nan=True))


def _folder_in(place: Path, folder: str | Path) -> Path:
    """Make a folder beneath another one, however its path leads there."""
    target = _inside(place, place / folder, f"the folder {folder}")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRebuild(f"the folder {folder} cannot be had: {error}", value=str(folder)) from None
    return target


def _inside(place: Path, path: Path, named: str) -> Path:
    """Give where a path leads, which must be beneath a folder: no page has a say about others."""
    try:
        target = path.resolve()
    except (OSError, ValueError) as error:
        raise CannotRebuild(f"{named} cannot be had: {error}", value=str(path)) from None
    if not target.is_relative_to(place.resolve()):
        raise CannotRebuild(f"the page names {named}, outside of the code", value=str(path))
    return target


def _words(error: CannotRebuild | CannotInstall | Broken) -> str:
    if isinstance(error, Broken):
        return str(error)
    return error.message + (f" ({error.next})" if error.next else "")
