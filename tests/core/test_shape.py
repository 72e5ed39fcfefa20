"""Shapes: chosen within limits and wishes, with slots that work to the end, and explained."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provrun.core.choosing import NEAR, STARTUP, WAIT, choose
from provrun.core.forecast import Machine, forecast
from provrun.core.shape import TAIL, Queue, Shape, Wishes, rounded
from provrun.core.workload import Reads, Sample, Work, critical
from provrun.errors import NothingLeft, UsageError

CLUSTER = Queue(name="normal", cores=24, nodes=100, most_time=86_400.0, most_jobs=4)


def uniform(mean: float = 1.0, n: int = 100) -> Sample:
    return Sample.of(mean * (0.9 + 0.2 * (place + 0.5) / n) for place in range(n))


def exponential(mean: float = 1.0, n: int = 100) -> Sample:
    return Sample.of(-mean * math.log(1 - (place + 0.5) / n) for place in range(n))


def scan(tasks: int, durations: Sample, **more: object) -> Work:
    return Work(name="scan", tasks=tasks, durations=durations, **more)  # type: ignore[arg-type]


@st.composite
def durations(draw: st.DrawFn) -> Sample:
    mean = draw(st.sampled_from([0.5, 5.0, 60.0, 600.0, 7200.0]))
    family = draw(st.sampled_from(["equal", "uniform", "exponential", "two", "tail"]))
    chance = random.Random(draw(st.integers(0, 2**16)))
    n = draw(st.integers(1, 60))
    families: dict[str, Callable[[], float]] = {
        "equal": lambda: 1.0, "uniform": lambda: chance.uniform(0.5, 1.5), "exponential": lambda: chance.expovariate(1),
        "two": lambda: chance.choice([0.2, 1.8]), "tail": lambda: chance.lognormvariate(-0.5, 1),
    }
    one = families[family]
    return Sample.of((max(1e-3, mean * one()) for _ in range(n)), known=draw(st.booleans()))


QUEUES = st.builds(
    Queue, cores=st.integers(1, 16), nodes=st.integers(1, 6), most_nodes=st.none() | st.integers(1, 4),
    most_time=st.none() | st.sampled_from([3600.0, 86_400.0, 10 * 86_400.0]), most_jobs=st.none() | st.integers(1, 4),
    exclusive=st.booleans(),
)
WORKS = st.builds(scan, st.integers(1, 300), durations())


def outcome(work: Work, shape: Shape, orders: int) -> tuple[float, float]:
    """Play a shape task by task, in orders that the forecast has not seen; give mean tail idle and makespan."""
    machine = Machine(shape.jobs, shape.nodes, shape.slots)
    lanes = [job for job in range(shape.jobs) for _ in range(shape.nodes * shape.slots)]
    tails, makespans = [], []
    for seed in range(orders):
        seconds = work.durations.drawn(work.tasks)
        if work.durations.known:
            seconds.reverse()
        else:
            random.Random(1000 + seed).shuffle(seconds)
        ends = [0.0] * len(lanes)
        for each in seconds:
            first = min(range(len(ends)), key=ends.__getitem__)
            ends[first] += each
        held = sum(
            machine.nodes * machine.slots * max(end for end, its in zip(ends, lanes, strict=True) if its == job)
            for job in range(shape.jobs)
        )
        busy = sum(seconds)
        tails.append((held - busy) / (held + shape.rounds * machine.total * STARTUP))
        makespans.append(max(ends))
    return fmean(tails), fmean(makespans)


@settings(max_examples=80, deadline=None)
@given(work=WORKS, queue=QUEUES)
def test_slots_work_to_the_end_or_the_longest_task_sets_it(work: Work, queue: Queue) -> None:
    shape = choose([work], queue)
    # One slot can do it all, unless nodes come whole: then its other cores may be idle.
    fits = STARTUP + 2 * work.seconds <= (queue.most_time or math.inf)
    if fits and (not queue.exclusive or queue.cores == 1):
        assert shape.good
    if shape.good and shape.rounds == 1:
        tail, makespan = outcome(work, shape, max(4, min(40, 1000 // work.tasks)))
        # The mean of few orders scatters about what was foreseen.
        assert tail <= TAIL + 0.02 or makespan <= (NEAR + 0.01) * critical([work])
        assert tail == pytest.approx(shape.tail_idle, abs=0.05)


@settings(max_examples=60, deadline=None)
@given(
    work=WORKS, queue=QUEUES, nodes=st.none() | st.integers(1, 4), slots=st.none() | st.integers(1, 16),
    jobs=st.none() | st.integers(1, 3),
)
def test_with_wishes_the_shape_is_good_if_any_is(
    work: Work, queue: Queue, nodes: int | None, slots: int | None, jobs: int | None
) -> None:
    wishes = Wishes(nodes=nodes, slots=slots, jobs=jobs)
    try:
        shape = choose([work], queue, wishes)
    except UsageError:
        most_nodes = min(queue.nodes or 99, queue.most_nodes or 99)
        assert (nodes or 1) > most_nodes or (jobs or 1) > (queue.most_jobs or 99)
        return
    assert (nodes or shape.nodes, slots or shape.slots, jobs or shape.jobs) == (shape.nodes, shape.slots, shape.jobs)
    if shape.good or shape.rounds > 1 or queue.exclusive:
        return
    per_job = min(queue.nodes or 99, queue.most_nodes or 99)
    for j in [jobs] if jobs else range(1, (queue.most_jobs or 6) + 1):
        for n in [nodes] if nodes else range(1, per_job + 1):
            for s in [slots] if slots else range(1, queue.cores + 1):
                machine = Machine(j, n, s)
                fewest = jobs or -(-j * n // (nodes or per_job))
                if j * n > (queue.nodes or 99) or machine.total > work.tasks or j > fewest:
                    continue
                other = forecast([work], machine)
                # What takes several rounds has a tail in each.
                one_round = STARTUP + other.makespan <= (queue.most_time or math.inf)
                assert not one_round or other.tail_risked(machine.total, STARTUP) > TAIL


@settings(max_examples=60, deadline=None)
@given(
    work=WORKS, queue=QUEUES, area=st.none() | st.floats(0.05, 500),
    time=st.none() | st.sampled_from([600.0, 3600.0, 7200.0]),
)
def test_limits_and_the_area_are_kept(work: Work, queue: Queue, area: float | None, time: float | None) -> None:
    try:
        shape = choose([work], queue, Wishes(area=area, time=time))
    except UsageError as error:
        assert "--area" in error.message or "--time" in error.message
        return
    assert shape.slots <= queue.cores
    assert shape.nodes <= min(queue.nodes or 99, queue.most_nodes or 99)
    assert shape.nodes * shape.jobs <= (queue.nodes or 99)
    assert shape.jobs <= (queue.most_jobs or 99)
    assert shape.nodes * shape.slots * shape.jobs <= max(work.tasks, queue.cores * queue.exclusive)
    assert shape.time == time or shape.time <= (queue.most_time or math.inf)
    longest = STARTUP + work.worst
    assert shape.time >= min(longest, queue.most_time or math.inf) - 60 or shape.time == time
    assert shape.core_hours == pytest.approx(shape.nodes * shape.slots * shape.jobs * shape.time / 3600)
    if area is not None:
        assert shape.core_hours <= area * 1.0001
        assert shape.rounds == 1
    else:
        assert shape.done == 1
    assert 0 <= shape.tail_idle <= 1
    assert 0 < shape.utilisation <= 1
    text = "\n".join(shape.reasons)
    for word in ("scan", f"{shape.slots} slot", f"{shape.nodes} node", f"{shape.jobs} job", "foreseen"):
        assert word in text
    assert ("area is enough" in text) == (shape.done < 1)


@settings(max_examples=40, deadline=None)
@given(work=WORKS, queue=QUEUES, more=st.integers(1, 4))
def test_a_larger_queue_never_makes_it_later(work: Work, queue: Queue, more: int) -> None:
    def cost(shape: Shape) -> float:
        return shape.makespan + shape.rounds * (STARTUP + WAIT * shape.nodes * shape.jobs)

    free = Queue(cores=queue.cores, nodes=(queue.nodes or 0) + more, exclusive=queue.exclusive)
    tight = choose([work], Queue(cores=queue.cores, nodes=queue.nodes, exclusive=queue.exclusive))
    if tight.good:
        assert cost(choose([work], free)) <= cost(tight) * 1.001


@pytest.mark.parametrize("durations", [uniform(60.0), exponential(60.0)], ids=["uniform", "exponential"])
def test_more_work_takes_more_slots_and_more_time(durations: Sample) -> None:
    shapes = [choose([scan(10**power, durations)], CLUSTER) for power in range(2, 7)]
    slots = [shape.nodes * shape.slots * shape.jobs for shape in shapes]
    assert slots == sorted(slots)
    assert [shape.used_core_hours for shape in shapes] == sorted(shape.used_core_hours for shape in shapes)
    times = [shape.time for shape in shapes]
    assert times[-1] > times[0]


def test_a_small_scan_takes_one_node_for_a_short_time() -> None:
    shape = choose([scan(1000, uniform())], CLUSTER)
    assert (shape.jobs, shape.nodes, shape.slots, shape.time) == (1, 1, 24, 300.0)


def test_equal_tasks_come_in_whole_rounds() -> None:
    shape = choose([scan(30, Sample.of([600.0] * 30))], CLUSTER)
    assert (shape.nodes, shape.slots) == (1, 15)
    assert shape.tail_idle == 0


def test_one_job_may_not_have_as_many_nodes_as_are_wanted_so_there_are_several() -> None:
    queue = Queue(cores=24, nodes=100, most_nodes=5, most_jobs=4)
    shape = choose([scan(10**6, exponential(10.0))], queue)
    assert shape.jobs > 1
    assert shape.nodes <= 5
    assert any("one may have 5 nodes" in reason for reason in shape.reasons)


def test_what_does_not_fit_the_longest_time_goes_on_in_rounds() -> None:
    queue = Queue(cores=8, nodes=4, most_time=7200.0)
    shape = choose([scan(10**6, exponential(10.0))], queue)
    assert (shape.nodes, shape.slots, shape.time) == (4, 8, 7200.0)
    assert shape.rounds == pytest.approx(10**7 / (32 * 7200), rel=0.05)
    assert any("followed by another" in reason for reason in shape.reasons)


def test_a_task_longer_than_the_queue_allows_is_said() -> None:
    shape = choose([scan(10, Sample.of([7200.0] * 30))], Queue(cores=8, nodes=4, most_time=3600.0))
    assert shape.time == 3600.0
    assert any("--checkpoint" in reason for reason in shape.reasons)


def test_memory_leaves_fewer_slots() -> None:
    queue = Queue(cores=24, memory=2**36, nodes=10)
    shape = choose([scan(10_000, uniform(), memory=2**33)], queue)
    assert shape.slots == 8
    assert any("8G of the 64G" in reason for reason in shape.reasons)


def test_whole_nodes_are_used_whole() -> None:
    assert choose([scan(1000, exponential(300.0))], Queue(cores=24, nodes=10, exclusive=True)).slots == 24


def test_wide_tasks_get_the_nodes_they_need() -> None:
    works = [scan(30, uniform(100.0), cores=4), Work(name="mpi", tasks=4, nodes=3, durations=uniform(1000.0))]
    shape = choose(works, CLUSTER)
    assert shape.nodes >= 3
    assert shape.slots >= 4


def test_large_nodes_are_not_left_nearly_empty() -> None:
    chance = random.Random(1)
    durations = Sample.of(chance.lognormvariate(3, 1) for _ in range(300))
    shape = choose([scan(3_000, durations)], Queue(cores=128, nodes=5_000))
    assert shape.good
    assert shape.nodes * shape.slots > 30


def test_a_reduce_is_foreseen_after_what_it_reads() -> None:
    total = Work(name="total", tasks=1, durations=Sample.of([600.0]), ready=0, reads=(Reads("scan"),))
    shape = choose([scan(10_000, uniform(60.0)), total], CLUSTER)
    assert shape.good
    assert shape.makespan > 600 + 10_000 * 60 / (shape.nodes * shape.slots)
    assert any("after those of scan" in reason for reason in shape.reasons)


def test_what_is_assumed_is_called_so_and_gets_twice_the_time() -> None:
    shape = choose([scan(240, Sample((60.0,)))], CLUSTER)
    assert shape.time >= 2 * shape.makespan
    assert "assumed" in shape.reasons[0]


def test_an_area_that_is_too_small_is_filled() -> None:
    shape = choose([scan(10**6, uniform(60.0))], CLUSTER, Wishes(area=100.0))
    assert 90 < shape.core_hours <= 100
    assert shape.done == pytest.approx(100 / (10**6 / 60), rel=0.1)


@pytest.mark.parametrize(
    ("works", "wishes", "words"),
    [
        ([scan(10, uniform(), cores=4)], Wishes(slots=2), "4 cores, more than 2 slots"),
        ([scan(10, uniform(), cores=48)], Wishes(), "more than the 24 of a node"),
        ([scan(10, uniform(), nodes=3)], Wishes(nodes=2), "3 nodes, more than 2"),
        ([scan(10, uniform())], Wishes(nodes=101), "--nodes 101"),
        ([scan(10, uniform())], Wishes(jobs=5), "--jobs 5"),
        ([scan(10, uniform())], Wishes(time=86_401.0), "--time"),
        ([scan(10, uniform(3600.0))], Wishes(area=0.5), "smallest shape"),
        ([scan(10, uniform())], Wishes(area=1.0, nodes=2, slots=24, time=3600.0), "smallest shape"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(works: list[Work], wishes: Wishes, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        choose(works, CLUSTER, wishes)
    assert words in refused.value.message
    assert refused.value.next


def test_without_tasks_there_is_no_shape() -> None:
    with pytest.raises(NothingLeft):
        choose([], CLUSTER)


@given(seconds=st.floats(0, 10**7))
def test_times_are_rounded_up_and_little(seconds: float) -> None:
    assert seconds <= rounded(seconds) <= max(300.0, 2 * seconds)
    assert rounded(rounded(seconds)) == rounded(seconds)
