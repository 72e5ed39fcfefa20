"""The registry and the files beside it, as one question sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from provrun.core.answers import AcceptanceRecord, ContextRecord, Shown
from provrun.core.canonical import Blob, decode
from provrun.core.nearest import suggestion
from provrun.core.records import REUSED, AttemptRecord, JobRecord, MapRecord, Origin
from provrun.errors import NotFound
from provrun.query.rows import Rows, accepted_text
from provrun.query.staleness import Acceptances, Digest, ReadResults, Staleness

if TYPE_CHECKING:
    from provrun.core.allocation import Stage, Verdict
    from provrun.core.environment import Environment
    from provrun.ports import Reads


class Captured(NamedTuple):
    """What an attempt printed, as far as it was kept."""

    out: bytes = b""
    err: bytes = b""


class Judge(Protocol):
    """Says how a job stands that never said that it ended."""

    def __call__(self, job: JobRecord) -> Verdict:
        """Give by what evidence it is over or not."""

    def stage(self, job: JobRecord) -> Stage | None:
        """Give what its scheduler says of it; None if it has none, or nothing is said."""


class Contexts(Mapping[int, ContextRecord]):
    """Circumstances by id, each read when first asked for."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._known: dict[int, ContextRecord] = {}

    def __getitem__(self, id: int) -> ContextRecord:
        if id not in self._known:
            self._known |= self._reads.contexts([id])
        return self._known[id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def load(self, ids: set[int]) -> None:
        """Read many at once."""
        self._known |= self._reads.contexts(ids - self._known.keys())


class View:
    """What a question may look at; nothing is written through it.

    ``code`` gives where a file of a map's code lies, ``folder`` the absolute folder the tasks of a map start in,
    ``digest`` the SHA-256 of a file now, ``pack`` the record at a place of a job's packs (by the job's uuid), ``log``
    reads such a record as what an attempt printed, ``judge`` says how a job stands that never said that it ended.
    ``node`` is the name of this one, ``now`` is the present time in microseconds; ``environment`` overrules the
    environment captured last.
    """

    def __init__(
        self, reads: Reads, *, code: Callable[[MapRecord, str], str], folder: Callable[[MapRecord], str],
        digest: Digest, pack: Callable[[str, str], bytes], log: Callable[[bytes], Captured], judge: Judge,
        node: str, now: int, environment: Environment | None = None,
    ) -> None:
        self.reads = reads
        self.code = code
        self.folder = folder
        self.digest = digest
        self.pack = pack
        self.judge = judge
        self.now = now
        self._log = log
        self._node = node
        self.contexts = Contexts(reads)
        self._environment = environment
        self._maps: dict[int, MapRecord] = {}
        self._staleness: dict[int, Staleness] = {}

    @property
    def environment(self) -> str | None:
        """The digest of the environment that results are compared with: the one captured last."""
        return self._environment.digest if self._environment is not None else self._last_environment[0]

    def environment_of(self, digest: str) -> Environment:
        """Give an environment by its digest, the present one included."""
        if self._environment is not None and digest == self._environment.digest:
            return self._environment
        return self.reads.environment(digest)

    @property
    def environment_captured(self) -> int | None:
        """When the environment that results are compared with was captured, in microseconds."""
        return self.now if self._environment is not None else self._last_environment[1]

    @cached_property
    def _last_environment(self) -> tuple[str | None, int | None]:
        return self.reads.last_environment() or (None, None)

    def map(self, name: str) -> MapRecord:
        """Give a map by name; an unknown one is `NotFound` with the nearest name."""
        known = next((map for map in self._maps.values() if map.name == name), None)
        found = known or self.reads.find_map(name)
        if found is None:
            names = [map.name for map in self.reads.maps()]
            raise NotFound(
                f"no map named {name}", value=name, next=suggestion(name, names, "provrun list shows the maps")
            )
        self._maps[found.id] = found
        return found

    def map_by_id(self, id: int) -> MapRecord:
        """Give a map by its id."""
        return self._maps.get(id) or self.map(self.reads.map_name(id))

    def maps(self) -> list[MapRecord]:
        """Give all maps, first submitted first."""
        found = self.reads.maps()
        self._maps = {map.id: map for map in found}
        return found

    def submitter(self, map: MapRecord, index: int) -> str | None:
        """Name the attempt that submitted a task; None if a person did."""
        submission = self.reads.submission_of(map.id, index)
        return self.attempt_name(submission.by) if submission is not None else None

    def attempt_name(self, attempt: tuple[int, int, int] | None) -> str | None:
        """Write an attempt (map, index, number) as a REF."""
        return None if attempt is None else f"{self.map_by_id(attempt[0]).name}/{attempt[1]}#{attempt[2]}"

    def origin(self, attempt: AttemptRecord) -> Origin | None:
        """Give the attempt that made a reused result; None for a result of its own task."""
        return self.reads.origins(attempt.map, [attempt.index])[attempt.index] if attempt.number == REUSED else None

    def maker(self, attempt: AttemptRecord, origin: Origin) -> tuple[MapRecord, Shown, AttemptRecord] | None:
        """Find the attempt that made a reused result in this registry; None where it is gone or another's."""
        places = self.reads.bearers(origin)
        named = self.reads.find_map(origin.map) if origin.registry == self.reads.uuid else None
        if named is not None:
            places = [(named.id, origin.task, origin.attempt), *places]
        same = (attempt.context, attempt.started, attempt.result_digest)
        for map, index, number in places:
            shown = self.reads.shown(map, index)
            for one in self.reads.attempts(map, index) if shown is not None else ():
                # A map of this name may be another one than that of then.
                if one.number == number and (one.context, one.started, one.result_digest) == same:
                    assert shown is not None
                    return self.map_by_id(map), shown, one
        return None

    def over(self, job: JobRecord) -> bool:
        """Tell whether a job that never said that it ended is over for certain."""
        return self.judge(job).over is True

    def running_jobs(self) -> list[JobRecord]:
        """Give the jobs that run now, first to last."""
        return [job for job in self.reads.jobs("running") if not self.over(job)]

    def queued_jobs(self) -> list[JobRecord]:
        """Give the jobs that wait in the queue of a scheduler, first to last."""
        return [job for job in self.reads.jobs("queued") if not self.over(job)]

    def staleness(self, map: MapRecord) -> Staleness:
        """Give the judge of a map's results."""
        if map.id not in self._staleness:
            reads = ReadResults(self.reads, map.id)
            self._staleness[map.id] = Staleness(
                partial(self.code, map), self.folder(map), self.contexts, self.digest, self.environment, reads,
                software=lambda digest: self.environment_of(digest).software,
                acceptances=Acceptances(self.reads, map.id, self.acceptances), node=self._node,
            )
        return self._staleness[map.id]

    @cached_property
    def acceptances(self) -> list[AcceptanceRecord]:
        """Whose word results of older code have, of all maps."""
        return self.reads.acceptances()

    def captured(self, attempt: AttemptRecord) -> Captured:
        """Give what an attempt printed."""
        if attempt.log is None:
            return Captured()
        return self._log(self.pack(self.contexts[attempt.context].job_uuid, attempt.log))

    def rows(self, map: MapRecord, read: Callable[[str], object] | None = None) -> Rows:
        """Give what makes the rows of a map; ``read`` as in `Rows`."""
        return Rows(map, self.contexts, self.staleness(map), read, self.result_text)

    def result_text(self, shown: Shown) -> str | None:
        """Give the canonical text of a task's result, read from the pack if it is long; None if it has none."""
        text, attempt = accepted_text(shown), shown.attempt
        if attempt is None or text is None or not text.startswith('{"$blob":'):
            return text
        artifacts = shown.artifacts or self.reads.artifacts(attempt.map, attempt.index, attempt.number)
        blob = decode(text)
        if not isinstance(blob, Blob) or blob.get("format") != "json":
            return text
        held = next(made for made in artifacts if made.role == "result" and made.digest.hex() == blob["digest"])
        return self.pack(self.contexts[attempt.context].job_uuid, str(held.place)).decode()
