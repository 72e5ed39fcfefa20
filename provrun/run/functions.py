"""Function tasks on the spawner's side: what is handed to which child, and what becomes of it."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from provrun.core.messages import Key, Result, RunMap, Start
from provrun.core.records import Artifact
from provrun.core.states import Outcome
from provrun.run.capture import Log, encode_log, read_tape
from provrun.run.declared import CannotStart
from provrun.run.files import Seen
from provrun.run.lines import Ended, Heavy
from provrun.run.nurseries import FunctionMap, Nurseries, Nursery
from provrun.run.outcomes import died, not_started
from provrun.run.packing import pack_outputs
from provrun.run.packs import LOG
from provrun.run.processes import Process, kill_tree, mark_of
from provrun.run.site import Site
from provrun.run.warnings import SAVING
from provrun.run.workers import Handed, Places, Worker, decode_results

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # ns of the clock in which the kernel tells when a process began
_SETTLE = 0.002  # seconds after which it is known what a child has started before it saw a revocation
_LOOK = 0.1
_STUCK = 0.1  # seconds a task may take before those handed over behind it are taken back
_LAST_WORDS = 5.0  # seconds in which a child that has been killed, but was not waited for, has ended
_IDLE = 5.0  # seconds after which an idle child is let go


class Functions:
    """Hands function tasks to children and reports how they ended.

    ``again`` takes tasks that a child did not get to.
    """

    def __init__(self, site: Site, again: Callable[[list[Start]], None]) -> None:
        self._site = site
        self._seats = site.seats
        self._again = again
        self._places = Places(2 * self._seats.slots + 2, site.descriptors)
        self._maps: dict[int, FunctionMap] = {}
        self._nurseries = Nurseries(site, self._places.memory, self._maps, self)
        self._looking = False
        self._until: float | None = None

    def learn(self, run: RunMap) -> None:
        """Learn of a map, or how it is run from now on."""
        known = self._maps.get(run.map)
        if known is not None and known.run.recipe == run.recipe:
            known.change(run)
        else:
            self._nurseries.forget(run.map)
            self._maps[run.map] = FunctionMap(run, self._site)

    def take(self, queue: deque[Start]) -> bool:
        """Take tasks from the head of the queue; tell whether there was room for any.

        Tasks put behind those that a child has already occupy nothing; they share its limits, so only tasks of the
        same limits go there.
        """
        map = self._maps[queue[0].map]
        try:
            cores, gpus = map.policy.wants(queue[0], self._seats)
            nursery = self._nurseries.of(map, queue[0])
        except CannotStart as problem:
            self._site.reports.add(not_started(queue.popleft(), problem.message))
            return True
        if self._seats.fits(cores, gpus):
            worker = self._idle(nursery, gpus) or self._fork(nursery)
            if worker is None:
                return False
            worker.sit(self._seats, cores, gpus)
            worker.since = time.monotonic()
            self._hand(worker, map, queue)
            return True
        limits = map.policy.limits(queue[0])
        for worker in nursery.workers.values() if map.short else ():
            behind = len(worker.outstanding)
            fits = worker.handed.map is map and worker.open and (worker.time, worker.memory) == limits
            if fits and 0 < behind <= map.batch // 2:
                self._hand(worker, map, queue)
                return True
        return False

    def kill(self, keys: Iterable[Key]) -> None:
        """End attempts as cancelled; those that have not started are given back."""
        wanted = set(keys)
        for worker in self._workers():
            if any(start.key in wanted for start in worker.outstanding):
                self._take_back(worker, lambda worker: self._cancel(worker, wanted))

    def stop(self, now: bool) -> None:
        """Give back what has not started, and with ``now`` end and give back what runs."""
        for worker in self._workers():
            if worker.outstanding:
                self._take_back(worker, lambda worker: self._return(worker, now))

    def warn(self, seconds: float) -> None:
        """Let tasks with a checkpoint save where they are; those that still run after the seconds are given back."""
        self._until = time.monotonic() + seconds
        for worker in self._workers():
            if worker.keeps:
                self._warn(worker, seconds)

    def owns(self, process: Process) -> bool:
        """Tell whether an orphan is in the session of a child whose task is older, or carries the task's name."""
        mark = mark_of(process.pid, "PROVRUN_ATTEMPT")
        for worker in self._places.workers:
            start = worker.running
            if start is None:
                continue
            if process.session == worker.pid:
                age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - process.started * _TICK
                if age < time.monotonic_ns() - worker.place.lane.begun + 2 * _TICK:
                    return True
            if mark is not None and mark == worker.name:
                return True
        return False

    def _warn(self, worker: Worker, seconds: float) -> None:
        worker.warn()
        nursery = worker.nursery  # a place in it may be another child's by then

        def up() -> None:
            if worker in nursery.workers.values() and worker.handed.warned and worker.outstanding:
                self._take_back(worker, lambda worker: self._return(worker, True))

        self._site.loop.later(seconds, up)

    # Handing over.

    def _workers(self) -> list[Worker]:
        return list(self._places.workers)

    def _idle(self, nursery: Nursery, gpus: int) -> Worker | None:
        """Give a child that rests; one that has seen GPUs keeps to them, for its libraries cannot change them."""
        for place in range(len(nursery.idle) - 1, -1, -1):
            if not gpus or self._seats.has(nursery.idle[place].seat.gpus):
                return nursery.idle.pop(place)
        return None

    def _fork(self, nursery: Nursery) -> Worker | None:
        place = self._places.take()
        if place is None:
            for other in self._nurseries:
                if other.idle:
                    other.idle.pop(0).close(self._site.loop)
                    break
            return None
        worker = nursery.fork(place)
        self._places.workers.add(worker)
        self._site.loop.watch(worker.channel.fileno(), lambda: self._heard(worker))
        self._look_later()
        return worker

    def _hand(self, worker: Worker, map: FunctionMap, queue: deque[Start]) -> None:
        most = 1 if map.run.policy.isolate else max(1, min(map.batch, len(queue) // (2 * self._seats.slots)))
        tasks = [queue.popleft()]
        while len(tasks) < most and queue and queue[0].map == map.run.map and queue[0].limits == tasks[0].limits:
            tasks.append(queue.popleft())
        worker.time, worker.memory = map.policy.limits(tasks[0])
        worker.hand(map, tasks)
        if self._until is not None and worker.keeps:
            self._warn(worker, max(0.0, self._until - time.monotonic()))
        if worker.memory is not None and worker.pid:
            self._site.memory.add(worker)
        if worker.channel.wants_write:
            self._site.loop.watch_writing(worker.channel.fileno(), True)

    def _take_back(self, worker: Worker, then: Callable[[Worker], None]) -> None:
        worker.revoke()
        self._site.loop.later(_SETTLE, lambda: then(worker))

    def _requeue(self, worker: Worker) -> None:
        self._again(worker.unstarted())
        self._rest(worker)

    def _return(self, worker: Worker, now: bool) -> None:
        self._site.reports.give_back([start.key for start in worker.unstarted()], started=False)
        if now and worker.running:
            if worker.keeps:
                self._warn(worker, SAVING)
            else:
                worker.end(None, "")
        self._rest(worker)

    def _cancel(self, worker: Worker, wanted: set[Key]) -> None:
        unstarted = worker.unstarted()
        self._site.reports.give_back([start.key for start in unstarted if start.key in wanted], started=False)
        self._again([start for start in unstarted if start.key not in wanted])
        if worker.running and worker.running.key in wanted:
            worker.end(Outcome.CANCELLED, "cancelled while it ran")
        self._rest(worker)

    def _rest(self, worker: Worker) -> None:
        """Free what a worker occupied once it has nothing to do; keep it for the next tasks if it may have any."""
        if worker.outstanding or worker.resting:
            return
        worker.resting = True
        self._site.memory.discard(worker)
        self._seats.leave(worker.seat)
        if worker.nursery.retired or worker.handed.map.run.policy.isolate or not worker.open:
            worker.close(self._site.loop)
        else:
            worker.since = time.monotonic()
            worker.nursery.idle.append(worker)

    # What nurseries tell.

    def born(self, nursery: Nursery, worker: Worker, pid: int) -> None:
        """Learn which process a child is; none if its nursery must not fork."""
        worker.pid = pid
        if not pid:
            self._gone(nursery, worker)
        elif worker.why is not None:
            kill_tree(pid)
        else:
            if worker.seat.cpus:
                self._seats.pin(pid, worker.seat)
            if worker.memory is not None:
                self._site.memory.add(worker)

    def ended(self, nursery: Nursery, worker: Worker, message: Ended) -> None:
        """Take what a child has left behind, and judge the task it died of."""
        # Of a child that was waited for all has come, though what it has started may hold its socket open.
        patience = 0 if message.pid else _LAST_WORDS
        while not self._hear(worker) and select.select([worker.channel], [], [], patience)[0]:
            pass
        for result in worker.remains():
            self._report(worker.handed, result, result.artifacts)
        if worker.running is not None:
            self._judge(worker, worker.outstanding.popleft(), message)
        self._gone(nursery, worker)

    def _judge(self, worker: Worker, start: Start, message: Ended) -> None:
        why = worker.why
        if why is not None and (why[0] != start.key or why[1] is None):
            self._site.reports.give_back([start.key], started=True)
            return
        lane, place = worker.place.lane, worker.place
        detail: int | None
        outcome, detail, error = died(message.status, self._site.oom_kills)
        if outcome is Outcome.EXIT:
            error = f"the process ended with exit code {detail} before the function had returned"
        if why is not None and why[1] is not None:
            outcome, detail, error = why[1], None, why[2]
        out, err = read_tape(place.out), read_tape(place.err)
        log = self._site.pack.append(LOG, encode_log(Log(out, err))) if out.head or err.head else None
        wall = (time.monotonic_ns() - lane.begun) // 1000
        cpu = max(0, message.cpu - lane.cpu)
        rss = max(message.max_rss, worker.peak)
        result = Result(
            start.map, start.index, start.number, outcome, lane.wall, wall, cpu, rss, worker.done > 0, detail, error,
            None, None, log, None, 0, 0,
        )  # fmt: skip
        self._report(worker.handed, result, None)

    def let_go(self, nursery: Nursery, worker: Worker) -> None:
        """Let a child of a retired nursery finish its task."""
        if worker in nursery.idle:
            nursery.idle.remove(worker)
            worker.close(self._site.loop)
        else:
            self._take_back(worker, self._requeue)

    def _gone(self, nursery: Nursery, worker: Worker) -> None:
        if worker in nursery.idle:
            nursery.idle.remove(worker)
        self._again(list(worker.outstanding))
        worker.outstanding.clear()
        worker.close(self._site.loop)
        if not worker.resting:
            worker.resting = True
            self._site.memory.discard(worker)
            self._seats.leave(worker.seat)
        self._places.leave(worker)

    # What children tell.

    def _hear(self, worker: Worker) -> bool:
        """Take what a child has to say; tell whether nothing more will come, for one end has been closed."""
        if worker.channel.fileno() < 0:
            return True
        if worker.channel.wants_write:
            worker.flush()
            self._site.loop.watch_writing(worker.channel.fileno(), worker.channel.wants_write)
        heard = worker.receive()
        if heard.files:
            self._used(worker, heard.files)
        count = heard.results
        if count:
            now = time.monotonic()
            worker.handed.map.learn((now - worker.since) / count)
            worker.since = now
            if worker.handed.uses is worker.handed.map.uses and worker.handed.uses.changed():
                self._nurseries.renew(worker.nursery)
        for number, data in heard.ready:
            self._forward(worker, number, data)
        for heavy in heard.heavy:
            self._heavy(worker, heavy)
        if heard.gone:
            self._site.loop.unwatch(worker.channel.fileno())
        elif count:
            self._rest(worker)
        return heard.gone or worker.channel.fileno() < 0

    def _heard(self, worker: Worker) -> None:
        self._hear(worker)

    def _used(self, worker: Worker, files: dict[str, Seen]) -> None:
        """Learn that tasks have imported more of the project than the nursery did."""
        nursery = worker.nursery
        new = {path: seen for path, seen in files.items() if path not in nursery.files}
        if new and not nursery.retired:
            nursery.files.update(new)
            for number in nursery.maps:
                self._maps[number].uses.grow(new, self._site.reports)

    def _forward(self, worker: Worker, count: int, data: bytes) -> None:
        map, uses, number, warned = worker.handed
        if not warned and uses is map.uses and uses.announced and uses.number == number:
            self._site.reports.add_encoded(count, data)
        else:
            for result in decode_results(count, data):
                self._report(worker.handed, result, result.artifacts)

    def _heavy(self, worker: Worker, heavy: Heavy) -> None:
        result, pack = heavy.result, self._site.pack
        artifacts = list(result.artifacts or ())
        log = None
        for content in heavy.contents:
            place = pack.append(content.kind, content.data)
            if content.artifact < 0:
                log = place
            else:
                artifacts[content.artifact] = msgspec.structs.replace(artifacts[content.artifact], place=place)
        report = partial(self._report, worker.handed, msgspec.structs.replace(result, log=log))
        map = worker.handed.map
        if map.run.recipe.pack:
            pack_outputs(self._site.reports, map.workdir, map.run.recipe.outputs, artifacts, report)
        else:
            report(artifacts)

    def _report(self, handed: Handed, result: Result, artifacts: list[Artifact] | None) -> None:
        if handed.warned and result.outcome not in (Outcome.SUCCEEDED, Outcome.CANCELLED):
            self._site.reports.give_back([(result.map, result.index, result.number)], started=True)
            return
        before, now = handed.uses.number, handed.map.uses
        result = msgspec.structs.replace(result, artifacts=artifacts or None, loaded=before, loaded_after=now.number)
        now.report(self._site.reports, result)

    # Limits.

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._site.loop.later(_LOOK, self._look)

    def _look(self) -> None:
        """Look at what runs long: limits, endless output, tasks stuck behind it; let idle children go."""
        self._looking = False
        now = time.monotonic()
        for worker in self._workers():
            if worker.outstanding:
                self._look_at(worker)
            elif worker in worker.nursery.idle and now - worker.since > _IDLE:
                worker.nursery.idle.remove(worker)
                worker.close(self._site.loop)
        if self._places.workers:
            self._look_later()

    def _look_at(self, worker: Worker) -> None:
        if worker.running is None or worker.why is not None:
            return
        seconds = (time.monotonic_ns() - worker.place.lane.begun) / 1e9
        if worker.time is not None and seconds > worker.time:
            worker.end(Outcome.TIMEOUT, f"ran longer than its limit of {worker.time:g} s")
        elif seconds > _STUCK:
            worker.place.thin()
            if len(worker.outstanding) > 1 and worker.open:
                worker.handed.map.learn(seconds)
                self._take_back(worker, self._requeue)
