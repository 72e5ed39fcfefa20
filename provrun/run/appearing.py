"""Maps that appear while a job runs, and maps that are run otherwise than before."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from provrun.core.records import MapRecord
from provrun.errors import NotFound
from provrun.ports import Claims


class Appeared(msgspec.Struct, frozen=True):
    """Maps that are new or run otherwise, how many tasks more there are than at the last look, and all maps seen."""

    maps: list[MapRecord]
    grown: int
    seen: dict[int, MapRecord]
    stamp: object


class Appearing:
    """Looks at the maps of a job; ``names`` are those that were asked for (none: all), ``maps`` those known by now."""

    def __init__(self, registry: Claims, names: Sequence[str], maps: Sequence[MapRecord]) -> None:
        self._registry = registry
        self._names = tuple(names)
        self._known = {map.id: map for map in maps}
        self._stamp: object = None

    @property
    def maps(self) -> Collection[MapRecord]:
        """The maps as they were at the last look."""
        return self._known.values()

    def look(self) -> Appeared | None:
        """Give what is new since the last look that was taken in; None if there is nothing to take in."""
        stamp = self._registry.maps_stamp()
        if stamp == self._stamp:
            return None
        try:
            maps = self._registry.select_maps(self._names, submitted=True)
        except NotFound:  # one that was asked for is deleted: what is left goes on
            maps = list(self._known.values())
        known = self._known
        new = [map for map in maps if map.id not in known or _differs(known[map.id], map)]
        grown = sum(map.total - (known[map.id].total if map.id in known else 0) for map in maps)
        return Appeared(new, grown, known | {map.id: map for map in maps}, stamp)

    def take_in(self, appeared: Appeared) -> None:
        """Take in what a look gave: the next one gives what has changed since."""
        self._known = appeared.seen
        self._stamp = appeared.stamp


def _differs(before: MapRecord, now: MapRecord) -> bool:
    return before.policy != now.policy or before.recipe_digest != now.recipe_digest
