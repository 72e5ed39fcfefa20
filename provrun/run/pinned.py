"""Where the code of a map lies: where it was found, or in a checkout of the tree that was submitted."""

from __future__ import annotations

import os

from provrun.core.messages import RunMap
from provrun.run.declared import CannotStart


class Pinned:
    """Maps files of the working tree to those of the checkout, and back; without a pin they are the same."""

    def __init__(self, run: RunMap, project: str) -> None:
        self.on = run.pin is not None
        self._root = run.pin.root.rstrip("/") if run.pin else ""
        self._checkout = os.path.join(project, run.pin.checkout) if run.pin else ""

    def require(self) -> None:
        """Raise `CannotStart` if the checkout is gone."""
        if self.on and not os.path.isdir(self._checkout):
            raise CannotStart(
                f"the checkout {self._checkout} is gone", value=self._checkout, next="provrun run makes it again"
            )

    def there(self, path: str) -> str:
        """Give the file that stands for one of the working tree: that of the checkout, if it has one."""
        mapped = self.folder(path)
        return mapped if mapped != path and os.path.isfile(mapped) else path

    def folder(self, path: str) -> str:
        """Give where something of the working tree lies in the checkout."""
        if not self.on or self.holds(path) or not self.is_beneath(path):
            return path
        return self._checkout + os.path.normpath(path)[len(self._root) :]

    def named(self, path: str) -> str:
        """Give the place in the working tree of something in the checkout."""
        return self._root + path[len(self._checkout) :] if self.holds(path) else path

    def is_beneath(self, path: str) -> bool:
        """Tell whether a path lies in the working tree."""
        whole = os.path.normpath(path)
        return self.on and (whole == self._root or whole.startswith(self._root + "/"))

    def holds(self, path: str) -> bool:
        """Tell whether a path lies in the checkout."""
        return self.on and (path == self._checkout or path.startswith(self._checkout + "/"))

    def search(self, places: list[str]) -> list[str]:
        """Give the places where modules are searched: no folder of the working tree but those of packages installed."""
        kept = []
        for place in places:
            if not self.is_beneath(place or os.getcwd()) or self.holds(place) or "/site-packages" in place:
                kept.append(place)
            elif os.path.isdir(mapped := self.folder(place or os.getcwd())):
                kept.append(mapped)
        return kept
