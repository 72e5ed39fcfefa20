"""What calls give while provrun itself imports a task's module: an object on which everything is harmless.

So a script needs no ``if __name__ == "__main__"``: read for its functions, it submits nothing, and it is left where it
would run its maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from provrun.run import current


class Inert:
    """Answers every attribute, call and loop with nothing."""

    name = "inert"

    def run(self, *args: object, **kwargs: object) -> Self:
        """Run nothing; the import of a script ends here."""
        current.enough()
        return self

    launch = do = run

    def __getattr__(self, name: str) -> Self:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: object, **kwargs: object) -> Self:
        return self

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, key: object) -> Self:
        return self

    def __bool__(self) -> bool:
        return False
