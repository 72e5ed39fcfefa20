"""The keywords of `submit`, `map` and `reduce` that are options; every other keyword is a parameter.

The list is closed: an option that comes with a later version is given in ``options={...}``, so that no program
that sweeps a parameter of that name ever changes its meaning.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import get_args

from provrun.core.problems import Problems
from provrun.core.records import OnFailed, Policy
from provrun.submit.flow import Building

FLOW = ("each", "all", "group", "by", "chunk", "after", "on_failed")
DATA = ("input", "output", "pack", "result", "shell")
POLICY = tuple(Policy.__struct_fields__)
OTHER = ("name", "priority", "tag", "options")
OPTIONS: tuple[str, ...] = (*FLOW, *DATA, *POLICY, *OTHER)
"""All option names, documented in the Python reference."""


def split(keywords: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Part keywords into options and parameters; what stands in ``options={...}`` are options."""
    options = {name: value for name, value in keywords.items() if name in OPTIONS}
    parameters = {name: value for name, value in keywords.items() if name not in OPTIONS}
    later = options.pop("options", None) or {}
    if not isinstance(later, Mapping):
        raise TypeError(f"options={later!r} should be a dict of options")
    unknown = [name for name in later if name not in OPTIONS]
    if unknown:
        raise TypeError(f"there is no option {unknown[0]}; the options are {', '.join(sorted(OPTIONS))}")
    return options | dict(later), parameters


def refuse_ambiguous(function: Callable[..., object], options: Iterable[str], verb: str) -> None:
    """Refuse an option whose name is a parameter of the function too, showing the line to write."""
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    for name in options:
        if name in known and name != "all":
            raise TypeError(
                f"{name} is a parameter of {function.__name__} and an option of {verb}; write"
                f" pr.{verb}({function.__name__}, {{{name!r}: ...}}) for the parameter,"
                f" or options={{{name!r}: ...}} for the option"
            )


def building(options: Mapping[str, object]) -> Building:
    """Read what a map builds on; maps are given as handles or by name."""
    given: tuple[OnFailed, ...] = get_args(OnFailed)
    on_failed = next((one for one in given if one == options.get("on_failed")), None)
    if options.get("on_failed") is not None and on_failed is None:
        raise TypeError(f"on_failed={options['on_failed']!r}: choose one of {', '.join(given)}")
    chunk = options.get("chunk")
    if chunk is not None and (not isinstance(chunk, int) or isinstance(chunk, bool)):
        raise TypeError(f"chunk={chunk!r} should be a number of tasks")
    return Building(
        each=_names(options.get("each")), all=_names(options.get("all")), group=_names(options.get("group")),
        by=_words("by", options.get("by")), chunk=chunk, after=_names(options.get("after")), on_failed=on_failed,
    )


def policy(options: Mapping[str, object]) -> dict[str, object]:
    """Pick the policy among options."""
    return {name: options[name] for name in POLICY if options.get(name) is not None}


def data(options: Mapping[str, object]) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Read the templates of inputs and outputs, and where the result is found."""
    given = options.get("output") or {}
    if isinstance(given, Mapping):
        outputs = {str(name): str(path) for name, path in given.items()}
    else:
        from provrun.submit.request import pairs

        problems = Problems("output")
        outputs = pairs("output", _words("output", given), problems)
        problems.raise_any()
    return _words("input", options.get("input")), outputs, str(options.get("result") or "auto")


def tags(options: Mapping[str, object]) -> dict[str, str]:
    """Read tags."""
    given = options.get("tag") or {}
    if not isinstance(given, Mapping):
        raise TypeError(f"tag={given!r} should be a dict of texts")
    return {str(name): str(value) for name, value in given.items()}


def _names(given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    listed = given if isinstance(given, list | tuple) else [given]
    return tuple(one if isinstance(one, str) else _name(one) for one in listed)


def _name(handle: object) -> str:
    name = getattr(handle, "name", None)
    if not isinstance(name, str):
        raise TypeError(f"{handle!r} is no map; give what pr.map returned, or a map's name")
    return name


def _words(option: str, given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Iterable):
        return tuple(str(one) for one in given)
    raise TypeError(f"{option}={given!r} should be a text or a list of texts")
