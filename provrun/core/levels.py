"""How deep a task lies among tasks of its own map that wait for each other."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from provrun.core.records import Dependency


def levels(map: str, dependencies: Sequence[Dependency], total: int) -> Callable[[int], int]:
    """Give the level of each task by its index: 0, or 1 + the highest level of the tasks it waits for.

    Only dependencies of the map on itself count; there a task waits for tasks of smaller index.
    """
    own = [one for one in dependencies if one.upstream == map]
    if not own:
        return lambda index: 0
    found = array("I", bytes(array("I").itemsize * total))
    for one in sorted(own, key=lambda dependency: dependency.tasks or (0, total)):
        first, last = one.tasks or (0, total)
        ranges = one.upstream_tasks or ((0, first),)
        above = 1 + max((max(found[start:stop], default=0) for start, stop in ranges), default=-1)
        for index in range(first, min(last, total)):
            found[index] = max(found[index], above)
    return found.__getitem__
