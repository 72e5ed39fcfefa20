"""What a benchmark reports: a figure of provrun beside the machine's own limit, measured in the same run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value, what it is measured against, and the bound their ratio has to keep.

    Without a limit the bound is on the value itself (a size in bytes, say).
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    against: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        """Give value / limit, or nothing where there is no limit."""
        return None if self.limit is None else self.value / self.limit

    @property
    def bound(self) -> str:
        """Give the bound in words."""
        lower = [] if self.at_least is None else [f">= {self.at_least:g}"]
        upper = [] if self.at_most is None else [f"<= {self.at_most:g}"]
        return " and ".join(lower + upper) or "-"

    @property
    def holds(self) -> bool:
        """Say whether the bound is kept."""
        judged = self.value if self.ratio is None else self.ratio
        return (self.at_least is None or judged >= self.at_least) and (self.at_most is None or judged <= self.at_most)
