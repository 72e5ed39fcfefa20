"""The nodes of one map on a page: submissions, the map, its cohorts, and the collections they read and made."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from provrun.core.canonical import encode
from provrun.core.cohorts import CohortKey, GroupKey
from provrun.export.census import ReadPart, Taken
from provrun.export.commitments import add_commitments
from provrun.export.page import Page
from provrun.export.parameters import Parameters
from provrun.export.summary import MOST_SUBMISSIONS, Part, Summary, bundled
from provrun.export.things import Things

if TYPE_CHECKING:
    from prov.identifier import QualifiedName

MOST_LISTED = 16


class Place(NamedTuple):
    """Where a cohort stands: its number, and the position of its group, None without one."""

    number: int
    position: int | None


class MapNodes:
    """Adds one map to a page."""

    def __init__(self, page: Page, things: Things, summary: Summary, position: int) -> None:
        self.page = page
        self.things = things
        self.summary = summary
        self.position = position
        self.name = summary.map.name
        self.activity = page.p(f"map.{self.name}")
        self.params = page.p(f"params.{self.name}")
        self.results = page.p(f"results.{self.name}")

    def part(self, key: CohortKey) -> Part | Place:
        """Give the published cohort in which those of a key lie."""
        return self.summary.by_key[key]

    def cohort(self, part: Part | Place) -> QualifiedName:
        """Name a cohort."""
        return self.page.p(f"cohort.{self.name}.{part.number}")

    def params_of(self, part: Part | Place) -> QualifiedName:
        """Name the parameters of a cohort's group."""
        return self.page.p(f"params.{self.name}.{part.position}")

    def results_of(self, part: Part | Place) -> QualifiedName:
        """Name the accepted results of a cohort."""
        return self.page.p(f"results.{self.name}.{part.position}")

    def commitment(self, position: int | None = None) -> QualifiedName:
        """Name the commitment to all tasks, or to those of the group at a position."""
        return self.page.p(f"commitment.{self.name}" + ("" if position is None else f".{position}"))

    def submission(self, number: int) -> QualifiedName:
        """Name a submission by its place; those beyond the first 16 share the last name."""
        return self.page.p(f"submission.{self.name}.{min(number, MOST_SUBMISSIONS)}")

    def superseded_of(self, part: Part | Place) -> QualifiedName:
        """Name the results of a cohort that no longer count."""
        return self.page.p(f"superseded.{self.name}.{part.number}")

    def reused_of(self, taken: Taken) -> QualifiedName:
        """Name the results of a reused group."""
        return self.page.p(f"reused.{self.name}.{self.summary.taken_position(taken.key)}")

    def read_part(self, read: ReadPart) -> QualifiedName:
        """Name the part of the results in which what was read lies."""
        if isinstance(read.key, GroupKey):
            return self.reused_of(self.summary.census.taken[read.key])
        part = self.summary.by_key[read.key]
        return self.superseded_of(part) if read.kind == "superseded" else self.results_of(part)

    def add(self) -> None:
        """Add all nodes of the map but what it read from other maps."""
        summary, page = self.summary, self.page
        policy = summary.map.policy
        page.activity(
            self.activity, ["Map"], started=summary.started, ended=summary.ended, name=self.name,
            tag=[f"{key}={value}" for key, value in sorted(summary.map.tags.items())],
            commitment=self.commitment(), position=self.position, folder=summary.folder,
            groupedBy=sorted({name for one in summary.map.dependencies for name in one.by}),
            cores=policy.cores if policy.cores > 1 else None, ranks=policy.ranks or None, gpus=policy.gpus or None,
            taskNodes=policy.task_nodes or None,
            timeLimit=None if policy.task_time is None else round(policy.task_time * 1e6),
            memoryLimit=policy.task_memory,
            madeElsewhere=listed({
                encode({"attempts": n, "map": map, "registry": registry}): n for registry, map, n in summary.brought
            }),
            **summary.counts(),
        )
        reduces = any(one.kind in {"all", "group", "chunk"} for one in summary.map.dependencies)
        plan = self.things.recipe(summary.map.recipe_digest.hex(), summary.map.recipe, reduces=reduces)
        page.associated(self.activity, self.things.provrun, plan)
        groups = [self.params_of(part) for part in summary.parts if part.position is not None]
        unattempted = page.p(f"params.{self.name}.{summary.unattempted_position}")
        groups += [page.p(f"params.{self.name}.{summary.taken_position(one.key)}") for one in summary.taken]
        groups += [unattempted] if summary.unattempted_position is not None else []
        self._parameters(
            self.params, summary.census.params, summary.counts()["planned"], partitionedInto=groups
        )
        page.used(self.activity, self.params)
        own = self._own_inputs()
        for part in summary.parts:
            self._cohort(part, own)
        for taken in summary.taken:
            self._origin(taken)
        if summary.unattempted_position is not None:
            self._parameters(
                unattempted, summary.census.unattempted_params, summary.census.unattempted,
                position=summary.unattempted_position, group="unattempted",
                commitment=self.commitment(summary.unattempted_position),
            )
        add_commitments(page, summary.commitment, self.commitment)
        self._all_results()
        self._revisions()
        self._levels()
        self._submissions()
        self._acceptances()

    def _own_inputs(self) -> QualifiedName | None:
        count, size = self.summary.own_inputs
        if not count:
            return None
        return self.page.entity(
            self.page.p(f"inputs.{self.name}"), ["prov:Collection", "InputFiles"], memberCount=count, size=size
        )

    def _parameters(
        self, collection: QualifiedName, parameters: Parameters | None, count: int, **about: object
    ) -> None:
        page = self.page
        described = sorted(parameters.by_name.items()) if parameters else []
        place = collection.localpart.removeprefix("params.")
        names = [page.p(f"parameter.{place}.{number}") for number in range(len(described))]
        page.entity(collection, ["prov:Collection", "Parameters"], memberCount=count, parameter=names, **about)
        for name, (key, found) in zip(names, described, strict=True):
            exact = found.distinct < found.most
            page.entity(
                name, ["Parameter"], name=key,
                kind=sorted(found.kinds), count=found.count, distinct=found.distinct if exact else None,
                distinctAtLeast=None if exact else found.distinct,
                minimum=None if found.minimum is None else encode(found.minimum),
                maximum=None if found.maximum is None else encode(found.maximum),
                nonFinite=found.non_finite or None,
                values=None if (values := found.values()) is None else f"[{','.join(values)}]",
            )

    def _cohort(self, part: Part, own: QualifiedName | None) -> None:
        page, things = self.page, self.things
        name = self.cohort(part)
        commitment = None if part.position is None else self.commitment(part.position)
        tools, further = things.tools(tool for cohort in part.cohorts for tool in cohort.tools)
        page.activity(
            name, ["TailCohort" if part.tail else "Cohort"], started=part.started, ended=part.ended,
            dcterms_isPartOf=self.activity, commitment=commitment, furtherTools=further or None,
            **self._figures(part),
        )
        sources = [self.params]
        if part.position is not None:
            group = self.params_of(part)
            self._parameters(group, part.params, part.total("shown"), position=part.position, commitment=commitment)
            page.used(name, group)
            sources = [group]
        if elsewhere := part.total("elsewhere"):
            page.used(name, self.params, membersRead=elsewhere)
        if part.tail:
            code = things.code_set(page.p(f"codes.{self.name}.{part.number}"), {c.key.code for c in part.cohorts})
            environment = things.environment_set(
                page.p(f"environments.{self.name}.{part.number}"), {c.key.environment for c in part.cohorts}
            )
        else:
            code = things.code(part.first.key.code)
            environment = things.environment(part.first.key.environment)
        page.associated(name, things.provrun, code)
        page.used(name, environment)
        for one in tools:
            page.used(name, one)
        files = things.inputs(sha for inputs in sorted({c.key.inputs for c in part.cohorts}) for sha in inputs)
        inputs = [*files, *([own] if own is not None else [])]
        for one in inputs:
            page.used(name, one)
        if part.succeeded:
            self._made(part, name, sources, inputs)

    def _origin(self, taken: Taken) -> None:
        """Say which attempts of another map made a reused group's results: no part of this map, nor derived here."""
        page, position = self.page, self.summary.taken_position(taken.key)
        commitment = self.commitment(position)
        self._parameters(
            page.p(f"params.{self.name}.{position}"), None, taken.tasks, position=position, commitment=commitment
        )
        registry, map = taken.key.origin or ("", "")
        inputs = taken.around.inputs
        tools, further = self.things.tools(taken.tools)
        origin = page.activity(
            page.p(f"origin.{self.name}.{position}"), ["OriginCohort"], started=taken.first, ended=taken.last,
            commitment=commitment, attempts=taken.tasks, outcome=taken.key.outcome, originRegistry=registry,
            originMap=map, sharedInputs=encode(list(inputs)) if inputs else None, furtherTools=further or None,
        )
        page.associated(origin, self.things.provrun, self.things.code(taken.around.code))
        page.used(origin, self.things.environment(taken.around.environment))
        for one in (*tools, *dict.fromkeys(self.things.inputs(inputs))):
            page.used(origin, one)
        results = page.entity(
            self.reused_of(taken), ["prov:Collection", "ReusedResults"], memberCount=taken.tasks, position=position,
            commitment=commitment,
        )
        page.generated(results, origin)
        page.used(self.activity, results)

    def _made(
        self, part: Part, cohort: QualifiedName, sources: list[QualifiedName], inputs: list[QualifiedName]
    ) -> None:
        page = self.page
        if accepted := part.total("accepted"):
            results = page.entity(
                self.results_of(part), ["prov:Collection", "Results"], memberCount=accepted, position=part.position,
                commitment=None if part.position is None else self.commitment(part.position),
            )
            page.generated(results, cohort)
            for source in sources:
                page.derived(results, source, "ElementwiseDerivation")
            for one in inputs:
                page.derived(results, one)
        if superseded := part.total("superseded"):
            old = page.entity(
                self.superseded_of(part), ["prov:Collection", "SupersededResults"], memberCount=superseded,
                sameDigest=part.total("repeated"),
            )
            page.generated(old, cohort)
            page.derived(old, self.params, "ElementwiseDerivation")

    def _figures(self, part: Part) -> dict[str, object]:
        """Collect what a cohort says of its attempts in numbers."""
        failures = Counter[tuple[str, int | None]]()
        recovered = Counter[str]()
        changed = Counter[str]()
        hosts: set[str] = set()
        jobs: set[int] = set()
        for cohort in part.cohorts:
            failures += cohort.failures
            changed += cohort.changed
            hosts |= cohort.hosts
            jobs |= cohort.jobs
        for into, tasks in part.recovered.items():
            recovered[self.cohort(self.summary.by_key[into]).localpart] += tasks
        key = part.first.key
        pooled = None
        if part.tail:
            pooled = encode({"cohorts": len(part.cohorts), "pooled": ["code", "environment", "inputs", "level"]})
        return {
            "outcome": key.outcome.word if part.succeeded or not part.tail else "unsuccessful",
            "level": None if part.tail else key.level,
            "sharedInputs": encode(list(key.inputs)) if key.inputs and not part.tail else None,
            "attempts": part.total("attempts"), "tasks": part.total("tasks"), "accepted": part.total("accepted"),
            "retried": part.total("retried"), "jobs": len(jobs), "wallSum": part.use.wall_sum,
            "wallMedian": part.use.wall_median, "wallP95": part.use.wall_p95, "wallMax": part.use.wall_max,
            "cpuSum": part.use.cpu_sum, "maxRss": None if part.use.max_rss is None else part.use.max_rss * 1024,
            "host": self.things.hosts(hosts),
            "failure": listed({
                encode({"class": word, "count": n, "detail": detail}): n for (word, detail), n in failures.items()
            }),
            "recovery": listed({encode({"into": into, "tasks": n}): n for into, n in recovered.items()}),
            "codeChangedTo": listed({encode({"attempts": n, "code": code}): n for code, n in changed.items()}),
            "pooled": pooled,
        }

    def _all_results(self) -> None:
        count = self.summary.results + self.summary.reused
        if not count:
            return
        parts = [self.results_of(part) for part in self.summary.parts if part.total("accepted")]
        parts += [self.reused_of(taken) for taken in self.summary.taken]
        self.page.entity(self.results, ["prov:Collection", "Results"], memberCount=count, partitionedInto=parts)
        self.page.generated(self.results, self.activity)
        for part in parts:
            self.page.derived(self.results, part)

    def _revisions(self) -> None:
        """Say of each rerun whose results it replaced, and how many of them came out the same."""
        replaced: Counter[tuple[QualifiedName, QualifiedName]] = Counter()
        alike: Counter[tuple[QualifiedName, QualifiedName]] = Counter()
        for part in self.summary.parts:
            for cohort in part.cohorts:
                for key, tasks in cohort.replaced.items():
                    pair = self.results_of(self.summary.by_key[key]), self.superseded_of(part)
                    replaced[pair] += tasks
                    alike[pair] += cohort.alike[key]
        for pair in sorted(replaced, key=str):
            self.page.revision(*pair, membersReplaced=replaced[pair], membersEqual=alike[pair])

    def _levels(self) -> None:
        """Say which cohorts waited for others of the same map: not for those that began when they had ended."""
        ordinary = [part for part in self.summary.parts if not part.tail]
        for part in ordinary:
            for earlier in ordinary:
                if earlier.first.key.level == part.first.key.level - 1 and not _began_after(earlier, part):
                    self.page.informed(self.cohort(part), self.cohort(earlier))

    def _acceptances(self) -> None:
        """Say which results of older code the person holds to be valid, and under which code."""
        for number, one in enumerate(self.summary.acceptances):
            parts = [
                part for part in self.summary.parts
                if part.total("accepted") and any(cohort.contexts & set(one.contexts) for cohort in part.cohorts)
            ]
            if not parts:
                continue  # all of it has run again since
            name = self.page.activity(
                self.page.p(f"acceptance.{self.name}.{number}"), ["Acceptance"], started=one.at, ended=one.at,
                reason=one.reason, tasks=one.tasks,
            )
            for part in parts:
                self.page.used(name, self.results_of(part))
            self.page.used(name, self.things.code(one.code))
            self.page.associated(name, self.things.person)

    def _submissions(self) -> None:
        """Say who submitted when, and of a map that grew, which parameters each submission added."""
        additions = self.summary.census.additions
        for number, part in enumerate(bundled(self.summary.submissions)):
            name = self.submission(number)
            added = sum(one.added for one in part)
            self.page.activity(
                name, ["Submission"], started=min(one.at for one in part), ended=max(one.at for one in part),
                tasksAdded=added, firstTask=part[0].first, submissions=len(part) if len(part) > 1 else None,
                dcterms_isPartOf=self.activity,
            )
            self.page.associated(name, self.things.person)
            if additions is not None and added:
                collection = self.page.p(f"params.{self.name}.added.{number}")
                self._parameters(collection, additions.parts[number], added)
                self.page.generated(collection, name)


def _began_after(one: Part, other: Part) -> bool:
    """Tell whether one began when the other had ended, so that the other cannot have waited for it."""
    return one.started is not None and other.ended is not None and one.started > other.ended


def listed(counted: dict[str, int]) -> list[str]:
    """Give the most frequent texts first, and of those beyond 16 only how many there are."""
    ordered = sorted(counted, key=lambda text: (-counted[text], text))
    rest = ordered[MOST_LISTED:]
    if not rest:
        return ordered
    return [*ordered[:MOST_LISTED], encode({"rest": len(rest), "count": sum(counted[text] for text in rest)})]
