"""The problems of one input, collected so that all are told at once."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

from provrun.errors import InvalidInput, MissingExtra, ProvrunError

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

    def at(self, place: str) -> _At:
        """Turn an error for users raised inside into a problem at ``place``."""
        return _At(self, place)

    def __bool__(self) -> bool:
        return self._count > 0

    def raise_any(self) -> None:
        """Raise ``InvalidInput`` if there was a problem."""
        if self._count:
            more = self._count - len(self._listed)
            rest = [f"and {more} more of the same kind" if more == 1 else f"and {more} more"] if more else []
            raise InvalidInput(self._what, self._listed + rest)


class _At:
    def __init__(self, problems: Problems, place: str) -> None:
        self._problems = problems
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if isinstance(error, MissingExtra) or not isinstance(error, ProvrunError):
            return False  # no problem of the input
        if isinstance(error, InvalidInput):
            self._problems.extend(f"{self._place}: {problem}" for problem in error.problems)
        else:
            self._problems.add(f"{self._place}: {error.message}" + (f"; {error.next}" if error.next else ""))
        return True
