"""Parameters given in Python: what is swept, what is one value, what is a table of rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from provrun.core.axes import Normal, Single, Uniform
from provrun.core.space import Space, combine, from_mapping, from_rows, zip_axes
from provrun.core.space import sample as drawn
from provrun.core.template import ALWAYS_KNOWN, Template


def zip(**parameters: object) -> Space:
    """Walk parameters together instead of crossing them; they need equally many values."""
    return zip_axes(parameters)


def sample(size: int, /, *, seed: int = 0, **parameters: object) -> Space:
    """Draw ``size`` points at random, from `uniform` and `normal` or from what would be swept.

    A longer sample with the same seed contains the shorter one.
    """
    return drawn(parameters, size, seed)


def uniform(low: float, high: float) -> Uniform:
    """Draw a parameter evenly from an interval; only with `sample`."""
    return Uniform(low, high)


def normal(mean: float, deviation: float) -> Normal:
    """Draw a parameter from a normal distribution; only with `sample`."""
    return Normal(mean, deviation)


def value(single: object) -> Single:
    """Take a list, range or array as one value instead of sweeping it."""
    return Single(single)


def space_of(params: object, keywords: Mapping[str, object], only: Callable[[], str]) -> Space:
    """Make the space of ``params`` crossed with the keywords; ``only`` names the one parameter that a list feeds."""
    spaces = [] if params is None else [_space(params, only)]
    if keywords or not spaces:
        spaces.append(from_mapping(keywords))
    return combine(spaces)


def _space(params: object, only: Callable[[], str]) -> Space:
    if isinstance(params, Space):
        return params
    if isinstance(params, Mapping):
        return from_mapping(cast("Mapping[str, object]", params))
    if isinstance(params, str | Path):
        from provrun.submit.tables import read_rows

        return read_rows(params)
    if hasattr(params, "to_dict") and hasattr(params, "columns"):  # pandas
        return from_rows(cast("Iterable[Mapping[str, object]]", params.to_dict("records")))
    if hasattr(params, "to_pylist"):  # Arrow
        return from_rows(cast("Iterable[Mapping[str, object]]", params.to_pylist()))
    if hasattr(params, "iter_rows"):  # polars
        return from_rows(cast("Iterable[Mapping[str, object]]", params.iter_rows(named=True)))
    if isinstance(params, Sequence) and params and all(isinstance(one, Mapping) for one in params):
        return from_rows(cast("Sequence[Mapping[str, object]]", params))
    return from_mapping({only(): params})


def only_parameter(function: Callable[..., object], taken: Iterable[str]) -> str:
    """Name the one parameter of a function that is not given otherwise; `TypeError` if there are more or none."""
    names = [
        name for name, one in inspect.signature(function).parameters.items()
        if name not in set(taken) and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    return _single(names, f"{function.__name__} takes {', '.join(names) or 'no parameter'}")


def only_placeholder(words: Sequence[str], shell: bool, taken: Iterable[str]) -> str:
    """Name the one placeholder of a command that is not given otherwise; `TypeError` if there are more or none."""
    names = [
        name for name in Template.parse(words, shell).names
        if name not in set(taken) and name not in ALWAYS_KNOWN and "." not in name
    ]
    return _single(names, f"the command names {', '.join(names) or 'no parameter'}")


def _single(names: Sequence[str], found: str) -> str:
    if len(names) != 1:
        raise TypeError(f"a plain list feeds the only parameter, but {found}; write a dict or keywords")
    return names[0]
