"""Under which circumstances attempts ran: what agents report and what is captured, as contexts of the registry.

An attempt names the `Loaded` message of its agent that says which files it used. The code is captured when the first
tasks of its map are on their way, and again when an agent loads other files; results wait for it, tasks do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from provrun.core.code import CapturedCode
from provrun.core.environment import Environment, Host
from provrun.core.messages import Joined, Loaded, Pin, RunMap
from provrun.core.records import Context, MapRecord
from provrun.errors import DatabaseAway
from provrun.ports import Interning

FEW = 5  # changed files that are named
FRESH = 5.0  # seconds for which a capture stands for agents that load a map for the first time


Ran = tuple[int, int, int, int]
"""What an attempt ran: its map, its agent, what that had loaded when it began, and when it ended."""


class Interned(Interning, Protocol):
    """Where circumstances are kept, and with which code a map was submitted."""

    def submitted_code(self, map: int) -> tuple[int, CapturedCode]: ...


class Differing(Protocol):
    """Gives the files in which two versions of a map's code differ; None if that is not known."""

    def __call__(self, map: int, then: CapturedCode, now: CapturedCode) -> set[str] | None: ...


class _Captures(msgspec.Struct):
    """The captures of one map: how many were asked for, and which code each found."""

    asked: int = 0
    found: dict[int, CapturedCode] = {}
    codes: list[int] = []
    answered_at: float = 0.0
    environment: int | None = None


class _Load(msgspec.Struct):
    """What an agent loaded: the interned files and inputs, and the capture that says which code it was."""

    said: Loaded
    uses: int
    inputs: int | None
    capture: int


