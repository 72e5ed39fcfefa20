"""Run many small computations and keep, for every number, what made it."""

from __future__ import annotations

__version__ = "0.1.0"
