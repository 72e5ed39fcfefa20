"""Several replicas of one log: together they are a registry like any other, and all come to the same state."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from pathlib import Path

from fixtures.replicas import Group
from fixtures.store_histories import agree_with_the_model
from fixtures.study import AT, Study, grid
from provrun.core.records import Dependency
from provrun.store.database import connect
from provrun.store.registry import Registry


def test_replicas_used_in_turns_agree_with_the_model_and_with_each_other(tmp_path: Path) -> None:
    numbers = count()

    def create() -> Group:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        url = f"sqlite:///{folder / 'registry.sqlite'}"
        Registry.create(url).close()
        return Group(url, folder, seed=next(numbers))

    agree_with_the_model(create, 30)


def test_replicas_of_a_registry_in_postgresql_get_the_same_ids(postgres_url: str, tmp_path: Path) -> None:
    numbers = count()

    def create() -> Group:
        with closing(connect(postgres_url)) as database:
            database.run("drop schema public cascade")
            database.run("create schema public")
        Registry.create(postgres_url).close()
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return Group(postgres_url, folder, 1, seed=next(numbers))

    agree_with_the_model(create, 12)


def test_a_registry_that_has_lived_is_copied_whole(any_url: str, tmp_path: Path) -> None:
    with closing(Registry.create(any_url)) as registry:
        study = Study(registry)
        study.submit("scan", grid(x=20, y=2))
        study.submit("fit", [{"k": 1}], on=[Dependency(upstream="scan", kind="group", by=("x",))])
        job = study.job()
        study.fail(job, study.claim(job, "scan", limit=7))
        study.run(job, "scan")
        registry.close_job(job, "ended", "", AT)
    with closing(Group(any_url, tmp_path)) as group:
        again = Study(group)  # type: ignore[arg-type]
        job = again.job()
        scan, context = again.id("scan"), again.context(job)
        assert group.accept(
            scan, [0, 1], contexts=range(context), covers=[("code", "a", None)], code=again.code, user="ada",
            reason="r", at=AT,
        ) == 0  # they have failed
        assert group.accept(
            scan, [7, 8, 20], contexts=range(context), covers=[("code", "a", None)], code=again.code, user="ada",
            reason="r", at=AT,
        ) == 3
        assert again.run(job, "fit") == 16  # the other groups lack a task that failed
        assert group.home.check() == []
        [one] = {tuple(replica.map_names()) for replica in group.replicas}
        assert one == ("scan", "fit")
