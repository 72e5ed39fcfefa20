"""Merging: maps of another registry come with all that is known of them, once; what cannot come is refused."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from fixtures.merged import MAPS, Elsewhere, come, end, made_as, saved, tell_more, told
from fixtures.runs import until
from fixtures.study import AT, Study, grid
from provrun.core.records import Dependency, Match
from provrun.errors import NotFound, Refused
from provrun.store.merge.merging import MOST_BESIDE_JOBS, merge
from provrun.store.merge.source import opened
from provrun.store.plan import dump
from provrun.store.reads import Reads
from provrun.store.registry import Registry


def test_maps_that_are_new_come_as_they_are(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    study.submit("mine", grid(x=3))
    study.run(study.job(), "mine")
    other = elsewhere()
    tell_more(other)
    path = saved(other, tmp_path / "copy.sqlite")
    done = come(study, path)
    assert {one.here: (one.new, one.tasks) for one in done}["scan"] == (True, 41)
    assert sorted(one.here for one in done) == sorted(MAPS)
    for name in MAPS:
        assert told(study, name) == told(other, name), name
        found = study.registry.database.fetch("select idx, number from attempt where map_id=? and number>0",
                                              (study.id(name),))
        assert made_as(study, name) == {one: (other.registry.uuid, name, *one) for one in found}
    assert study.states("mine") == "sss"
    assert made_as(study, "mine") == {}
    study.registry.delete(study.id("off"))
    assert made_as(study, "off") == {}
    codes = study.registry.database.fetch("select digest, body, patch from code order by digest")
    assert codes == other.registry.database.fetch("select digest, body, patch from code order by digest")
    assert study.registry.check() == []


def test_merging_again_adds_nothing(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    other = elsewhere()
    tell_more(other)
    path = saved(other, tmp_path / "copy.sqlite")
    come(study, path)
    before = dump(study.registry.database)
    again = come(study, path)
    assert [(one.changed, one.tasks, one.attempts) for one in again] == [(0, 0, 0)] * len(MAPS)
    assert dump(study.registry.database) == before
    assert come(study, path, dry=True) == again


def test_a_dry_run_says_what_comes_and_leaves_all_as_it_was(
    study: Study, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    other = elsewhere()
    tell_more(other)
    path = saved(other, tmp_path / "copy.sqlite")
    before = dump(study.registry.database)
    said = come(study, path, dry=True)
    assert dump(study.registry.database) == before
    assert said == come(study, path)


def test_what_was_reused_there_leads_to_its_maker_here(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    other = elsewhere()
    other.submit("base", grid(x=3))
    other.run(other.job(), "base")
    other.submit("more", grid(x=3))
    base = other.id("base")
    other.registry.take_over(other.id("more"), None, [Match(n, base, n, 1) for n in range(3)])
    end(other)
    study.submit("base", grid(x=1))
    come(study, saved(other, tmp_path / "copy.sqlite"), base="brought")
    reads = Reads(study.registry.database)
    origin = reads.origins(study.id("more"), [2])[2]
    assert origin == (other.registry.uuid, "base", 2, 1)
    assert reads.bearers(origin) == [(study.id("brought"), 2, 1)]
    assert reads.brought(study.id("brought"), 2) == {1: origin}
    assert reads.brought(study.id("base"), 0) == {}


def test_another_map_of_the_same_name_is_refused_and_can_be_renamed(
    study: Study, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    study.submit("scan", grid(x=2), word="run")
    study.submit("fine", grid(x=2))
    other = elsewhere()
    other.submit("scan", grid(x=2), word="walk")
    other.submit("obs", [{}], on=[Dependency(upstream="scan", kind="each")])
    other.submit("fine", grid(x=3))
    other.run(other.job(), "scan", "obs")
    end(other)
    path = saved(other, tmp_path / "copy.sqlite")
    before = dump(study.registry.database)
    told = r"scan exists and is another one:\n  words: \('run',\) became \('walk',\)"
    with pytest.raises(Refused, match=told) as error:
        come(study, path)
    assert "--as scan=NEW" in str(error.value)
    assert dump(study.registry.database) == before
    come(study, path, scan="walked")
    assert (study.states("walked"), study.states("obs"), study.states("fine")) == ("ss", "ss", "ppp")
    (edge,) = study.registry.find_map("obs").dependencies  # type: ignore[union-attr]
    assert edge.upstream == "walked"
    with pytest.raises(Refused, match="two maps would be called obs"):
        come(study, path, scan="obs")


def test_maps_with_running_tasks_are_refused(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    other = elsewhere()
    for one in (study, other):
        one.submit("scan", grid(x=2))
    other.claim(other.job(), "scan", limit=1)
    with pytest.raises(Refused, match="job 1 is running"):
        come(study, saved(other, tmp_path / "copy.sqlite"))
    for job in other.registry.running_jobs():
        other.registry.abandon(job.id, AT)
    path = saved(other, tmp_path / "copy.sqlite")
    job = study.job()
    study.claim(job, "scan", limit=1)
    with pytest.raises(Refused, match="tasks of scan are running here"):
        come(study, path)
    study.registry.abandon(job, AT)
    assert [one.attempts for one in come(study, path)] == [1]


def test_a_run_that_begins_while_others_come_keeps_its_tasks(
    study: Study, elsewhere: Elsewhere, tmp_path: Path, any_url: str
) -> None:
    other = elsewhere()
    other.submit("large", grid(x=30_000))
    for one in (study, other):
        one.submit("scan", grid(x=2))
    other.run(other.job(), "scan")
    end(other)
    path = saved(other, tmp_path / "copy.sqlite")
    job = study.job()  # so that who merges pauses
    begun = threading.Event()

    def begin() -> None:
        with closing(Registry.open(any_url)) as registry:
            until(lambda: registry.database.one("select 1 from map where name='large'") is not None, "a map comes")
            assert Study(registry).claim(job, "scan", limit=1)
            begun.set()

    run = threading.Thread(target=begin)
    run.start()
    with pytest.raises(Refused, match="tasks of scan are running here"):
        come(study, path)
    run.join()
    assert begun.is_set()
    assert (study.states("scan"), len(study.states("large"))) == ("rp", 30_000)
    study.registry.abandon(job, AT)
    assert [one.attempts for one in come(study, path)] == [0, 2]


def test_large_maps_are_not_united_while_jobs_wait_to_write(
    study: Study, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    other = elsewhere()
    for one, n in ((study, 1), (other, MOST_BESIDE_JOBS + 1)):
        one.submit("scan", grid(x=n))
        one.submit("small", grid(x=n % 10))
    path = saved(other, tmp_path / "copy.sqlite")
    job = study.job()
    with pytest.raises(Refused, match="jobs run here, and would give up before 100,001 tasks of scan are united"):
        come(study, path)
    with pytest.raises(Refused, match="before 100,002 tasks are tried out"):
        come(study, path, dry=True, scan="new")
    come(study, path, scan="new")
    assert [study.registry.find_map(name).total for name in ("scan", "new")] == [1, 100_001]  # type: ignore[union-attr]
    study.registry.close_job(job, "ended", "", AT)
    assert [one.tasks for one in come(study, path, dry=True)] == [100_000, 0]


@pytest.mark.parametrize("first", [7, 0])
def test_tasks_that_wait_for_others_by_index_are_not_united_with_other_ones(
    study: Study, elsewhere: Elsewhere, tmp_path: Path, first: int
) -> None:
    other = elsewhere()
    other.submit("fine", grid(x=1))
    for one, points in ((study, grid(x=4)), (other, [{"x": first}, *grid(x=4)[1:], {"x": 9}])):
        one.submit("q", points)
        one.submit("q", [{"x": "end"}], on=[Dependency(upstream="q", kind="after", upstream_tasks=((0, 2),))])
    other.run(other.job(), "q")
    end(other)
    end(study)
    path = saved(other, tmp_path / "copy.sqlite")
    before = dump(study.registry.database)
    with pytest.raises(Refused, match="tasks of q wait for others by index, and these are other ones here") as error:
        come(study, path)
    assert "--as q=NEW" in str(error.value)
    assert dump(study.registry.database) == before
    come(study, path, q="other")
    assert (study.states("other"), study.states("q")) == ("ssssss", "ppppw")


def test_tasks_that_wait_for_others_by_index_are_united_if_they_are_the_same(
    study: Study, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    other = elsewhere()
    wait = Dependency(upstream="q", kind="after", upstream_tasks=((0, 2),))
    for one in (study, other):
        one.submit("q", grid(x=4))
        one.submit("q", [{"x": "end"}], on=[wait])
    other.submit("q", [{"x": "more"}], on=[wait])
    job = other.job()
    other.succeed(job, other.claim(job, "q", limit=1))
    end(other)
    come(study, saved(other, tmp_path / "copy.sqlite"))
    assert study.states("q") == "spppww"
    job = study.job()
    study.succeed(job, study.claim(job, "q", limit=1))
    assert study.states("q") == "sspppp"


def test_files_that_are_no_sound_registry_are_refused(study: Study, elsewhere: Elsewhere, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        come(study, tmp_path / "nothing.sqlite")
    (tmp_path / "text.sqlite").write_text("this is no database, however long one looks at it. " * 100)
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    other = elsewhere()
    other.submit("scan", grid(x=2))
    newer, broken = (saved(other, tmp_path / name) for name in ("newer.sqlite", "broken.sqlite"))
    for path, sql in (
        (newer, "update alembic_version set version_num='9999'"), (broken, "update counter set n=n+1"),
    ):
        with closing(sqlite3.connect(path)) as database:
            database.execute(sql)
            database.commit()
    for name, why in (
        ("text", "is no registry"), ("empty", "is no registry"), ("newer", "schema 9999"), ("broken", "is not sound"),
    ):
        with pytest.raises(Refused, match=why):
            come(study, tmp_path / f"{name}.sqlite")
    assert study.registry.maps() == []


def test_a_file_of_an_older_schema_is_brought_up_to_date_on_a_copy(
    study: Study, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    other = elsewhere()
    other.submit("scan", grid(x=2))
    other.run(other.job(), "scan")
    end(other)
    path = saved(other, tmp_path / "copy.sqlite")
    with closing(sqlite3.connect(path)) as database:
        database.execute("drop table brought")
        database.execute("update alembic_version set version_num='0005'")
        database.commit()
    before = path.read_bytes()
    scratch = tmp_path / "scratch"
    with opened(path, scratch) as source:
        assert [one.attempts for one in merge(study.registry.database, source, {})] == [2]
    assert path.read_bytes() == before
    assert list(scratch.iterdir()) == []
    assert study.states("scan") == "ss"


def test_a_map_that_was_deleted_comes_back_as_it_was(study: Study, tmp_path: Path) -> None:
    tell_more(study)
    path = saved(study, tmp_path / "copy.sqlite")
    before = told(study, "all")
    study.registry.delete(study.id("all"))
    done = come(study, path)
    assert [one.here for one in done if one.changed] == ["all"]
    assert told(study, "all") == before
    assert made_as(study, "all") == {}
