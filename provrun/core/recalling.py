"""What agents are asked to give back: tasks queued behind others there, while slots elsewhere have nothing to do."""

from __future__ import annotations

from collections.abc import Iterable

from provrun.core.agents import Agent, Agents
from provrun.core.durations import SHORTEST, Durations, Ending
from provrun.core.events import Instruction, RecallTasks, TasksReturned
from provrun.core.messages import Key
from provrun.core.placing import AHEAD
from provrun.core.waiting import Waiting

WORTH = 0.5  # seconds that tasks would wait at an agent which goes on, below which they are not asked for
PAUSE = 1.0  # seconds for which an agent is not asked again that gave nothing


class Recalling:
    """Asks agents, each for one portion at a time, the newest tasks first, and as many as idle slots take.

    Of short tasks a slot takes some at once, `AHEAD` seconds of them.
    """

    def __init__(self, agents: Agents, waiting: Waiting, durations: Durations, ending: Ending) -> None:
        self._agents = agents
        self._needs = waiting.needs
        self._durations = durations
        self._ending = ending
        self._asked: dict[int, tuple[RecallTasks, float]] = {}  # and how many slots that is for
        self._not_before: dict[int, float] = {}
        self._revoked: set[Key] = set()

    def ask(self, out: list[Instruction]) -> None:
        """Ask for what idle slots could run; to be called now and then, when nothing else can be had for them."""
        free = [
            float(agent.slots - agent.busy) for agent in self._agents.values()
            if agent.busy < agent.slots and agent.team is None
        ]  # fmt: skip
        # What has been asked for is about to fill some of them.
        left = sum(free) - sum(slots for _, slots in self._asked.values())
        if left > 0:
            loaded = [(number, agent) for number, agent in self._agents.items() if self._worth(number, agent)]
            loaded.sort(key=lambda one: (not one[1].still, one[1].slots - one[1].busy))
            for number, agent in loaded:
                if left <= 0:
                    break
                before = sum(free)
                recall = self._choose(number, agent, free, left)
                if recall is not None:
                    slots = before - sum(free)
                    left -= slots
                    self._asked[number] = recall, slots
                    out.append(recall)
        for agent in self._agents.values():
            agent.still = True

    def answered(self, event: TasksReturned) -> set[Key]:
        """Take note of an answer and give what of it may go to other agents."""
        if not event.recalled:
            return set()
        recall, _ = self._asked.pop(event.agent, (None, 0.0))
        if not event.tasks:
            self._not_before[event.agent] = self._ending.now + PAUSE
        return set() if recall is None else set(event.tasks).intersection(recall.tasks) - self._revoked

    def revoked(self, tasks: Iterable[Key]) -> None:
        """Take note of tasks that agents have and nobody shall run."""
        self._revoked.update(tasks)

    def lost(self, number: int) -> None:
        """Forget an agent."""
        self._asked.pop(number, None)
        self._not_before.pop(number, None)

    def _worth(self, number: int, agent: Agent) -> bool:
        """Tell whether an agent has more than it can start, which would wait for longer than a message takes."""
        if agent.busy <= agent.slots or agent.team is not None or number in self._asked:
            return False
        if self._not_before.get(number, 0.0) > self._ending.now:
            return False
        if agent.still:
            return True  # since the last look nothing has ended there: what is queued is behind something long
        mean = self._durations.mean
        load = sum(n * self._needs[map].cores * mean.get(map, WORTH) for map, n in agent.counts.items())
        return load * (agent.busy - agent.slots) / agent.busy > WORTH * agent.slots

    def _choose(self, number: int, agent: Agent, free: list[float], left: float) -> RecallTasks | None:
        """Choose what to ask an agent for: what there is room for elsewhere, the newest first.

        It need not have started them in the order in which they came, so it chooses among as many more as may run.
        """
        over = agent.busy - agent.slots
        tasks: list[Key] = []
        most = 0
        widest = max(free)
        mean = self._durations.mean
        for task in reversed(agent.held.values()):
            needs = self._needs[task.map]
            if needs.gpus or needs.nodes or needs.cores > widest:
                over -= needs.cores
                continue
            takes = needs.cores * min(1.0, max(mean.get(task.map, AHEAD), SHORTEST) / AHEAD)
            if over > 0 and left >= takes and (room := max(free)) >= takes:
                free[free.index(room)] -= takes
                left -= takes
                over -= needs.cores
                most += 1
            elif len(tasks) >= most + agent.slots:
                break
            tasks.append((task.map, task.index, task.number))
        return RecallTasks(number, tasks, most) if most else None
