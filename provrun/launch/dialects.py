"""Which dialects there are, and which one is spoken here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from provrun.core.nearest import suggestion
from provrun.errors import UsageError
from provrun.launch.dialect import Dialect
from provrun.launch.flux import Flux
from provrun.launch.gridengine import GridEngine
from provrun.launch.local import Local
from provrun.launch.lsf import Lsf
from provrun.launch.pbs import Pbs
from provrun.launch.slurm import Slurm

DIALECTS: dict[str, Callable[[], Dialect]] = {
    "slurm": Slurm, "pbs": Pbs, "lsf": Lsf, "flux": Flux, "sge": GridEngine, "local": Local,
}


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
