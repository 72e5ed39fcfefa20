"""Every law refuses, by its own name, a page that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fixtures.study import Study
from fixtures.told import tell
from provrun.core.commitment import commit
from provrun.core.states import State
from provrun.export.document import Built
from provrun.export.laws import LAWS, LawBroken, require
from provrun.export.summary import Summary
from provrun.project.pages.publishing import summarised
from provrun.project.project import Project

Told = tuple[list[Summary], Built]
Lie = Callable[[list[Summary], Built], None]


@pytest.fixture
def told(project: Project, study: Study) -> Told:
    tell(study)
    summaries, built = summarised(project)
    return summaries, built


def _count_one_task_more(summaries: list[Summary], built: Built) -> None:
    summaries[0].census.states[State.FAILED] += 1


def _accept_one_attempt_more(summaries: list[Summary], built: Built) -> None:
    summaries[0].parts[0].first.accepted += 1


def _show_a_task_in_two_groups(summaries: list[Summary], built: Built) -> None:
    summaries[0].parts[0].first.shown += 1


def _forget_a_group(summaries: list[Summary], built: Built) -> None:
    del summaries[0].parts[0]


def _accept_a_failure(summaries: list[Summary], built: Built) -> None:
    failed = next(part for part in summaries[0].parts if not part.succeeded)
    failed.first.superseded = 1


def _commit_to_another_group(summaries: list[Summary], built: Built) -> None:
    groups = summaries[0].commitment.groups
    summaries[0].commitment = commit([*groups[1:], groups[0]])


def _leave_out_a_group(summaries: list[Summary], built: Built) -> None:
    summaries[0].commitment = commit(summaries[0].commitment.groups[1:])


def _commit_to_another_root(summaries: list[Summary], built: Built) -> None:
    summaries[0].commitment = summaries[0].commitment._replace(root=summaries[1].commitment.root)


def _add_a_member(summaries: list[Summary], built: Built) -> None:
    page = built.page
    page.entity(page.p("results.lie"), ["prov:Collection"], memberCount=3, partitionedInto=[page.p("results.scan.0")])


def _follow_two_plans(summaries: list[Summary], built: Built) -> None:
    page = built.page
    page.associated(page.p("cohort.scan.0"), page.r("person"), page.r("recipe.x"))


def _make_twice(summaries: list[Summary], built: Built) -> None:
    built.page.generated(built.page.p("results.scan.0"), built.page.p("cohort.scan.1"))


def _use_what_it_makes(summaries: list[Summary], built: Built) -> None:
    built.page.used(built.page.p("cohort.scan.0"), built.page.p("results.scan.0"))


def _start_before_the_map(summaries: list[Summary], built: Built) -> None:
    page = built.page
    page.activity(page.p("cohort.lie"), ["Other"], started=1, ended=2, dcterms_isPartOf=page.p("map.scan"))


def _derive_in_a_circle(summaries: list[Summary], built: Built) -> None:
    built.page.derived(built.page.p("params.scan"), built.page.p("results.scan"))


def _name_what_is_not_there(summaries: list[Summary], built: Built) -> None:
    built.page.used(built.page.p("map.scan"), built.page.p("nothing"))


def _call_it_reused(summaries: list[Summary], built: Built) -> None:
    page = built.page
    made = page.entity(page.p("reused.scan.0"), ["ReusedResults"], memberCount=1)
    page.generated(made, page.p("cohort.scan.0"))


LIES: dict[str, list[Lie]] = {
    "planned-tasks-are-accounted-for": [_count_one_task_more],
    "cohorts-partition-attempts": [_accept_one_attempt_more],
    "groups-partition-tasks": [_show_a_task_in_two_groups, _forget_a_group],
    "commitments-agree-with-counts": [_commit_to_another_group, _leave_out_a_group, _commit_to_another_root],
    "partitions-add-up": [_add_a_member],
    "unsuccessful-cohorts-make-nothing": [_accept_a_failure],
    "each-cohort-has-one-plan": [_follow_two_plans],
    "nothing-reused-is-made-here": [_call_it_reused],
    "one-generation-each": [_make_twice],
    "nothing-uses-what-it-makes": [_use_what_it_makes],
    "parts-end-within-the-whole": [_start_before_the_map],
    "nothing-derives-from-itself": [_derive_in_a_circle],
    "every-name-is-declared": [_name_what_is_not_there],
}


@contextmanager
def refused(law: str) -> Iterator[None]:
    with pytest.raises(LawBroken) as caught:
        yield
    assert isinstance(caught.value.value, list)
    assert any(str(problem).startswith(f"{law}:") for problem in caught.value.value), caught.value


def test_an_honest_page_breaks_no_law(told: Told) -> None:
    require(*told)


def test_every_law_has_a_lie_that_it_catches() -> None:
    assert set(LIES) == set(LAWS)


@pytest.mark.parametrize(("law", "lie"), [(law, lie) for law, lies in LIES.items() for lie in lies])
def test_a_lie_is_caught_by_the_name_of_the_law_it_breaks(told: Told, law: str, lie: Lie) -> None:
    lie(*told)
    with refused(law):
        require(*told)
