"""The log: claiming and recording through it, and folding it in, beside the registry alone with the same tasks."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from figures import Figure

TESTS = Path(__file__).parents[1]
TASKS = 100_000
BATCH = 5_000
IDLE = 200


def measure() -> Iterator[Figure]:
    """Let one host run all tasks through the log, then another one fold in what came of it."""
    sys.path.insert(0, str(TESTS))
    from fixtures.replicas import Group
    from fixtures.study import Study
    from provrun.store.registry import Registry

    def work(study: Study) -> float:
        study.submit("scan", [{"x": n} for n in range(TASKS)], distinct=True)
        job = study.job()
        began = time.perf_counter()
        while claimed := study.claim(job, "scan", limit=BATCH):
            study.succeed(job, claimed)
        return TASKS / (time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as name:
        url = f"sqlite:///{Path(name) / 'alone.sqlite'}"
        with closing(Registry.create(url)) as registry:
            alone = work(Study(registry))
    with tempfile.TemporaryDirectory() as name:
        url = f"sqlite:///{Path(name) / 'registry.sqlite'}"
        Registry.create(url).close()
        group = Group(url, Path(name), 2, quick=False)
        through = work(Study(group.others[0]))
        size = sum(path.stat().st_size for path in group.log.iterdir() if path.name[0].isdigit())
        began = time.perf_counter()
        assert group.others[1].fold(most=600)
        folded = TASKS / (time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(IDLE):
            group.others[1].fold()
        look = (time.perf_counter() - began) / IDLE
        for one in group.replicas:
            one.close()
    yield Figure("claim and record through the log", through, "tasks/s", alone, "the registry alone", at_least=0.5)
    yield Figure("fold in claims and records", folded, "tasks/s", alone, "the registry alone", at_least=0.7)
    yield Figure("the log of a task", size / TASKS, "bytes", at_most=150)
    yield Figure("a look at a log without news", look * 1e6, "us", at_most=1000)
