"""The software that published tasks ran with, compared with what is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from provrun.export.crate.software import lock
from provrun.record.environment import capture_environment

if TYPE_CHECKING:
    from provrun.core.leaves import Record
    from provrun.project.pages.evidence import Evidence
    from provrun.project.pages.recorded import Recorded


def differences(recorded: Recorded, evidence: Evidence, sample: Sequence[Record]) -> list[str]:
    """Say in words in what the software here differs from what some tasks ran with; nothing if it does not."""
    here = capture_environment()
    own = set(lock(here).splitlines())
    found: list[str] = []
    for digest in dict.fromkeys(str(record.fields["environment"]) for record in sample):
        if digest == here.digest:
            continue
        listed = recorded.lock(digest)
        if listed is not None:
            there = set(listed.splitlines())
            found += [f"recorded, not here: {line}" for line in sorted(there - own)]
            found += [f"here, not recorded: {line}" for line in sorted(own - there)]
            continue
        node = next(one for one in evidence.view.typed("Environment") if evidence.view.text(one, "digest") == digest)
        python = evidence.view.text(node, "python")
        said = f"Python {python}, {evidence.view.text(node, 'packages')} packages"
        found.append(f"the software differs: recorded {said}, here Python {here.python}, {len(here.packages)} packages")
    return found
