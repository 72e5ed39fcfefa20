"""What flows into a map from the maps it builds on: parameters, results, outputs, rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from provrun.core.nearest import suggestion
from provrun.core.records import Dependency, DependencyKind, MapRecord, OnFailed

Find = Callable[[str], MapRecord | None]
DRIVERS = ("each", "group", "chunk")


@dataclass(frozen=True, kw_only=True)
class Building:
    """The dependencies as a user writes them: names of maps; ``chunk`` goes with ``group`` or a lone ``all``."""

    each: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    chunk: int | None = None
    after: tuple[str, ...] = ()
    on_failed: OnFailed | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All maps named."""
        return (*self.each, *self.group, *self.all, *self.after)


@dataclass(frozen=True)
class Flow:
    """What a task of a map receives besides its own parameters.

    ``inherited`` are the names of upstream parameters merged into its own, ``each`` the maps of which it reads one
    task (nearest first), ``reduces`` those of which it reads many, by name; ``columns`` the parameters of all these.
    """

    inherited: tuple[str, ...] = ()
    each: dict[str, MapRecord] = field(default_factory=dict)
    reduces: dict[str, MapRecord] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def maps(self) -> tuple[str, ...]:
        """The names of all maps whose content flows in."""
        return (*self.each, *self.reduces)


def plan(name: str, building: Building, find: Find, known: Callable[[], Iterable[str]]) -> tuple[
    tuple[Dependency, ...], Flow, list[str]
]:
    """Turn dependencies as written into records, and find out what flows; every problem is listed."""
    problems = _shape(name, building)
    found: dict[str, MapRecord] = {}
    for upstream in dict.fromkeys(building.names):
        record = find(upstream)
        if record is not None:
            found[upstream] = record
        elif upstream != name:
            problems.append(f"no map named {upstream}; {suggestion(upstream, known(), 'submit it first')}")
    if problems:
        return (), Flow(), problems
    dependencies = _dependencies(building)
    driver = next((dependency for dependency in dependencies if dependency.kind in DRIVERS), None)
    inherited: tuple[str, ...] = ()
    each: dict[str, MapRecord] = {}
    if driver is not None:
        inherited = inherits(driver, find)
        if driver.kind == "group":
            there = parameters(found[driver.upstream], find)
            problems += [
                f"--by {column}: {driver.upstream} has no parameter {column}; "
                f"{suggestion(column, there, 'it has ' + (', '.join(there) or 'none'))}"
                for column in driver.by
                if column not in there
            ]
        elif driver.kind == "each":
            each = {record.name: record for record in ancestors(found[driver.upstream], find)}
    reduces = {
        dependency.upstream: found[dependency.upstream]
        for dependency in dependencies
        if dependency.kind in {"group", "chunk", "all"}
    }
    columns = {record.name: parameters(record, find) for record in (*each.values(), *reduces.values())}
    return dependencies, Flow(inherited, each, reduces, columns), problems


def _shape(name: str, building: Building) -> list[str]:
    """List what is wrong whatever the maps are."""
    problems = []
    if len(building.each) + len(building.group) > 1:
        problems.append("a map goes through one other map: give one --each or --group; --all and --after may be many")
    if building.by and building.chunk is not None:
        problems.append("--by and --chunk are two ways to cut a map: give one of them")
    if building.chunk is not None:
        if building.chunk < 1:
            problems.append(f"--chunk {building.chunk}: give the number of tasks to read at once, 1 or more")
        if not building.group and (len(building.all) != 1 or building.each):
            problems.append("--chunk cuts a map: say which with --group MAP")
    elif building.group and not building.by:
        problems.append(f"--group {building.group[0]}: by which parameters? add --by NAME,... or --chunk N")
    if building.by and not building.group:
        problems.append("--by groups a map: say which with --group MAP")
    if building.on_failed is not None and not (building.group or building.all):
        problems.append("--on-failed is for maps that read many tasks: --group, --all")
    for upstream, times in _counted(building.names):
        if upstream == name:
            problems.append(f"{name} cannot build on itself")
        elif times > 1:
            problems.append(f"{upstream} is named {times} times; a map builds on another in one way")
    return problems


def _counted(names: Sequence[str]) -> list[tuple[str, int]]:
    return [(name, names.count(name)) for name in dict.fromkeys(names)]


def _dependencies(building: Building) -> tuple[Dependency, ...]:
    on_failed = building.on_failed or "wait"
    cut, alls = building.group, building.all
    if building.chunk is not None and not cut:
        cut, alls = alls, ()
    kind: DependencyKind = "group" if building.chunk is None else "chunk"
    return (
        *(Dependency(upstream=each, kind="each") for each in building.each),
        *(
            Dependency(upstream=each, kind=kind, by=building.by, chunk=building.chunk or 0, on_failed=on_failed)
            for each in cut
        ),
        *(Dependency(upstream=each, kind="all", on_failed=on_failed) for each in alls),
        *(Dependency(upstream=each, kind="after") for each in building.after),
    )


def inherits(driver: Dependency, find: Find) -> tuple[str, ...]:
    """Give the names of the parameters that a dependency merges into a map's own."""
    if driver.kind == "group":
        return driver.by
    if driver.kind == "chunk":
        return ("chunk",)
    upstream = find(driver.upstream)
    return parameters(upstream, find) if upstream is not None else ()


def parameters(record: MapRecord, find: Find) -> tuple[str, ...]:
    """Give the names of all parameters that the rows of a map carry, inherited ones first."""
    driver = next((dependency for dependency in record.dependencies if dependency.kind in DRIVERS), None)
    inherited = inherits(driver, find) if driver is not None else ()
    return (*inherited, *record.own)


def ancestors(record: MapRecord, find: Find) -> list[MapRecord]:
    """Give a map and those it goes through task by task, nearest first."""
    chain = [record]
    while True:
        upstream = next((each.upstream for each in chain[-1].dependencies if each.kind == "each"), None)
        found = find(upstream) if upstream is not None else None
        if found is None:
            return chain
        chain.append(found)


def misread(name: str, flow: Flow) -> str | None:
    """Say what is wrong with a placeholder that reads a map, as far as the map's record can tell."""
    head, _, rest = name.partition(".")
    part, _, key = rest.partition(".")
    upstream = flow.each.get(head)
    if upstream is None:
        if head in flow.reduces and rest != "rows":
            return f"{{{name}}}: many tasks of {head} are read; {{{head}.rows}} is the file of their rows"
        return None
    if part == "rows":
        return f"{{{name}}}: one task of {head} is read; write {{{head}.result}}"
    there = {"output": tuple(upstream.recipe.outputs), "param": flow.columns[head]}.get(part)
    if there is not None and key not in there:
        listed = ", ".join(there) or "none"
        return f"{{{name}}}: {head} has no {part} {key}; {suggestion(key, there, f'it has {listed}')}"
    return None
