"""A plot in a notebook to which points are added while jobs run."""

from __future__ import annotations

import io
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
    shell = _notebook()
    shown = None
    while True:
        left = sum(n for state, n in map.status()["ntasks"].items() if state in ("waiting", "pending", "running"))
        _draw(axes, map, x, y, color, left)
        if shell is None:
            return figure
        shown = _show(figure, shown)
        if not left:
            return None  # it stands in the notebook already
        time.sleep(every)


def _notebook() -> object | None:
    """Give the notebook's shell; None outside of one."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell: object | None = get_ipython()
    return None if type(shell).__name__ == "TerminalInteractiveShell" else shell


def _show(figure: Any, shown: Any) -> Any:
    """Show the figure as it is now, in place of what was shown before; give the handle by which it is replaced."""
    from IPython import display as untyped

    display: Any = untyped
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=96)
    image = display.Image(data=drawn.getvalue())
    if shown is None:
        return display.display(image, display_id=True)
    shown.update(image)
    return shown


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
