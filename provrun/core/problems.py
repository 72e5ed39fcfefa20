"""The problems of one input, collected so that all are told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from provrun.errors import InvalidInput, ProvrunError

_LISTED = 100


class Problems:
    """Collect problems and raise them together; of very many the first hundred are listed and the rest counted."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._listed: list[str] = []
        self._count = 0

    def add(self, problem: str) -> None:
        """Note one problem."""
        self._count += 1
        if len(self._listed) < _LISTED:
            self._listed.append(problem)

    def extend(self, problems: Iterable[str]) -> None:
        """Note several problems."""
        for problem in problems:
            self.add(problem)

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Turn an error for users raised inside into a problem at ``place``."""
        try:
            yield
        except InvalidInput as error:
            for problem in error.problems:
                self.add(f"{place}: {problem}")
        except ProvrunError as error:
            self.add(f"{place}: {error.message}" + (f"; {error.next}" if error.next else ""))

    def __bool__(self) -> bool:
        return self._count > 0

    def raise_any(self) -> None:
        """Raise ``InvalidInput`` if there was a problem."""
        if self._count:
            more = self._count - len(self._listed)
            rest = [f"and {more} more of the same kind" if more == 1 else f"and {more} more"] if more else []
            raise InvalidInput(self._what, self._listed + rest)
