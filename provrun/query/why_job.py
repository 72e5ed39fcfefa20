"""Why a job ended, or that it runs."""

from __future__ import annotations

from provrun.core.records import JobRecord
from provrun.core.units import format_duration
from provrun.query.rows import moment
from provrun.query.situations import Answer
from provrun.query.view import View


def why_job(view: View, job: JobRecord) -> Answer:
    """Explain a job."""
    ref = f"job:{job.id}"
    shape = f"{job.kind}, {job.ranks} x {job.slots} slots on {job.node}, started {moment(job.started)} by {job.user}"
    if job.state == "running":
        if view.over(job):
            return Answer(ref, "job-is-over", "it is over without having said so", (shape,), "provrun recover")
        since = format_duration(max(0, view.now - job.started) / 1e6)
        return Answer(ref, "job-running", f"it has been running for {since}", (shape,), "provrun watch")
    if job.state == "lost":
        return Answer(
            ref, "job-lost", "it died without a word; what it was running is pending again", (shape,), "provrun run"
        )
    return Answer(
        ref, "job-ended", f"it ended {moment(job.ended)}: {job.reason or 'no reason given'}", (shape,),
        f"provrun job show {job.id}",
    )
