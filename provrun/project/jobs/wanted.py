"""What `launch` is asked for, as people write it on a command line or in Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from provrun.core.nearest import suggestion
from provrun.core.units import parse_duration
from provrun.errors import UsageError
from provrun.project.running import MaxFails

Texts = str | Iterable[str]
RESUBMIT = ("auto", "chain", "off")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What `launch` is asked for; what is None is left to provrun.

    ``time`` in seconds, ``area`` in core-hours, ``links`` the jobs of each chain that is submitted whole,
    ``pilot`` tasks that run here first if none has been measured.
    """

    names: tuple[str, ...] = ()
    scheduler: str | None = None
    nodes: int | None = None
    slots: int | None = None
    time: float | None = None
    jobs: int | None = None
    area: float | None = None
    queue: str | None = None
    account: str | None = None
    exclude: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    setup: tuple[str, ...] = ()
    resubmit: Literal["auto", "chain", "off"] = "auto"
    links: int | None = None
    on_finish: str | None = None
    max_fails: MaxFails | None = None
    nice: int = 0
    pilot: int = 0


def wanted(
    *, names: Iterable[str] = (), time: str | float | None = None, exclude: Texts = (),
    options: Texts | Mapping[str, object] = (), setup: Texts = (), max_fails: int | str | None = None, **more: object,
) -> Wanted:
    """Read what `launch` is asked for; raise `UsageError` for what means nothing.

    ``exclude`` are lists of nodes (``n3,n[7-9]``), ``options`` are texts ``KEY=VALUE`` or a dict, ``setup`` lines of
    shell or names of files that hold some.
    """
    given = options if not isinstance(options, Mapping) else [f"{name}={value}" for name, value in options.items()]
    for name in more:
        if name not in Wanted.__struct_fields__:
            known = f"options: {', '.join(Wanted.__struct_fields__)}"
            raise UsageError(
                f"launch has no option {name}", value=name, next=suggestion(name, Wanted.__struct_fields__, known)
            )
    if more.get("resubmit", "auto") not in RESUBMIT:
        raise UsageError(f"resubmit={more['resubmit']}: want one of {', '.join(RESUBMIT)}", value=more["resubmit"])
    seconds = None if time is None else parse_duration(time)
    if seconds == 0:  # which schedulers take for no limit
        raise UsageError(f"--time {time}: a job needs some", value=time, next="--time 2h, or leave it out")
    if more.get("links") is not None and more.get("resubmit", "auto") != "chain":
        raise UsageError(
            "--links says how long a chain is that is submitted now", value=more["links"], next="--resubmit chain"
        )
    try:
        return msgspec.convert(
            {
                "names": tuple(names), "time": seconds,
                "exclude": tuple(node for text in _texts(exclude) for node in _nodes(text)),
                "options": tuple(_option(text) for text in _texts(given)),
                "setup": tuple(line for text in _texts(setup) for line in _lines(text)),
                "max_fails": read_max_fails(max_fails), **more,
            },
            Wanted,
        )
    except msgspec.ValidationError as error:
        raise UsageError(f"launch: {error}", value=str(error)) from error


def read_max_fails(text: int | str | None) -> MaxFails | None:
    """Read ``N`` or ``P%``."""
    if text is None:
        return None
    text = str(text)
    number = text.removesuffix("%")
    try:
        value = float(number) if number != text else int(number)
    except ValueError:
        value = 0
    if not value > 0 or (number != text and value > 100):
        problem = f"--max-fails {text}: want a number of tasks, or percent of them"
        raise UsageError(problem, value=text, next="--max-fails 10, or --max-fails 5%")
    return MaxFails(value, percent=number != text)


def _texts(given: Texts) -> Iterable[str]:
    return (given,) if isinstance(given, str) else given


def _nodes(text: str) -> list[str]:
    """Split a list of nodes at the commas that stand in no brackets."""
    return [node for node in re.split(r",(?![^[]*\])", text) if node]


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = name.lstrip("-")
    if not equals or not name:
        raise UsageError(f"--option {text}: want KEY=VALUE", value=text, next="--option constraint=skylake")
    return name, value


def _lines(text: str) -> list[str]:
    path = Path(text)
    if path.is_file():
        return path.read_text(encoding="utf-8").splitlines()
    if path.suffix == ".sh" and text.split() == [text]:
        raise UsageError(f"--setup {text}: there is no such file", value=text, next=f"a line of shell: 'source {text}'")
    return text.splitlines()
