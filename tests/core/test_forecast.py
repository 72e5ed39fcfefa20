"""Forecasts, against list scheduling played task by task."""

from __future__ import annotations

import heapq
import math
import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provrun.core.forecast import Machine, forecast, least
from provrun.core.workload import Reads, Sample, Work, critical

SECONDS = st.floats(0.01, 1000, allow_nan=False)


def uniform(n: int = 200, low: float = 0.9, high: float = 1.1) -> Sample:
    return Sample.of(low + (high - low) * (place + 0.5) / n for place in range(n))


def exponential(n: int = 200, mean: float = 1.0) -> Sample:
    return Sample.of(-mean * math.log(1 - (place + 0.5) / n) for place in range(n))


def greedy(durations: list[float], lanes: int) -> float:
    ends = [0.0] * lanes
    for seconds in durations:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def work(tasks: int, durations: Sample, name: str = "scan", **more: object) -> Work:
    return Work(name=name, tasks=tasks, durations=durations, **more)  # type: ignore[arg-type]


@settings(deadline=None)
@given(
    sample=st.lists(SECONDS, min_size=1, max_size=30), tasks=st.integers(1, 200), nodes=st.integers(1, 4),
    slots=st.integers(1, 8), jobs=st.integers(1, 3), known=st.booleans(),
)
def test_a_forecast_lies_between_the_bounds_of_list_scheduling(
    sample: list[float], tasks: int, nodes: int, slots: int, jobs: int, known: bool
) -> None:
    one = work(tasks, Sample.of(sample, known=known))
    machine = Machine(jobs, nodes, slots)
    found = forecast([one], machine)
    drawn = one.durations.drawn(tasks)
    assert found.makespan >= max(sum(drawn) / machine.total, drawn[-1]) * (1 - 1e-9)
    assert found.makespan <= (sum(drawn) / machine.total + drawn[-1]) * (1 + 1e-9)
    assert 0 <= found.tail_idle(machine.total, 1.0) <= 1
    assert 0 < found.utilisation(machine.total, 1.0) <= 1
    assert found == forecast([one], machine)


def test_one_slot_takes_the_sum() -> None:
    durations = Sample.of([1.0, 2.0, 30.0])
    assert forecast([work(3, durations)], Machine(1, 1, 1)).makespan == pytest.approx(33.0)


def test_the_longest_first_is_as_good_as_known_durations_make_it() -> None:
    known = Sample.of([1.0] * 20 + [10.0], known=True)
    assert forecast([work(21, known)], Machine(1, 1, 3)).makespan == 10.0
    unknown = Sample.of(known.seconds)
    assert forecast([work(21, unknown)], Machine(1, 1, 3)).makespan > 12.0


@pytest.mark.parametrize(
    ("durations", "tasks", "machine"),
    [
        (uniform(), 300_000, Machine(1, 10, 24)),
        (exponential(), 300_000, Machine(1, 10, 24)),
        (uniform(), 122_880, Machine(1, 512, 24)),
        (exponential(), 122_880, Machine(1, 512, 24)),
        (exponential(), 100_000, Machine(4, 15, 24)),
        (Sample.of([1.0]), 100_000, Machine(1, 100, 24)),
    ],
)
def test_what_is_not_played_makes_no_difference(durations: Sample, tasks: int, machine: Machine) -> None:
    chance = random.Random(7)
    whole = []
    for _ in range(5):
        drawn = durations.drawn(tasks)
        chance.shuffle(drawn)
        whole.append(greedy(drawn, machine.total))
    # Where every slot has ten tasks and one of all is very long, much depends on when that one starts.
    few = tasks < 20 * machine.total
    assert forecast([work(tasks, durations)], machine).makespan == pytest.approx(fmean(whole), rel=0.2 if few else 0.04)


def test_a_rare_long_task_among_many_counts_once() -> None:
    durations = Sample.of([60.0] * 4_999 + [36_000.0])
    found = forecast([work(5_000, durations)], Machine(1, 1, 1))
    assert found.makespan == pytest.approx(4_999 * 60 + 36_000)


def test_a_reduce_comes_after_all_that_it_reads() -> None:
    works = [work(48, uniform()), work(1, Sample.of([10.0]), "total", ready=0, reads=(Reads("scan"),))]
    found = forecast(works, Machine(1, 1, 24))
    alone = forecast(works[:1], Machine(1, 1, 24))
    assert found.makespan == pytest.approx(alone.makespan + 10, rel=0.02)
    assert found.held == pytest.approx(24 * found.makespan)
    assert critical(works) == pytest.approx(11.1, rel=0.01)
    assert least(works, Machine(1, 1, 24))[0] == pytest.approx(critical(works))


def test_tasks_that_follow_others_one_by_one_overlap_with_them() -> None:
    gradual = work(100, uniform(), "next", ready=0, reads=(Reads("scan", "gradual"),))
    barrier = work(100, uniform(), "next", ready=0, reads=(Reads("scan"),))
    machine = Machine(1, 1, 15)
    overlapped = forecast([work(100, uniform()), gradual], machine).makespan
    assert overlapped < forecast([work(100, uniform()), barrier], machine).makespan
    assert overlapped >= 200 / 15


def test_what_has_ended_holds_nothing_up() -> None:
    alone = work(10, uniform(), "next", reads=(Reads("gone"),))
    assert forecast([alone], Machine(1, 1, 10)).makespan < 1.2


def test_wide_tasks_go_first_and_narrow_ones_fill_what_they_leave() -> None:
    works = [work(2, Sample.of([100.0]), "mpi", nodes=2), work(240, Sample.of([10.0]))]
    found = forecast(works, Machine(1, 3, 4))
    # Two nodes are taken for 200 s, the third does 80 of the small ones meanwhile, then all three the rest.
    assert found.makespan == pytest.approx(200 + 10 * math.ceil(160 / 12))
    assert found.busy == 2 * 100 * 8 + 2400


def test_slots_that_no_task_fits_are_idle() -> None:
    found = forecast([work(30, Sample.of([1.0]), cores=3)], Machine(1, 1, 8))
    assert found.makespan == 15
    assert found.tail_idle(8, 0.0) == pytest.approx(0.25)


def test_jobs_end_one_by_one_when_nothing_is_left_for_them() -> None:
    one = work(10, Sample.of([1.0] * 9 + [50.0]))
    together, apart = forecast([one], Machine(1, 4, 1)), forecast([one], Machine(4, 1, 1))
    assert together.makespan == pytest.approx(apart.makespan)
    assert apart.held < together.held / 2


def test_the_longest_of_many_is_guessed_from_the_tail() -> None:
    assert exponential(200).longest(200_000) == pytest.approx(math.log(200_000), rel=0.2)
    assert uniform(200).longest(200_000) < 1.15
    assert Sample.of([1.0, 2.0]).longest(10**6) == 2.0
    assert Sample.of(exponential(200).seconds, most=7.0).longest(10**6) == 7.0
