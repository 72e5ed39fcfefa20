"""Who submits: a person, or an attempt of a task of this project."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from provrun.core.records import Submitter
from provrun.core.refs import AttemptRef, parse_ref
from provrun.errors import DatabaseAway, LogEnded, UsageError
from provrun.project.project import Project
from provrun.run.processes import JOB_VARIABLE

PATIENCE = 600.0  # seconds that a task waits for a database that is away
Result = TypeVar("Result")


def submitter(project: Project) -> Submitter | None:
    """Give the attempt in which this process runs, if that is one of a task of this project.

    The registry looks whether it knows of it: variables may be left over from anywhere.
    """
    attempt, job, root = (os.environ.get(name) for name in ("PROVRUN_ATTEMPT", JOB_VARIABLE, "PROVRUN_PROJECT"))
    if not attempt or not job or not root or not _same(root, project.root):
        return None
    try:
        ref = parse_ref(attempt)
    except UsageError:
        return None
    if not isinstance(ref, AttemptRef):
        return None
    return Submitter(job.partition("/")[0], ref.map, ref.index, ref.number)


def user_name() -> str:
    """Give the name of who runs this process."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry
        return str(os.getuid())


def patiently(project: Project, submit: Callable[[], Result]) -> Result:
    """Submit; a task waits for a database that is away, since its work must not be lost by that.

    When the log was closed meanwhile what was not submitted is submitted to what there is now.
    """
    end = time.monotonic() + PATIENCE
    pause = 0.5
    while True:
        try:
            return submit()
        except DatabaseAway:
            if submitter(project) is None or time.monotonic() > end:
                raise
            project.close()  # the connection is no good any more
            time.sleep(pause)
            pause = min(5.0, 2 * pause)
        except LogEnded:
            if time.monotonic() > end:
                raise


def _same(root: str, folder: Path) -> bool:
    try:
        return Path(root).samefile(folder)
    except OSError:
        return False
