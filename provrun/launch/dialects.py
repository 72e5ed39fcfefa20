"""Which dialects there are, and which one is spoken here."""

from __future__ import annotations

import shutil

from provrun.core.nearest import suggestion
from provrun.errors import Unavailable, UsageError
from provrun.launch.dialect import Dialect
from provrun.launch.slurm import Slurm

DIALECTS: dict[str, type[Dialect]] = {"slurm": Slurm}


def named(name: str) -> Dialect:
    """Give a dialect by name."""
    if name not in DIALECTS:
        raise UsageError(
            f"no such scheduler: {name}", value=name,
            next=suggestion(name, DIALECTS, f"schedulers: {' '.join(DIALECTS)}"),
        )
    return DIALECTS[name]()


def detected() -> str:
    """Name the scheduler whose program this machine has."""
    for name, dialect in DIALECTS.items():
        if name != "local" and shutil.which(dialect.program):
            return name
    programs = ", ".join(dialect.program for name, dialect in DIALECTS.items() if name != "local")
    raise Unavailable(
        f"no scheduler on this machine: none of {programs} is found", value=None,
        next="provrun launch --scheduler local runs in the background on this host",
    )
