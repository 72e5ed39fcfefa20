"""Which dialects there are, and which one is spoken here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping

from provrun.core.nearest import suggestion
from provrun.errors import Unavailable, UsageError
from provrun.launch.dialect import Dialect
from provrun.launch.flux import Flux
from provrun.launch.local import Local
from provrun.launch.lsf import Lsf
from provrun.launch.pbs import Pbs
from provrun.launch.slurm import Slurm

DIALECTS: dict[str, Callable[[], Dialect]] = {"slurm": Slurm, "pbs": Pbs, "lsf": Lsf, "flux": Flux, "local": Local}


def named(name: str, environ: Mapping[str, str] | None = None) -> Dialect:
    """Give a dialect by name, as it is spoken where these variables are set."""
    environ = os.environ if environ is None else environ
    if name == "flux":
        return Flux(inside="FLUX_ENCLOSING_ID" in environ)
    if name not in DIALECTS:
        raise UsageError(
            f"no such scheduler: {name}", value=name,
            next=suggestion(name, DIALECTS, f"schedulers: {' '.join(DIALECTS)}"),
        )
    return DIALECTS[name]()


def detected() -> str:
    """Name the scheduler whose program this machine has."""
    programs = {name: named(name).program for name in DIALECTS if name != "local"}
    for name, program in programs.items():
        if shutil.which(program):
            return name
    raise Unavailable(
        f"no scheduler on this machine: none of {', '.join(programs.values())} is found", value=None,
        next="provrun launch --scheduler local runs in the background on this host",
    )
