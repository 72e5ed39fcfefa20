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
    slots = f"{job.slots} slots" if job.slots else "all cores"
    begun = f"on {job.node}, started" if job.node else "submitted"
    shape = f"{job.kind}, {job.ranks} x {slots} {begun} {moment(job.started)} by {job.user}"
    since = format_duration(max(0, view.now - job.started) / 1e6)
    if job.state in ("queued", "running"):
        verdict = view.judge(job)
        told = (shape, verdict.because)
        if verdict.over:
            return Answer(ref, "job-is-over", "it is over without having said so", told, "provrun recover")
        if job.state == "queued":
            because = f"it has been waiting in the queue for {since}"
            return Answer(ref, "job-queued", because, told, f"provrun job show {job.id}")
        return Answer(ref, "job-running", f"it has been running for {since}", told, "provrun watch")
    if job.state == "lost":
        return Answer(
            ref, "job-lost", "it died without a word; what it was running is pending again", (shape,), "provrun run"
        )
    because = f"it ended {moment(job.ended)}: {job.reason or 'nothing was left that it could run'}"
    return Answer(ref, "job-ended", because, (shape,), f"provrun job show {job.id}")
