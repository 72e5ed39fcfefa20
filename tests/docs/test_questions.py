"""What readers ask of a page: the queries of the documentation, by two SPARQL processors, against the registry."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pyoxigraph
import pytest
import rdflib
from rdflib.plugins.sparql.processor import SPARQLResult
from rdflib.query import ResultRow

from fixtures.pages import Session, blocks
from fixtures.repositories import commit_all, git
from fixtures.study import AT, Study, grid
from fixtures.told import fixed, tell, tell_all
from provrun.core.answers import ContextRecord
from provrun.core.environment import Environment, Host
from provrun.core.records import AttemptRecord
from provrun.core.states import Outcome, State
from provrun.project.pages.publishing import export
from provrun.project.project import Project
from provrun.store.reads import Reads

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "read.md"
QUERIES = {block.file: block.text for block in blocks(PAGE) if block.file and block.file.endswith(".rq")}
Rows = Counter[tuple[str | None, ...]]


def by_rdflib(page: str, query: str) -> Rows:
    found = rdflib.Graph().parse(data=page, format="turtle").query(query)
    assert isinstance(found, SPARQLResult)
    rows = [row for row in found if isinstance(row, ResultRow)]
    return Counter(tuple(None if value is None else _short(str(value)) for value in row) for row in rows)


def by_pyoxigraph(page: str, query: str) -> Rows:
    store = pyoxigraph.Store()
    store.load(page.encode(), format=pyoxigraph.RdfFormat.TURTLE)
    found = store.query(query)
    assert isinstance(found, pyoxigraph.QuerySolutions)
    return Counter(tuple(None if value is None else _short(value.value) for value in row) for row in found)


def _short(text: str) -> str:
    return text.rpartition("#")[2]


def ask(page: str, question: str) -> Rows:
    """Give the rows that answer a question, on which both processors have to agree."""
    one, other = by_rdflib(page, QUERIES[question]), by_pyoxigraph(page, QUERIES[question])
    assert one == other
    return one


@dataclass(frozen=True)
class Tried:
    """One ended attempt, and the one whose result counts, if its task has one."""

    map: str
    params: dict[str, object]
    attempt: AttemptRecord
    shown: bool
    accepted: AttemptRecord | None


class Known:
    """What the registry says, task by task, and what follows from it for each question."""

    def __init__(self, project: Project) -> None:
        self.reads = Reads(project.registry.database)
        self.maps = self.reads.maps()
        self.tried: list[Tried] = []
        for record in self.maps:
            for index in range(record.total):
                found = self.reads.shown(record.id, index)
                assert found is not None
                attempts = self.reads.attempts(record.id, index)
                accepted = next((one for one in attempts if one.number == found.task.accepted), None)
                for one in attempts:
                    shown = found.attempt is not None and one.number == found.attempt.number
                    self.tried.append(Tried(record.name, json.loads(found.task.params), one, shown, accepted))

    def at(self, attempt: AttemptRecord) -> ContextRecord:
        return self.reads.context(attempt.context)

    def cohort(self, attempt: AttemptRecord) -> tuple[str, str]:
        around = self.at(attempt)
        return around.code, around.environment

    def tree(self, code: str) -> str:
        return f"swh:1:dir:{self.reads.code(code).code.tree}"

    def added(self) -> Rows:
        rows: Rows = Counter()
        for record in self.maps:
            mine = [one.attempt for one in self.tried if one.map == record.name]
            began = [one.started for one in mine if one.outcome is Outcome.SUCCEEDED and one.started is not None]
            for number, one in enumerate(self.reads.submissions(record.id)):
                if began and one.at // 1000 > min(began) // 1000:
                    added = range(one.first, one.first + one.added)
                    points = [found.params for found in self.tried
                              if found.map == record.name and found.shown and found.attempt.index in added]
                    for name in points[0]:
                        values = sorted(point[name] for point in points)  # type: ignore[type-var]
                        rows[record.name, f"submission.{record.name}.{number}", str(one.added), name, str(values[0]),
                             str(values[-1])] += 1
        return rows

    def failures(self) -> Rows:
        groups: dict[tuple[object, ...], list[dict[str, object]]] = {}
        for one in self.tried:
            if one.shown and one.attempt.outcome is not Outcome.SUCCEEDED:
                key = one.map, one.attempt.outcome.word, *self.cohort(one.attempt)
                groups.setdefault(key, []).append(one.params)
        rows: Rows = Counter()
        for (map, outcome, *_), points in groups.items():
            for name in points[0]:
                values = sorted(point[name] for point in points)  # type: ignore[type-var]
                rows[str(map), str(outcome), str(len(points)), name, str(values[0]), str(values[-1])] += 1
        return rows

    def replaced(self) -> dict[tuple[str, tuple[str, str], tuple[str, str]], list[bool]]:
        """Give by map and both cohorts of each result that was replaced whether it came out the same."""
        found: dict[tuple[str, tuple[str, str], tuple[str, str]], list[bool]] = {}
        for one in self.tried:
            old, new = one.attempt, one.accepted
            if new is not None and old.number != new.number and old.outcome is Outcome.SUCCEEDED:
                pair = one.map, self.cohort(old), self.cohort(new)
                found.setdefault(pair, []).append(old.result_digest == new.result_digest)
        return found

    def fix(self) -> Rows:
        return Counter(
            (map, str(len(alike)), str(sum(alike)), self.tree(old[0]), self.tree(new[0]))
            for (map, old, new), alike in self.replaced().items() if old[0] != new[0]
        )

    def repeats(self) -> Rows:
        return Counter(
            (map, str(len(alike)), str(sum(alike)), str(old[1] == new[1]).lower())
            for (map, old, new), alike in self.replaced().items() if old[0] == new[0]
        )

    def machines(self) -> Rows:
        attempts = Counter[tuple[str, str, str, str]]()
        hosts: dict[tuple[str, str, str, str], set[tuple[str | None, ...]]] = {}
        for one in self.tried:
            key = one.map, one.attempt.outcome.word, *self.cohort(one.attempt)
            attempts[key] += 1
            host = self.reads.host(self.at(one.attempt).host)
            hosts.setdefault(key, set()).add((host.cpu, host.mpi, host.platform))
        return Counter(
            (key[0], key[1], str(attempts[key]), self.reads.environment(key[3]).python, *host)
            for key, found in hosts.items() for host in found
        )

    def code(self) -> Rows:
        rows = set()
        for one in self.tried:
            code = self.reads.code(self.at(one.attempt).code).code
            rows.add((one.map, code.remote, f"swh:1:rev:{code.commit}", f"swh:1:dir:{code.tree}",
                      str(code.dirty).lower(), code.patch_digest))
        return Counter(rows)


@dataclass(frozen=True)
class Asked:
    """A page and the registry it was made from."""

    page: str
    known: Known


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Do what the page of the documentation shows: real tasks that fail, a fix, reruns, growth, a run over MPI."""
    folder = tmp_path_factory.mktemp("roots")
    git(folder, "init", "--quiet")
    commit_all(folder, "Begin")
    Session(folder).page(PAGE)
    project = Project.find(folder)
    yield Asked((folder / "page.ttl").read_text(), Known(project))
    project.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Tell a longer story: retries, three stages, other software and machines, uncommitted changes, late growth."""
    project = Project.create(tmp_path_factory.mktemp("told"))
    study = Study(project.registry)
    tell(study)
    study.environment = study.registry.intern_environment(Environment(python="3.12.1", implementation="cpython"), 1)
    study.host = study.registry.intern_host(Host(platform="linux", cpu="arm", cores=2, memory=4, mpi="MPICH 4.3"))
    study.registry.rerun(study.id("note"), [0])
    study.run(study.job(), "note")
    study.registry.rerun(study.id("scan"), [3, 20, 21])
    study.run(study.job(), "scan")
    study.registry.rerun(study.id("scan"), [21, 22])
    study.run(study.job(), "scan")
    study.submit("tries", grid(x=5, y=2))
    job = study.job()
    study.fail(job, study.claim(job, "tries", limit=3))
    study.code = fixed(study)
    study.end(job, study.claim(job, "tries", limit=2), Outcome.TIMEOUT, State.FAILED)
    study.run(job, "tries")
    study.submit("tries", grid(x=8, y=2), at=AT + 5_000_000)
    study.run(job, "tries")
    chunks: list[str] = []
    export(project, write=chunks.append)
    yield Asked("".join(chunks), Known(project))
    project.close()


@pytest.fixture(params=["real", "told"])
def asked(request: pytest.FixtureRequest) -> Asked:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Asked)
    return found


def picked(rows: Rows, *places: int) -> Rows:
    """Keep some columns."""
    return Counter(tuple(row[place] for place in places) for row in rows.elements())


def test_which_parameters_were_added_after_results_were_seen(asked: Asked) -> None:
    assert asked.known.added()
    assert picked(ask(asked.page, "added.rq"), 0, 1, 2, 3, 4, 5) == asked.known.added()


def test_whether_failures_cluster_in_parameter_space(asked: Asked) -> None:
    assert asked.known.failures()
    assert picked(ask(asked.page, "failures.rq"), 0, 1, 2, 4, 5, 6) == asked.known.failures()


def test_whether_the_bug_fix_changed_numbers(asked: Asked) -> None:
    assert asked.known.fix()
    assert ask(asked.page, "fix.rq") == asked.known.fix()


def test_whether_repeats_agree(asked: Asked) -> None:
    assert asked.known.repeats()
    assert ask(asked.page, "repeats.rq") == asked.known.repeats()


def test_which_python_processor_and_mpi(asked: Asked) -> None:
    rows: Rows = Counter()
    for (map, outcome, attempts, _, python, _, host), n in ask(asked.page, "machines.rq").items():
        about = json.loads(host or "")
        rows[map, outcome, attempts, python, about["cpu"], about["mpi"], about["platform"]] += n
    assert rows == asked.known.machines()
    assert any(row[5] for row in rows), "nothing ran over MPI"
    assert any(row[5] is None for row in rows)


def test_where_the_code_can_be_fetched(asked: Asked) -> None:
    assert ask(asked.page, "code.rq") == asked.known.code()


def test_which_inputs_are_declared_and_that_no_others_are_claimed(real: Asked) -> None:
    (record,) = real.known.maps
    assert record.recipe.inputs == ("scale",)
    digest = sha256(b"2\n").hexdigest()
    assert ask(real.page, "inputs.rq") == {("roots", "scale", digest, "2", None): 1}
    assert ask(real.page, "undeclared.rq") == {}


def _some_results(page: str) -> str:
    """Name the results of some cohort: which number it has depends on what began first."""
    found = re.search(r"p:results\.roots\.\d+", page)
    assert found is not None
    return found[0]


LIES: dict[str, Callable[[str], str]] = {
    "the recipe declares none": lambda page: page.replace('pr:input "scale"', 'pr:folder "scale"'),
    "results of a file that nobody used": lambda page: (
        f"{page}\nr:file.new a pr:InputFile .\n{_some_results(page)} prov:wasDerivedFrom r:file.new .\n"
    ),
    "something else was used": lambda page: f"{page}\np:cohort.roots.0 prov:used p:page .\n",
}


@pytest.mark.parametrize("lie", LIES)
def test_an_input_that_nobody_declared_is_found(real: Asked, lie: str) -> None:
    page = LIES[lie](real.page)
    assert page != real.page
    assert ask(page, "undeclared.rq")


@pytest.mark.parametrize("question", QUERIES)
def test_both_processors_agree_on_a_page_with_everything(tmp_path: Path, question: str) -> None:
    project = Project.create(tmp_path)
    tell_all(Study(project.registry))
    chunks: list[str] = []
    export(project, write=chunks.append)
    project.close()
    rows = ask("".join(chunks), question)
    assert bool(rows) is (question in {"failures.rq", "fix.rq", "machines.rq", "code.rq"})
