"""Say in words why a shape of jobs was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provrun.core.forecast import Machine
from provrun.core.shape import TAIL, Queue, Shape, Wishes
from provrun.core.units import format_duration, format_size
from provrun.core.workload import Work


def reasons(
    shape: Shape, works: Sequence[Work], queue: Queue, wishes: Wishes, startup: float,
    wider: tuple[Machine, float] | None,
) -> tuple[str, ...]:
    """Give the reasons as sentences: what there is to do, what is allowed, and what follows for each number."""
    return (
        *(_work(work) for work in works),
        *_queue(queue),
        *_slots(shape, works, queue, wishes),
        *_nodes(shape, queue, wishes, wider),
        *_time(shape, works, queue, wishes, startup),
        *_outcome(shape),
    )


def _work(work: Work) -> str:
    durations = work.durations
    about = format_duration(durations.mean)
    each = f"{about} each" if work.tasks > 1 else about
    if not durations.measured:
        how = f"assumed to take {each}, for none has been measured"
    else:
        spread = f", longest {format_duration(work.worst)}" if durations.spread > 0.01 * durations.mean else ""
        how = f"{each}{spread} by {_count(durations.measured, 'measured task')}"
        how += ", the longest first" if durations.known else ""
    wide = f" of {_count(work.nodes, 'node')}" if work.nodes else f" of {work.cores} cores" if work.cores > 1 else ""
    after = "".join(
        f", {'as' if reads.flow == 'gradual' else 'after'} those of {reads.map}"
        f"{' end' if reads.flow == 'gradual' else ''}" for reads in work.reads
    )
    return f"{work.name}: {_count(work.tasks, 'task')} left{wide}, {how}{after}"


def _queue(queue: Queue) -> Iterator[str]:
    allowed = [f"nodes of {_count(queue.cores, 'core')}"]
    if queue.nodes:
        allowed.append(f"{_count(queue.nodes, 'node')} in all")
    most = [
        text for limit, text in (
            (queue.most_nodes, f"{queue.most_nodes} nodes a job"),
            (queue.most_time, f"{format_duration(queue.most_time or 0)} a job"),
            (queue.most_jobs, f"{queue.most_jobs} jobs a user"),
            (queue.most_cores, f"{queue.most_cores} cores a user"),
        ) if limit
    ]
    if most:
        allowed.append(f"at most {', '.join(most)}")
    yield f"{queue.name or 'the queue'}: {'; '.join(allowed)}" + (f" ({queue.source})" if queue.source else "")


def _slots(shape: Shape, works: Sequence[Work], queue: Queue, wishes: Wishes) -> Iterator[str]:
    slots = f"{_count(shape.slots, 'slot')} a node"
    if wishes.slots:
        yield f"{slots}: as wished"
        return
    heavy = [
        work for work in works
        if work.memory and queue.memory and shape.slots < queue.cores
        and shape.slots >= queue.memory // work.memory * work.cores
    ]
    if shape.slots == queue.cores:
        yield f"{slots}: all its cores"
    elif heavy:
        yield (
            f"{slots}: tasks of {heavy[0].name} take {format_size(heavy[0].memory)} of the"
            f" {format_size(queue.memory or 0)} of a node"
        )
    elif shape.slots * shape.nodes * shape.jobs >= sum(work.tasks * work.cores for work in works if not work.nodes):
        yield f"{slots}: no more than there are tasks"
    else:
        yield f"{slots} of {queue.cores} cores: so all find work nearly to the end"


def _nodes(shape: Shape, queue: Queue, wishes: Wishes, wider: tuple[Machine, float] | None) -> Iterator[str]:
    nodes = _count(shape.nodes, "node")
    jobs = _count(shape.jobs, "job")
    total = shape.nodes * shape.jobs
    most = min((n for n in (queue.nodes, (queue.most_nodes or 0) * (queue.most_jobs or 0)) if n), default=None)
    what = f"{jobs} of {nodes}"
    if wishes.nodes and wishes.jobs:
        yield f"{what}: as wished"
        return
    if wishes.nodes:
        what += " (nodes as wished)"
    elif wishes.jobs:
        what += " (jobs as wished)"
    if total == most:
        yield f"{what}: no more are allowed"
    elif wider is not None and wider[0].total > total * shape.slots:
        yield f"{what}: {_count(wider[0].total, 'slot')} would be idle for {wider[1]:.0%} of their time at the end"
    elif wishes.area is not None:
        yield f"{what}: within the area"
    else:
        yield f"{what}: waiting for more would take longer than they save"
    if shape.jobs > 1 and not wishes.jobs and not wishes.nodes:
        most_nodes = _count(queue.most_nodes or shape.nodes, "node")
        yield f"{jobs}: one may have {most_nodes}; all share the tasks that are left"


def _time(shape: Shape, works: Sequence[Work], queue: Queue, wishes: Wishes, startup: float) -> Iterator[str]:
    longest = max(works, key=lambda work: work.worst)
    time = format_duration(shape.time)
    if wishes.time:
        yield f"{time}: as wished"
    elif shape.rounds > 1:
        yield f"{time}: all that is allowed"
    elif shape.done < 1:
        yield f"{time}: all that the area allows"
    else:
        yield f"{time}: {format_duration(shape.makespan)} foreseen, start-up and a margin"
    if startup + longest.worst > shape.time:
        yield (
            f"careful: a task of {longest.name} takes up to {format_duration(longest.worst)} and does not fit"
            f" {time}: it needs a longer time, another queue, or --checkpoint"
        )
    if shape.rounds > 1:
        yield (
            f"{shape.rounds} rounds: all takes {format_duration(shape.makespan)}, so each job is followed by another"
            " until nothing is left"
        )
    if shape.done < 1:
        yield f"the area is enough for about {shape.done:.0%} of what is left"


def _outcome(shape: Shape) -> Iterator[str]:
    end = "done" if shape.done == 1 else "over"
    yield (
        f"foreseen: {end} {format_duration(shape.makespan)} after the start, slots in use {shape.utilisation:.0%} of"
        f" their time, idle at the end {shape.tail_idle:.1%}"
    )
    if not shape.good:
        yield (
            f"no shape that was considered keeps the slots in use to the end"
            f" (the longest task alone leaves {shape.tail_bound:.0%} idle)"
        )
    elif shape.tail_idle > TAIL:
        yield f"the longest task sets the end: on so many slots at least {shape.tail_bound:.0%} is idle"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
