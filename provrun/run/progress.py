"""How far a run is, in numbers; who shows them decides how."""

from __future__ import annotations

import msgspec


class Progress(msgspec.Struct):
    """Counts of one run: attempts lost are no tasks ended; ``left`` are tasks not yet ended, blocked ones included."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    reused: int = 0
    lost: int = 0
    noresult: int = 0
    in_flight: int = 0
    left: int = 0
    slots: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    draining: bool = False

    @property
    def ended(self) -> int:
        """Count the tasks that have ended for good."""
        return self.succeeded + self.reused + self.failed + self.cancelled

    @property
    def eta(self) -> float | None:
        """Estimate the seconds until nothing is left; None while nothing is known."""
        return self.left / self.rate if self.rate > 0 else None
