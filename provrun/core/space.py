"""Parameter spaces: the points a map's recipe is applied to, streamed in constant memory.

A space yields each point as the canonical JSON text of its parameters, which is what is stored and what identifies the
task. Spaces are built from axes (zipped columns), rows and samples, and multiplied into grids.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain, islice, product
from json.encoder import encode_basestring
from math import prod
from operator import itemgetter
from typing import NamedTuple, TypeAlias, TypeVar, cast

from provrun.core.axes import Axis, Distribution, Normal, Uniform, axis_of, random_words
from provrun.core.canonical import Value, decode, encode
from provrun.core.problems import Problems
from provrun.errors import UsageError

Cell: TypeAlias = tuple[str, ...]
"""The values of one point as canonical texts, in the order of the space's names."""
T = TypeVar("T")

_AT_HAND = 1 << 16
"""How many values the product keeps in memory at a time."""


class Summary(NamedTuple):
    """What one parameter takes: how many values, and the first and the last of them."""

    name: str
    values: int
    first: Value
    last: Value


class Space(ABC):
    """Points of parameters ``names``: ``size`` of them, ``distinct`` when surely no two are equal."""

    names: tuple[str, ...]
    size: int
    distinct: bool

    @abstractmethod
    def cells(self) -> Iterator[Cell]:
        """Yield the points in order."""

    @abstractmethod
    def cell(self, index: int) -> Cell:
        """Return one point."""

    def texts(self) -> Iterator[str]:
        """Yield the canonical text of each point's parameters, in order."""
        return self.members("{", "}")

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield each point as a dict, in order."""
        return cast("Iterator[dict[str, Value]]", map(decode, self.texts()))

    def summary(self) -> list[Summary]:
        """Say of each parameter how many values it takes, and the first and the last."""
        if not self.size:
            return [Summary(name, 0, None, None) for name in self.names]
        first, last = self.cell(0), self.cell(self.size - 1)
        return [
            Summary(name, self.size, decode(one), decode(other))
            for name, one, other in zip(self.names, first, last, strict=True)
        ]

    def members(self, before: str, after: str) -> Iterator[str]:
        """Yield each point's members of a JSON object, keys sorted, between two texts."""
        names = sorted(self.names)
        form = before + ",".join(_key(name) + ":%s" for name in names) + after
        return map(form.__mod__, _reordered(self.cells(), self.names, names))


class Columns(Space):
    """Axes walked together: one name alone, or several zipped."""

    def __init__(self, axes: Mapping[str, Axis]) -> None:
        self.names = _checked(axes)
        self._axes = tuple(axes.values())
        sizes = {axis.size for axis in self._axes}
        if len(sizes) != 1:
            counts = ", ".join(f"{name} has {axis.size}" for name, axis in axes.items())
            raise UsageError(f"zipped parameters need equally many values: {counts}", value=list(axes))
        self.size = sizes.pop()
        self.distinct = any(axis.distinct for axis in self._axes)

    def cells(self) -> Iterator[Cell]:
        return zip(*(axis.texts() for axis in self._axes), strict=True)

    def cell(self, index: int) -> Cell:
        return tuple(axis.text(index) for axis in self._axes)


class Rows(Space):
    """Rows of named values from ``read``, which starts anew at each call; ``ends`` are the first and the last row."""

    def __init__(
        self,
        names: Sequence[str],
        size: int,
        read: Callable[[], Iterator[Cell]],
        *,
        ends: Sequence[Cell],
        distinct: bool,
    ) -> None:
        self.names = _checked(names)
        self.size = size
        self.distinct = distinct or size < 2
        self._read = read
        self._ends = ends

    def cells(self) -> Iterator[Cell]:
        return self._read()

    def cell(self, index: int) -> Cell:
        position = range(self.size)[index]
        return self._ends[0] if position == 0 else self._ends[-1] if position == self.size - 1 else self._all[position]

    @cached_property
    def _all(self) -> list[Cell]:
        return list(self._read())


