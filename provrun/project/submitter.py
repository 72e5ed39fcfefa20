"""Who submits: a person, or an attempt of a task of this project."""

from __future__ import annotations

import os
from pathlib import Path

from provrun.core.records import Submitter
from provrun.core.refs import AttemptRef, parse_ref
from provrun.errors import UsageError
from provrun.project.project import Project
from provrun.run.processes import JOB_VARIABLE


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


def _same(root: str, folder: Path) -> bool:
    try:
        return Path(root).samefile(folder)
    except OSError:
        return False
