"""The order of maps on a page, which is the same however they were named or submitted."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from provrun.core.records import MapRecord


def in_page_order(maps: Iterable[MapRecord]) -> list[MapRecord]:
    """Order maps so that each follows all it builds on, and by name where that leaves a choice."""
    by_name = {one.name: one for one in maps}
    missing = {
        name: {one.upstream for one in map.dependencies if one.upstream in by_name} - {name}
        for name, map in by_name.items()
    }
    ready = sorted(name for name, found in missing.items() if not found)
    ordered = []
    while ready:
        name = heapq.heappop(ready)
        ordered.append(by_name[name])
        for other, found in missing.items():
            if name in found:
                found.remove(name)
                if not found:
                    heapq.heappush(ready, other)
    return ordered
