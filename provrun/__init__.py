"""Run many small computations and keep, for every number, what made it.

``import provrun as pr`` touches nothing and imports nothing: each name is looked up when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False  # importing it from typing takes as long as Python takes to start
if TYPE_CHECKING:
    from provrun.api.checkpoints import checkpoint_dir as checkpoint_dir
    from provrun.api.checkpoints import warned as warned
    from provrun.api.maps import Map as Map
    from provrun.api.parameters import normal as normal
    from provrun.api.parameters import sample as sample
    from provrun.api.parameters import uniform as uniform
    from provrun.api.parameters import value as value
    from provrun.api.parameters import zip as zip
    from provrun.api.project import Project as Project
    from provrun.api.project import get as get
    from provrun.api.project import map as map
    from provrun.api.project import maps as maps
    from provrun.api.project import reduce as reduce
    from provrun.api.random import rng as rng
    from provrun.api.table import Table as Table
    from provrun.core.axes import lin as lin
    from provrun.core.axes import log as log
    from provrun.errors import NoProject as NoProject
    from provrun.errors import ProvrunError as ProvrunError

__version__ = "0.1.0"

_NAMES = {
    "provrun.api.checkpoints": ("checkpoint_dir", "warned"),
    "provrun.api.maps": ("Map",),
    "provrun.api.parameters": ("normal", "sample", "uniform", "value", "zip"),
    "provrun.api.project": ("Project", "get", "map", "maps", "reduce", "submit"),
    "provrun.api.random": ("rng",),
    "provrun.api.table": ("Table",),
    "provrun.core.axes": ("lin", "log"),
    "provrun.errors": ("NoProject", "ProvrunError"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_MODULES]  # noqa: PLE0604  # all are texts


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'provrun' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps ``provrun.submit`` the function of the Python API.

    A room has the same name, and importing it would otherwise put the module in the function's place.
    """

    @property
    def submit(self) -> object:
        return __getattr__("submit")

    @submit.setter
    def submit(self, room: object) -> None:
        pass


sys.modules[__name__].__class__ = _Package