class Contexts:
    """Resolves (map, agent, loaded, loaded after) to the id of a context; used by one thread.

    ``ask`` asks for a capture of a map's code, which `captured` answers, in order; ``differing`` compares versions.
    """

    def __init__(
        self,
        registry: Interned,
        job: int,
        maps: list[MapRecord],
        ask: Callable[[int], None],
        tell: Callable[[str], None],
        differing: Differing,
    ) -> None:
        self._registry = registry
        self._job = job
        self._maps: dict[int, MapRecord] = {}
        self._ask = ask
        self._tell = tell
        self._differing = differing
        self._places: dict[int, tuple[int, str]] = {}
        self._hosts: dict[int, int] = {}
        self._own_host: int | None = None
        self._captures: dict[int, _Captures] = {}
        self._loads: dict[tuple[int, int], _Load] = {}
        self._of_map: dict[int, list[_Load]] = {}
        self._loaded_by: set[tuple[int, int]] = set()
        self._known: dict[Ran, int] = {}
        self._pins: dict[int, Pin | None] = {}
        self._compared: set[tuple[int, int]] = set()
        self._told: set[int] = set()
        self.learn(maps)

    def learn(self, maps: list[MapRecord]) -> None:
        """Learn of maps that have appeared, or are run otherwise."""
        for map in maps:
            self._maps[map.id] = map
            self._captures.setdefault(map.id, _Captures())
            self._of_map.setdefault(map.id, [])

    def pinned(self, run: RunMap) -> RunMap:
        """Let a map keep to the tree it has begun with, if to any: else it would not be known what ran."""
        first = self._pins.setdefault(run.map, run.pin)
        return run if first == run.pin else msgspec.structs.replace(run, pin=first)

    def joined(self, agent: int, rank: int, message: Joined) -> None:
        """Take note of the rank and host of an agent; one that does not describe its host stands on this one."""
        self._places[agent] = (rank, message.node)
        if message.host:
            self._hosts[agent] = self._registry.intern_host(msgspec.json.decode(message.host, type=Host))

    def host(self, host: Host) -> None:
        """Take note of the manager's own host."""
        self._own_host = self._registry.intern_host(host)

    def capture(self, map: int) -> int:
        """Ask for a capture of a map's code and give its number."""
        captures = self._captures[map]
        captures.asked += 1
        self._ask(map)
        return captures.asked - 1

    def captured(self, map: int, code: CapturedCode, environment: Environment, at: int, now: float) -> None:
        """Take in the answer to a `capture`."""
        captures = self._captures[map]
        pin = self._pins.get(map)
        id = pin.code if pin is not None else self._registry.intern_code(code, at)
        captures.codes.append(id)
        if pin is None:
            captures.found[id] = code
        captures.environment = self._registry.intern_environment(environment, at)
        captures.answered_at = now

    def loaded(self, agent: int, message: Loaded, now: float) -> None:
        """Take note of what an agent has loaded; files that differ from before want another capture."""
        map = message.map
        captures = self._captures[map]
        fresh = len(captures.codes) < captures.asked or now - captures.answered_at < FRESH
        same = next((load for load in self._of_map[map] if load.said.files == message.files), None)
        if same is not None:
            capture = same.capture
        elif captures.asked and fresh and (agent, map) not in self._loaded_by:
            capture = captures.asked - 1
        else:
            capture = self.capture(map)
        load = _Load(message, *self._intern(message, same), capture)
        self._loads[agent, message.number] = load
        self._of_map[map].append(load)
        self._loaded_by.add((agent, map))

    def _intern(self, said: Loaded, same: _Load | None) -> tuple[int, int | None]:
        """Intern what a recipe uses and reads; hundreds of agents say the same of it."""
        if same is not None and msgspec.structs.replace(same.said, number=said.number) == said:
            return same.uses, same.inputs
        uses = {"files": said.files, "tools": msgspec.to_builtins(said.tools), "defaults": said.defaults}
        inputs = self._registry.intern_inputs(said.shared_inputs) if said.shared_inputs else None
        return self._registry.intern_uses(uses), inputs

    def resolve(self, keys: Iterable[Ran]) -> Mapping[Ran, int]:
        """Give the ids of contexts; those are missing of which something is still being captured."""
        made = [(key, context) for key in set(keys) - self._known.keys() if (context := self._make(key)) is not None]
        if made:
            ids = self._registry.intern_contexts([context for _, context in made])
            self._known.update((key, id) for (key, _), id in zip(made, ids, strict=True))
        return self._known

    def _make(self, key: Ran) -> Context | None:
        map, agent, loaded, after = key
        captures = self._captures[map]
        load, later = self._loads.get((agent, loaded)), self._loads.get((agent, after))
        first = load.capture if load else 0
        last = later.capture if later else first
        host = self._hosts.get(agent, self._own_host)
        if captures.environment is None or host is None or max(first, last) >= len(captures.codes):
            return None
        rank, node = self._places[agent]
        code, code_after = captures.codes[first], captures.codes[last]
        self._compare(map, code, load)
        return Context(
            job=self._job,
            rank=rank,
            node=node,
            code=code,
            environment=captures.environment,
            host=host,
            uses=load.uses if load else None,
            inputs=load.inputs if load else None,
            code_after=code_after if code_after != code else None,
        )

    def _compare(self, id: int, code: int, load: _Load | None) -> None:
        """Tell once for each map that what it uses is not what it was submitted with."""
        # A negative code is not known yet: the database is away.
        if code < 0 or id in self._told or (id, code) in self._compared:
            return
        try:
            submitted, then = self._registry.submitted_code(id)
        except DatabaseAway:
            return
        self._compared.add((id, code))
        if code == submitted:
            return
        ran = self._captures[id].found.get(code)
        differing = self._differing(id, then, ran) if ran is not None else None
        used = None if differing is None or load is None else sorted(differing & load.said.files.keys())
        if used == []:
            return  # what has changed is nothing that it uses
        self._told.add(id)
        named = "" if used is None else f" ({', '.join(used[:FEW])}{', ...' if len(used) > FEW else ''})"
        self._tell(
            f"{self._maps[id].name} runs other code than it was submitted with{named}; its results name the code that"
            " ran"
        )
