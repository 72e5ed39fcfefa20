"""Where a task, result or file came from, down to commit and parameters; and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import msgspec

from provrun.core.answers import FoundArtifact, Shown
from provrun.core.canonical import digest_text
from provrun.core.records import REUSED, Artifact, AttemptRecord, MapRecord
from provrun.query import labels
from provrun.query.graph import Graph, Node
from provrun.query.labels import attempt_ref, origin_ref
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
from provrun.query.rows import decode_json, short, times
from provrun.query.tracing import BREADTH, Tracer, relation
from provrun.query.view import View


def trace(view: View, subject: Subject, *, down: bool = False) -> Graph:
    """Follow a subject up to its sources, or ``down`` to what was made of it."""
    if down:
        from provrun.query.trace_down import Down

        tracer: Tracer = Down(view, subject.ref)
    else:
        tracer = Up(view, subject.ref)
    tracer.start(subject)
    return tracer.graph


class Up(Tracer):
    def __init__(self, view: View, root: str) -> None:
        super().__init__(view, root, "up")

    def start(self, subject: Subject) -> None:
        match subject:
            case MapSubject(map=map):
                self.map(map)
            case TaskSubject(map=map, shown=shown):
                self.task(map, shown, outputs=True)
            case AttemptSubject(map=map, shown=shown, attempt=attempt):
                if attempt is None:
                    self.unended(map, shown, subject.ref)
                else:
                    self.attempt(map, shown, attempt, outputs=True)
            case CodeSubject(digest=digest):
                self.graph.root = self.code(digest)
            case EnvironmentSubject(digest=digest):
                self.graph.root = self.environment(digest)
            case JobSubject(job=job):
                self.graph.root = self.job(job)
            case ContentSubject():
                self.content(subject)

    def task(self, map: MapRecord, shown: Shown, *, outputs: bool = False) -> str:
        task = shown.task
        id = f"{map.name}/{task.index}"
        attempt = shown.attempt
        if id in self.graph.nodes:
            return id
        if attempt is None:
            return self.unended(map, shown, id)
        accepted = attempt.number == task.accepted
        result = f"  {labels.result_line(attempt.result, 70)}" if accepted and attempt.result is not None else ""
        detail: dict[str, object] = {
            "task": id, "state": task.state.word, "result": decode_json(attempt.result) if accepted else None,
            "result_digest": attempt.result_digest.hex() if accepted and attempt.result_digest else None,
        }
        self.graph.add(Node(id, "task", f"{id}  {task.state.word}{result}", detail))
        by = self.attempt(map, shown, attempt, outputs=outputs)
        if attempt.number == REUSED:
            self.graph.connect(id, "reuses the result of", by)
            return id
        self.graph.connect(id, "came from" if accepted else "was last tried by", by)
        return id

    def unended(self, map: MapRecord, shown: Shown, id: str) -> str:
        """Draw a task of which no attempt has ended: what it would be made from."""
        task = shown.task
        if not self.graph.add(Node(id, "task", f"{id}  {task.state.word}", {"task": id, "state": task.state.word})):
            return id
        self.params(id, map, task.params)
        self.submitter(id, map, task.index)
        return id

    def attempt(self, map: MapRecord, shown: Shown, attempt: AttemptRecord, *, outputs: bool = False) -> str:
        id = attempt_ref(map.name, attempt.index, attempt.number)
        origin = self.view.origin(attempt)
        if origin is not None:
            maker = self.view.maker(attempt, origin)
            if maker is not None:
                return self.attempt(*maker, outputs=outputs)
            id = origin_ref(origin)  # what it used and gave is kept with what reuses it
        context = self.view.contexts[attempt.context]
        detail: dict[str, object] = {
            "attempt": id, "outcome": attempt.outcome.word, **times(attempt), "node": context.node,
            "job": context.job,
        }
        if not self.graph.add(Node(id, "attempt", labels.attempt_line(id, attempt), detail)):
            return id
        self.params(id, map, shown.task.params)
        self.submitter(id, map, attempt.index)
        connect = self.graph.connect
        connect(id, "ran", self.code(context.code))
        if context.code_after is not None:
            connect(id, "ended with", self.code(context.code_after))
        connect(id, "in", self.environment(context.environment))
        uses = context.uses
        if uses is not None:
            for path, digest in sorted(uses.files.items()):
                connect(id, "used code file", self.file(path, digest, None))
            for tool in uses.tools:
                connect(id, "used program", self.tool(tool))
        made = shown.artifacts
        if shown.attempt is None or shown.attempt.number != attempt.number:
            made = tuple(self.view.reads.artifacts(map.id, attempt.index, attempt.number))
        read: list[tuple[str | None, str, int]] = [*context.inputs]
        read += [(each.path, each.digest.hex(), each.size) for each in made if each.role == "input"]
        written = {each.digest.hex() for each in made if each.role == "output"}
        for place, digest, size in read:
            connect(id, "read input", self.source(place, digest, size, attempt, apart=digest in written))
        if outputs:
            self.outputs(id, made)
        self.trail(id, map, attempt)
        return id

    def params(self, id: str, map: MapRecord, text: str) -> None:
        key = f"params:{map.name}:{short(digest_text('params', text).hex())}"
        self.graph.add(Node(key, "params", labels.params_line(text), {"params": decode_json(text)}))
        self.graph.connect(id, "with", key)
        recipe = f"recipe:{map.recipe_digest.hex()}"
        detail: dict[str, object] = {"recipe": msgspec.to_builtins(map.recipe), "map": map.name}
        self.graph.add(Node(recipe, "recipe", labels.recipe_line(map.recipe), detail))
        self.graph.connect(id, "applied", recipe)

    def submitter(self, id: str, map: MapRecord, index: int) -> None:
        """Follow the attempt that submitted a task, if one did."""
        submission = self.view.reads.submission_of(map.id, index)
        if submission is None or submission.by is None:
            return
        by, task, number = submission.by
        maker = self.view.map_by_id(by)
        shown = self.view.reads.shown(by, task)
        if self.full or shown is None:
            self.graph.connect(id, "was submitted by", self.more(maker))
        else:
            self.graph.connect(id, "was submitted by", self.read_attempt(maker, shown, number, task=False))

    def outputs(self, id: str, artifacts: Iterable[Artifact]) -> None:
        for artifact in artifacts:
            if artifact.role == "output":
                file = self.file(artifact.path, artifact.digest.hex(), artifact.size)
                if file != self.graph.root:
                    self.graph.connect(id, f"wrote {artifact.name}", file)

    def trail(self, id: str, map: MapRecord, attempt: AttemptRecord) -> None:
        """Follow what the attempt read of other maps, as it was recorded with it."""
        for entry in msgspec.json.decode(attempt.trail) if attempt.trail else ():
            upstream = self.view.map_by_id(entry[0]) if isinstance(entry[0], int) else self.view.map(entry[0])
            if isinstance(entry[2], str):
                self.many(id, upstream, entry[1], entry[2])
                continue
            _, index, number = entry
            key = attempt_ref(upstream.name, index, number)
            if self.full and key not in self.graph.nodes:
                self.graph.connect(id, "read results of", self.more(upstream))
                continue
            shown = self.view.reads.shown(upstream.id, index)
            if shown is not None:
                self.graph.connect(id, "read the result of", self.read_attempt(upstream, shown, number))

    def read_attempt(self, map: MapRecord, shown: Shown, number: int, *, task: bool = True) -> str:
        if task and shown.attempt is not None and shown.attempt.number == number and number == shown.task.accepted:
            return self.task(map, shown)
        attempts = {attempt.number: attempt for attempt in self.view.reads.attempts(map.id, shown.task.index)}
        if number not in attempts:  # it has submitted something and runs still
            return self.unended(map, shown, f"{map.name}/{shown.task.index}#{number}")
        return self.attempt(map, shown, attempts[number])

    def many(self, id: str, map: MapRecord, count: int, digest: str) -> None:
        """Draw the results of many tasks that were read together as one thing, and go on with their map."""
        key = f"results:{map.name}:{digest}"
        label = f"{count:,} results of {map.name}"
        self.graph.add(Node(key, "results", label, {"map": map.name, "count": count, "digest": digest}))
        self.graph.connect(id, "read", key)
        self.map(map)
        self.graph.connect(key, "of", map.name)

    def more(self, map: MapRecord) -> str:
        key = f"more:{map.name}"
        self.graph.add(Node(key, "results", f"further tasks of {map.name}, not drawn", {"map": map.name}))
        return key

    def map(self, map: MapRecord) -> None:
        """Draw a map as a whole: its recipe, the code and environments of its results, and what it builds on."""
        if not self.map_node(map):
            return
        self.circumstances(map)
        for record in self.view.reads.upstreams(map.id):
            upstream = self.view.map_by_id(record.upstream)
            self.map(upstream)
            self.graph.connect(map.name, relation(record.dependency), upstream.name)
        for by, n in self.view.reads.submitters(map.id):
            submitter = self.view.map_by_id(by)
            self.map(submitter)
            self.graph.connect(map.name, f"got {n:,} tasks from tasks of", submitter.name)

    def source(self, path: str | None, digest: str, size: int, reader: AttemptRecord, *, apart: bool) -> str:
        """Draw a file that an attempt read, and the attempt that had written it before if one had."""
        known = len(self.graph.nodes)
        id = self.file(path, digest, size, apart=apart)
        if known < len(self.graph.nodes) and not self.full:
            found = self.view.reads.with_digest(bytes.fromhex(digest), bytes.fromhex(digest), 10 * BREADTH)
            earlier = (each for each in found if each.artifact.role != "input" and self.ended_before(each, reader))
            self.made_by(id, islice(earlier, 1))
        return id

    def ended_before(self, maker: FoundArtifact, reader: AttemptRecord) -> bool:
        """Tell whether the attempt that made something had ended when another one started."""
        attempts = self.view.reads.attempts(maker.map, maker.index)
        ended = [(one.started or 0) + (one.wall or 0) for one in attempts if one.number == maker.number]
        return bool(ended) and ended[0] <= (reader.started or 0)

    def made_by(self, id: str, found: Iterable[FoundArtifact]) -> None:
        for each in found:
            map = self.view.map_by_id(each.map)
            shown = self.view.reads.shown(map.id, each.index)
            if shown is not None:
                self.graph.connect(id, "was written by", self.read_attempt(map, shown, each.number))

    def content(self, subject: ContentSubject) -> None:
        sizes = [each.artifact.size for each in subject.artifacts]
        paths = [each.artifact.path for each in subject.artifacts if each.artifact.path]
        path = subject.path or (paths[0] if paths else None)
        self.graph.root = self.file(path, subject.digest, sizes[0] if sizes else None)
        makers = [each for each in subject.artifacts if each.artifact.role != "input"]
        self.made_by(self.graph.root, makers[:BREADTH])
        for map_id, index, number in islice(subject.results, BREADTH):
            map = self.view.map_by_id(map_id)
            shown = self.view.reads.shown(map_id, index)
            if shown is not None:
                self.graph.connect(self.graph.root, "is the result of", self.read_attempt(map, shown, number))
