"""The lab: a project filled by hand."""

from __future__ import annotations

from fixtures.lab import lab, living_job

__all__ = ["lab", "living_job"]