class Grid(Space):
    """The product of spaces: the first varies slowest, the last fastest. The product of none is one point."""

    def __init__(self, parts: Sequence[Space]) -> None:
        self.names = _checked([name for part in parts for name in part.names])
        self.size = prod(part.size for part in parts)
        self.distinct = self.size < 2 or all(part.distinct for part in parts)
        self._parts = tuple(part for part in parts if part.names or part.size != 1)

    def cells(self) -> Iterator[Cell]:
        cells = _product([part.cells for part in self._parts], [part.size for part in self._parts])
        return map(tuple, map(chain.from_iterable, cells))

    def cell(self, index: int) -> Cell:
        found: list[Cell] = []
        position = range(self.size)[index]
        for part in reversed(self._parts):
            position, within = divmod(position, part.size)
            found.append(part.cell(within))
        return tuple(chain.from_iterable(reversed(found)))

    def summary(self) -> list[Summary]:
        return list(chain.from_iterable(part.summary() for part in self._parts))

    def members(self, before: str, after: str) -> Iterator[str]:
        names = sorted(self.names)
        parts = sorted(self._parts, key=lambda part: min(part.names, default=""))
        if len(parts) < 2 or [name for part in parts for name in sorted(part.names)] != names:
            return super().members(before, after)  # the names of some part lie between those of another
        # Each value is written once, with its key; a point is then one join, and all loops run in C.
        first, last = parts[0], parts[-1]
        pools = [
            partial(part.members, before if part is first else "", after if part is last else "")
            for part in self._parts
        ]
        pieces = _product(pools, [part.size for part in self._parts])
        return map(",".join, _reordered(pieces, self._parts, parts))


class Drawn(NamedTuple):
    """A parameter drawn from a distribution."""

    name: str
    distribution: Distribution


class Sample(Space):
    """Points drawn from spaces and distributions; a longer sample of the same seed begins with the shorter one.

    Without a distribution the points are drawn without repetition; with one, each part is drawn by itself.
    """

    def __init__(self, sources: Sequence[Space | Drawn], size: int, seed: int = 0) -> None:
        spaces = [source for source in sources if isinstance(source, Space)]
        self.names = _checked([name for source in sources for name in _names(source)])
        self.size = size
        self._sources = tuple(sources)
        self._seed = seed
        self._finite = Grid(spaces) if len(spaces) == len(sources) else None
        self.distinct = size < 2 or (self._finite is not None and self._finite.distinct)
        if size < 0 or (size and any(not space.size for space in spaces)):
            raise UsageError(f"a sample of {size} points from none", value=size)
        if self._finite is not None and size > self._finite.size:
            there = self._finite.size
            raise UsageError(
                f"a sample of {size} from the {there} points there are", value=size, next=f"draw at most {there}"
            )

    def cells(self) -> Iterator[Cell]:
        return map(self.cell, range(self.size))

    def cell(self, index: int) -> Cell:
        position = range(self.size)[index]
        if self._finite is not None:
            return self._finite.cell(_shuffled(position, self._finite.size, self._seed))
        return tuple(chain.from_iterable(self._draw(source, position) for source in self._sources))

    def _draw(self, source: Space | Drawn, position: int) -> Cell:
        if isinstance(source, Drawn):
            return (source.distribution.draw(self._seed, source.name, position),)
        word = random_words(self._seed, ",".join(source.names), position)[0]
        return source.cell(word * source.size >> 64)


def from_mapping(parameters: Mapping[str, object]) -> Grid:
    """Return the grid of parameters given in Python: what `axis_of` sweeps is swept, the first name varies slowest."""
    return Grid([Columns({name: axis}) for name, axis in _axes(parameters).items()])


def zip_axes(parameters: Mapping[str, object]) -> Columns:
    """Return the space that walks all parameters together; they need equally many values."""
    return Columns(_axes(parameters))


