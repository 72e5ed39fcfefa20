"""What came of a task, result, file, version of code or environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from provrun.core.answers import FoundArtifact, Shown, SubmissionRecord
from provrun.core.canonical import decode, encode
from provrun.core.records import Artifact, Dependency, MapRecord
from provrun.query import labels
from provrun.query.graph import Node
from provrun.query.resolving import (
    AttemptSubject,
    CodeSubject,
    ContentSubject,
    EnvironmentSubject,
    JobSubject,
    MapSubject,
    Subject,
    TaskSubject,
)
from provrun.query.tracing import BREADTH, Tracer
from provrun.query.view import View


class Down(Tracer):
    def __init__(self, view: View, root: str) -> None:
        super().__init__(view, root, "down")

    def start(self, subject: Subject) -> None:
        match subject:
            case MapSubject(map=map):
                self.map(map)
            case TaskSubject(map=map, shown=shown):
                self.graph.root = self.task(map, shown)
            case AttemptSubject(map=map, shown=shown, number=number):
                self.graph.root = self.task(map, shown, number)
            case CodeSubject(digest=digest):
                self.graph.root = self.code(digest)
                self.runs(self.used("code", digest))
            case EnvironmentSubject(digest=digest):
                self.graph.root = self.environment(digest)
                self.runs(self.used("environment", digest))
            case JobSubject(job=job):
                self.graph.root = self.job(job)
                self.runs(self.used("job", job.id))
            case ContentSubject():
                self.content(subject)

    def used(self, field: str, value: object) -> Iterable[tuple[int, int]]:
        """Give (map, attempts) for the sums over attempts whose circumstances hold a value."""
        sums: Counter[int] = Counter()
        tallies = self.view.reads.tallies()
        self.view.contexts.load({tally.context for tally in tallies})
        for tally in tallies:
            if getattr(self.view.contexts[tally.context], field) == value:
                sums[tally.map] += tally.attempts
        return sums.items()

    def runs(self, sums: Iterable[tuple[int, int]]) -> None:
        for id, n in sorted(sums):
            map = self.view.map_by_id(id)
            self.map(map)
            self.graph.connect(self.graph.root, f"was used by {n:,} attempts of", map.name)

    def map(self, map: MapRecord) -> None:
        if not self.map_node(map):
            return
        for record in self.view.reads.downstreams(map.id):
            downstream = self.view.map_by_id(record.map)
            self.map(downstream)
            flows = record.dependency.kind != "after"
            self.graph.connect(map.name, "feeds" if flows else "goes before", downstream.name)
        for other, n in self.view.reads.submitted_maps(map.id):
            submitted = self.view.map_by_id(other)
            self.map(submitted)
            self.graph.connect(map.name, f"submitted {n:,} tasks of", submitted.name)

    def task(self, map: MapRecord, shown: Shown, number: int | None = None) -> str:
        id = f"{map.name}/{shown.task.index}"
        attempt = shown.attempt
        accepted = attempt is not None and attempt.number == shown.task.accepted
        result = f"  {labels.result_line(attempt.result, 70)}" if accepted and attempt and attempt.result else ""
        detail: dict[str, object] = {"task": id, "state": shown.task.state.word}
        if not self.graph.add(Node(id, "task", f"{id}  {shown.task.state.word}{result}", detail)):
            return id
        read = {artifact.digest for artifact in shown.artifacts if artifact.role == "input"}
        for artifact in shown.artifacts if accepted else ():
            if artifact.role == "output":
                file = self.readers(artifact, (map.id, shown.task.index), apart=artifact.digest in read)
                self.graph.connect(id, f"wrote {artifact.name}", file)
        for record in self.view.reads.downstreams(map.id):
            if record.dependency.kind != "after":
                self.readers_of_task(id, shown, self.view.map_by_id(record.map), record.dependency)
        self.reusers(id, map, shown)
        for other, submission in self.view.reads.submitted_by(map.id, shown.task.index, number):
            self.submitted(id, self.view.map_by_id(other), submission)
        return id

    def reusers(self, id: str, map: MapRecord, shown: Shown) -> None:
        """Follow the tasks whose results its attempts have made."""
        found = self.view.reads.reusing(map.name, shown.task.index, BREADTH + 1)
        for other, index in found[:BREADTH]:
            reuser = self.view.reads.shown(other, index) if not self.full else None
            if reuser is not None:
                self.graph.connect(id, "is reused by", self.task(self.view.map_by_id(other), reuser))
        if len(found) > BREADTH:
            key = f"more:{id}:reused"
            self.graph.add(Node(key, "results", "further tasks that reuse it", {"task": id}))
            self.graph.connect(id, "is reused by", key)

    def submitted(self, id: str, map: MapRecord, submission: SubmissionRecord) -> None:
        """Follow the tasks that a task has submitted, a few one by one."""
        listed = range(submission.first, submission.first + min(submission.added, BREADTH))
        for index in listed:
            shown = self.view.reads.shown(map.id, index) if not self.full else None
            if shown is not None:
                self.graph.connect(id, "submitted", self.task(map, shown))
        if submission.added > len(listed):
            key = f"more:{id}:{map.name}:{submission.first}"
            n = submission.added - len(listed)
            self.graph.add(Node(key, "results", f"{n:,} more tasks of {map.name}", {"map": map.name, "count": n}))
            self.graph.connect(id, "submitted", key)

    def readers(self, artifact: Artifact, writer: tuple[int, int], *, apart: bool) -> str:
        id = self.file(artifact.path, artifact.digest.hex(), artifact.size, apart=apart)
        found = self.view.reads.with_digest(artifact.digest, artifact.digest, 10 * BREADTH)
        others = (each for each in found if each.artifact.role == "input" and (each.map, each.index) != writer)
        for each in islice(others, BREADTH):
            self.read_by(id, each.map, each.index)
        return id

    def read_by(self, id: str, map_id: int, index: int) -> None:
        shown = self.view.reads.shown(map_id, index) if not self.full else None
        if shown is not None:
            self.graph.connect(id, "was read by", self.task(self.view.map_by_id(map_id), shown))

    def readers_of_task(self, id: str, shown: Shown, map: MapRecord, dependency: Dependency) -> None:
        upstream = reader_number(self.view, shown, map, dependency)
        if upstream is None:
            count, indices = map.total, list(range(min(map.total, BREADTH)))
        else:
            count = self.view.reads.count_reading(map.id, upstream)
            indices = self.view.reads.reading(map.id, upstream, BREADTH)
        for index in indices:
            self.read_by(id, map.id, index)
        if count > len(indices):
            key = f"more:{id}:{map.name}"
            label = f"{count - len(indices):,} more tasks of {map.name}"
            self.graph.add(Node(key, "results", label, {"map": map.name, "count": count - len(indices)}))
            self.graph.connect(id, "is read by", key)

    def content(self, subject: ContentSubject) -> None:
        sizes = [each.artifact.size for each in subject.artifacts]
        self.graph.root = self.file(subject.path, subject.digest, sizes[0] if sizes else None)
        written = {(each.map, each.index) for each in subject.artifacts if each.artifact.role == "output"}
        for each in islice((each for each in subject.artifacts if each.artifact.role == "input"), BREADTH):
            # Who wrote this content after reading it elsewhere has not read this file.
            if (each.map, each.index) not in written or self.lies_at(each, subject.path):
                self.read_by(self.graph.root, each.map, each.index)
        for map_id, index, _ in subject.results[:BREADTH]:
            self.read_by(self.graph.root, map_id, index)
        if subject.contexts:
            tallies = [tally for tally in self.view.reads.tallies() if tally.context in subject.contexts]
            sums: Counter[int] = Counter()
            for tally in tallies:
                sums[tally.map] += tally.attempts
            self.runs(sums.items())


    def lies_at(self, found: FoundArtifact, path: str | None) -> bool:
        """Tell whether an artifact is the file at a path; anything is where only the content was asked for."""
        folder = self.view.folder(self.view.map_by_id(found.map))
        return path is None or Path(folder, found.artifact.path or "").resolve() == Path(path).resolve()


def reader_number(view: View, shown: Shown, map: MapRecord, dependency: Dependency) -> int | None:
    """Give the ``upstream`` of the tasks of a map that read this task; None when all of them do."""
    match dependency.kind:
        case "each":
            return shown.task.index
        case "chunk":
            return shown.task.index // dependency.chunk
        case "group":
            params = decode(shown.task.params)
            assert isinstance(params, dict)
            found = view.reads.part_with(map.id, encode({name: params[name] for name in dependency.by}))
            return found.number if found is not None else -1
        case _:
            return None
