"""The part of a batch script that is the same for every scheduler."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from provrun.core.allocation import Request

INHERITED = (
    "PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG",
    "LC_ALL", "TZ", "MPI4PY_LIBMPI", "MPI4PY_MPIABI", "OPAL_PREFIX",
)
"""What the script sets as it was where the job was submitted: enough to find the same Python, nothing secret."""


def script(request: Request, directives: Iterable[str], lines: Iterable[str] = ()) -> str:
    """Write a batch script: directives, the submitter's environment, the setup, then the program in place of the shell.

    The shell is a login shell where there is a setup, since `module` is often known to those only.
    """
    shebang = "#!/bin/bash -l" if request.setup else "#!/bin/bash"
    exports = [f"export {name}={shlex.quote(value)}" for name, value in request.environ.items()]
    there = f"cd {shlex.quote(request.folder)} || exit 1"
    command = f"exec {shlex.join(request.command)} </dev/null"
    return "\n".join([shebang, *directives, "", *lines, *exports, there, *request.setup, command, ""])


def clock(seconds: float, *, days: bool = False) -> str:
    """Write a duration as HH:MM:SS, or D-HH:MM:SS from a day on, rounded up to a second."""
    whole = -int(-seconds // 1)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if days and hours >= 24:
        return f"{hours // 24}-{hours % 24:02d}:{minute:02d}:{second:02d}"
    return f"{hours:02d}:{minute:02d}:{second:02d}"
