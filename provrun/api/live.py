"""A plot in a notebook to which points are added while jobs run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from provrun.errors import MissingExtra

if TYPE_CHECKING:
    from provrun.api.maps import Map


def live_plot(map: Map, *, x: str, y: str, color: str | None, every: float) -> Any:
    """Draw ``y`` over ``x`` (parameters or keys of results), one colour for each value of ``color``.

    In a notebook the figure is drawn anew every ``every`` seconds until the map has no unfinished task; elsewhere
    once. Gives the matplotlib figure. Raises `MissingExtra` without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("notebook", "live_plot") from error
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    shown = _display(figure)
    while True:
        left = sum(n for state, n in map.status()["ntasks"].items() if state in ("waiting", "pending", "running"))
        _draw(axes, map, x, y, color, left)
        if shown is None:
            return figure
        shown.update(figure)
        if not left:
            return None  # the display stands already
        time.sleep(every)


def _display(figure: Any) -> Any:
    """Show the figure in the notebook and give the handle by which it is updated; None outside of one."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        return None
    shell = get_ipython()
    if shell is None or type(shell).__name__ == "TerminalInteractiveShell":
        return None
    show: Any = display  # it has no types
    return show(figure, display_id=True)


def _draw(axes: Any, map: Map, x: str, y: str, color: str | None, left: int) -> None:
    table = map.results()
    axes.clear()
    axes.set(xlabel=x, ylabel=y, title=f"{map.name}: {left} tasks to come" if left else map.name)
    if not len(table):
        return
    xs, ys = table.column(x), table.column(y)
    groups = table.column(color) if color is not None else [None] * len(xs)
    for group in dict.fromkeys(groups):
        chosen = [place for place, one in enumerate(groups) if one == group]
        axes.plot([xs[p] for p in chosen], [ys[p] for p in chosen], "o", ms=4, label=None if color is None else group)
    if color is not None:
        axes.legend(title=color)
