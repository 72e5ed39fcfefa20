"""Parameters as they are given on the command line, made into a space."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from provrun.core.axes import Axis, Distribution, Integers, Normal, Uniform, Values, lin, log, steps
from provrun.core.items import item_value, split_items
from provrun.core.nearest import suggestion
from provrun.core.problems import Problems
from provrun.core.space import Columns, Drawn, Grid, Sample, Space
from provrun.errors import UsageError
from provrun.submit.tables import Listed, read_rows

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER})(?::({_NUMBER}))?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,4000}", re.ASCII)

Source: TypeAlias = "Axis | Distribution"


def build_space(
    params: Sequence[str], zips: Sequence[str], files: Sequence[str | Path], sample: int | None, seed: int | None
) -> Space:
    """Return the space of ``--param``, ``--zip``, ``--params``, ``--sample`` and ``--sample-seed``.

    Rows of files vary slowest, then the parameters in the order given. Raises ``InvalidInput`` with all problems.
    """
    problems = Problems("parameters")
    sources: dict[str, Source] = {}
    for text in params:
        with problems.at(f"--param {_short(text)}"):
            name, source = parse_param(text)
            if name in sources:
                raise UsageError(f"{name} is given twice")
            sources[name] = source
    parts: list[Space | Drawn] = []
    for file in files:
        with problems.at(f"--params {file}"):
            rows = read_rows(file)
            _refuse_twice(rows.names, [*sources, *(name for part in parts for name in _names(part))])
            parts.append(rows)
    parts += _columns(sources, _zipped(sources, zips, problems), problems)
    if sample is None:
        problems.extend(
            f"--param {part.name}: is drawn from a distribution; say how many with --sample N"
            for part in parts
            if isinstance(part, Drawn)
        )
    problems.raise_any()
    if sample is None:
        return Grid([part for part in parts if isinstance(part, Space)])
    return Sample(parts, sample, seed or 0)


def parse_param(text: str) -> tuple[str, Source]:
    """Return the name and the values of one ``NAME=VALUES``, in any of its forms."""
    name, equals, values = text.partition("=")
    literal = name.endswith(":text")
    name = name.removesuffix(":text")
    if not equals:
        raise UsageError("no values are given", next="write --param NAME=VALUES")
    if not name.isidentifier():
        raise UsageError(f"{name!r} is no parameter name", value=name, next="use letters, digits and _")
    return name, _source(values, literal, f"for the text itself write {name}:text={_short(values)}")


def _source(values: str, literal: bool, as_text: str) -> Source:
    if values.startswith("@"):
        return Listed(values[1:], literal)
    if literal:
        return Values(values.split(","))
    form, colon, numbers = values.partition(":")
    if colon and form in _FORMS:
        return _FORMS[form](numbers.split(":"), as_text)
    if match := _RANGE.fullmatch(values):
        return _range(match[1], match[2], match[3] or "1", as_text)
    if values.lstrip().startswith("[") and isinstance(listed := item_value(values), list):
        if not listed:
            raise UsageError("the list is empty")
        return Values(listed)
    items = split_items(values)
    if not all(item.strip() for item in items):
        raise UsageError("an item is empty", next="""write empty text in a list: '["a", ""]'""")
    return Values([item_value(item) for item in items])


def _range(start: str, stop: str, step: str, as_text: str) -> Axis:
    axis: Axis
    if all(_WHOLE.fullmatch(number) for number in (start, stop, step)):
        if int(step) == 0:
            raise UsageError("the step is 0", next=as_text)
        axis = Integers(range(int(start), int(stop), int(step)))
    else:
        axis = steps(start, stop, step)
    if not axis.size:
        raise UsageError(f"no value lies from {start} to before {stop} in steps of {step}", next=as_text)
    return axis


def _between(make: Callable[[str, str, int], Axis], form: str) -> Callable[[list[str], str], Source]:
    def read(numbers: list[str], as_text: str) -> Source:
        if len(numbers) != 3 or not _WHOLE.fullmatch(numbers[2]):
            raise UsageError(f"write {form}:START:STOP:POINTS", next=as_text)
        return make(numbers[0], numbers[1], int(numbers[2]))

    return read


def _distributed(make: Callable[[float, float], Distribution], form: str) -> Callable[[list[str], str], Source]:
    def read(numbers: list[str], as_text: str) -> Source:
        if len(numbers) != 2 or not all(re.fullmatch(_NUMBER, number, re.ASCII) for number in numbers):
            raise UsageError(f"write {form}", next=as_text)
        return make(float(numbers[0]), float(numbers[1]))

    return read


_FORMS: dict[str, Callable[[list[str], str], Source]] = {
    "lin": _between(lin, "lin"),
    "log": _between(log, "log"),
    "uniform": _distributed(Uniform, "uniform:LOW:HIGH"),
    "normal": _distributed(Normal, "normal:MEAN:DEVIATION"),
}


def _zipped(sources: Mapping[str, Source], zips: Sequence[str], problems: Problems) -> dict[str, list[str]]:
    """Return for each name the names it is walked with, itself included."""
    together: dict[str, list[str]] = {}
    for text in zips:
        names = [name.strip() for name in text.split(",")]
        with problems.at(f"--zip {text}"):
            if len(names) < 2:
                raise UsageError("it takes two or more parameters", next="write --zip x,y")
            for name in names:
                if name not in sources:
                    known = suggestion(name, sources, "give it with --param")
                    raise UsageError(f"{name} is not given with --param", value=name, next=known)
                if isinstance(sources[name], Uniform | Normal):
                    raise UsageError(f"{name} is drawn from a distribution, which has no order", value=name)
                if name in together or names.count(name) > 1:
                    raise UsageError(f"{name} is zipped twice", value=name)
            together.update(dict.fromkeys(names, names))
    return together


def _columns(
    sources: Mapping[str, Source], together: Mapping[str, list[str]], problems: Problems
) -> list[Space | Drawn]:
    parts: list[Space | Drawn] = []
    done: set[str] = set()
    for name, source in sources.items():
        if isinstance(source, Uniform | Normal):
            parts.append(Drawn(name, source))
        elif name not in done:
            names = together.get(name, [name])
            done.update(names)
            with problems.at(f"--zip {','.join(names)}"):
                axes = [(each, sources[each]) for each in names]
                parts.append(Columns({each: axis for each, axis in axes if not isinstance(axis, Uniform | Normal)}))
    return parts


def _refuse_twice(names: Sequence[str], taken: Sequence[str]) -> None:
    for name in names:
        if name in taken:
            raise UsageError(f"{name} is given twice", value=name, next="to append rows, put them in one file")


def _names(part: Space | Drawn) -> tuple[str, ...]:
    return (part.name,) if isinstance(part, Drawn) else part.names


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
