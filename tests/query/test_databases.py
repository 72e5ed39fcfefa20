"""The same study asked about in SQLite and in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from fixtures.lab import Dependency, Fate, Lab, gives, xs
from provrun.core.records import Policy
from provrun.core.states import Outcome
from provrun.project import asking

REFS = ("scan/0", "scan/1", "scan/7", "obs/3", "obs/7", "stat/0", "sums/1", "scan", "stat", "scan/1#1")


def study(lab: Lab) -> Lab:
    """Fill a registry with successes, failures, retries, reruns and maps that build on one another."""
    lab.use("model.py", "one")
    lab.submit("scan", xs(*range(10)), policy=Policy(retries=1))
    lab.run("scan", lambda params, number: Fate(Outcome.EXIT, detail=2) if params["x"] == 7 else Fate(result=params))
    lab.submit("obs", [{"kind": "a"}], on=[Dependency(upstream="scan", kind="each")])
    lab.run("obs", gives({"v": 0.5}))
    lab.submit("sums", [{"k": 1}], on=[Dependency(upstream="scan", kind="chunk", chunk=5)])
    lab.submit("stat", [{"k": 1}], on=[Dependency(upstream="obs", kind="all", on_failed="skip")])
    lab.run("sums", gives(5))
    lab.registry.rerun(lab.project.map("scan").id, [3])
    lab.at += 10**7
    lab.run("scan", lambda params, number: Fate(result=-1, out=b"again"))
    return lab


def answers(lab: Lab) -> list[object]:
    """Ask what does not depend on the moment."""
    found: list[object] = [
        {key: value for key, value in document.items() if key != "jobs"} for document in asking.status(lab.project)
    ]
    for name in ("scan", "obs", "sums", "stat"):
        found += lab.rows(name)
    found += [row["task"] for row in asking.find(lab.project, "x > 4 and state != failed and not stale")]
    found += [asking.why_text(lab.project, ref) for ref in REFS]
    found += [asking.trace_text(lab.project, ref) for ref in REFS]
    found += [asking.trace_text(lab.project, ref, down=True) for ref in REFS]
    return found


def test_both_databases_answer_alike(tmp_path: Path, postgres_url: str) -> None:
    root = tmp_path / "study"
    first, second = tmp_path / "sqlite", tmp_path / "postgresql"
    found = []
    for url in (None, postgres_url):
        root.mkdir()
        lab = study(Lab(root, url))
        found.append(answers(lab))
        lab.close()
        root.rename(second if first.exists() else first)
    assert len(found[0]) > 50
    assert found[0] == found[1]
