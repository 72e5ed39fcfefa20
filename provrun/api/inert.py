"""What calls give while provrun itself imports a task's module: an object on which everything is harmless.

So a script needs no ``if __name__ == "__main__"``: read for its functions, it submits nothing, and it is left where it
would run its maps. In a task that runs later such a handle stands for the map or queue of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from provrun.run import current


class Inert:
    """Answers every attribute, call and loop with nothing; ``find`` gives what it stands for when all is imported."""

    def __init__(self, name: str = "inert", find: Callable[[], object] | None = None) -> None:
        self.name = name
        self._find = find

    def run(self, *args: object, **kwargs: object) -> Any:
        """Run nothing; the import of a script ends here."""
        return self._act("run", args, kwargs)

    def launch(self, *args: object, **kwargs: object) -> Any:
        """Launch nothing; the import of a script ends here."""
        return self._act("launch", args, kwargs)

    def do(self, *args: object, **kwargs: object) -> Any:
        """Do nothing; the import of a script ends here."""
        return self._act("do", args, kwargs)

    def _act(self, verb: str, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
        if (real := self._real()) is not None:
            return getattr(real, verb)(*args, **kwargs)
        current.enough()
        return self

    def _real(self) -> object | None:
        return None if current.importing or self._find is None else self._find()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        real = self._real()
        return self if real is None else getattr(real, name)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        return self

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __len__(self) -> int:
        real = self._real()
        return 0 if real is None else len(cast("list[object]", real))

    def __getitem__(self, key: object) -> Any:
        return self

    def __bool__(self) -> bool:
        return self._real() is not None