def sample(parameters: Mapping[str, object], size: int, seed: int = 0) -> Sample:
    """Return ``size`` points drawn from parameters, which may be distributions (`Uniform`, `Normal`)."""
    drawn = {name: value for name, value in parameters.items() if isinstance(value, Uniform | Normal)}
    axes = _axes({name: value for name, value in parameters.items() if name not in drawn})
    sources = [Drawn(name, drawn[name]) if name in drawn else Columns({name: axes[name]}) for name in parameters]
    return Sample(sources, size, seed)


def from_rows(rows: Iterable[Mapping[str, object]]) -> Rows:
    """Return the space of rows that all name the same parameters."""
    problems = Problems("rows of parameters")
    names: tuple[str, ...] | None = None
    cells: list[Cell] = []
    for number, row in enumerate(rows, 1):
        with problems.at(f"row {number}"):
            if not isinstance(row, Mapping):
                raise UsageError(f"{row!r} is no row of named values", value=row)
            names = tuple(row) if names is None else names
            if row.keys() != set(names):
                raise UsageError(
                    f"has {', '.join(row) or 'nothing'}, the first row has {', '.join(names)}", value=list(row)
                )
            cells.append(tuple(encode(row[name]) for name in names))
    problems.raise_any()
    distinct = len(set(cells)) == len(cells)
    return Rows(names or (), len(cells), lambda: iter(cells), ends=cells[:1] + cells[-1:], distinct=distinct)


def combine(spaces: Sequence[Space]) -> Space:
    """Return the product of ``spaces``, the first varying slowest."""
    return spaces[0] if len(spaces) == 1 else Grid(spaces)


def _axes(parameters: Mapping[str, object]) -> dict[str, Axis]:
    problems = Problems("parameters")
    axes = {}
    for name, value in parameters.items():
        with problems.at(str(name)):
            if isinstance(value, Uniform | Normal):
                raise UsageError("a distribution has no first and no last value", next="sample it")
            axes[name] = axis_of(value)
    problems.raise_any()
    return axes


def _names(source: Space | Drawn) -> tuple[str, ...]:
    return (source.name,) if isinstance(source, Drawn) else source.names


def _checked(names: Iterable[str]) -> tuple[str, ...]:
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or not name.isidentifier():
            raise UsageError(f"{name!r} is no parameter name", value=name, next="use letters, digits and _")
        if found.count(name) > 1:
            raise UsageError(f"the parameter {name} is given twice", value=name, next="give it once")
    return found


def _key(name: str) -> str:
    return encode_basestring(name).replace("%", "%%")


def _reordered(tuples: Iterator[tuple[str, ...]], given: Sequence[T], wanted: Sequence[T]) -> Iterator[tuple[str, ...]]:
    if list(given) == list(wanted):
        return tuples
    return map(itemgetter(*(given.index(item) for item in wanted)), tuples)


def _product(pools: Sequence[Callable[[], Iterator[T]]], sizes: Sequence[int]) -> Iterator[tuple[T, ...]]:
    """Yield the product in order; ``itertools.product`` alone would hold every value of every pool in memory."""
    inner = len(pools)
    while inner and sum(sizes[inner - 1 :]) <= _AT_HAND:
        inner -= 1
    if inner == 0:
        return product(*(pool() for pool in pools))
    return chain.from_iterable(_chunks(pools, sizes, inner - 1))


def _chunks(
    pools: Sequence[Callable[[], Iterator[T]]], sizes: Sequence[int], long: int
) -> Iterator[Iterator[tuple[T, ...]]]:
    inner = [tuple(pool()) for pool in pools[long + 1 :]]
    for outer in _product(pools[:long], sizes[:long]):
        stream = pools[long]()
        while chunk := tuple(islice(stream, _AT_HAND)):
            yield product(*((value,) for value in outer), chunk, *inner)


def _shuffled(position: int, size: int, seed: int) -> int:
    """Return the place of ``position`` in a random order of ``range(size)``: a Feistel network, walked until within."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = position >> half, position & mask
        for turn in range(4):
            left, right = right, left ^ (random_words(seed, "order", half, turn, right)[0] & mask)
        position = left << half | right
        if position < size:
            return position
