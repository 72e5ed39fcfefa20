"""What a function task with ``checkpoint=True`` asks so that its next attempt can go on where it stopped."""

from __future__ import annotations

from pathlib import Path

from provrun.run import current


def checkpoint_dir() -> Path | None:
    """Give the private folder of the task that runs, which its next attempt finds as it was left.

    It goes when the task has succeeded. None outside of a task, or where the map was made without ``checkpoint``.
    """
    return None if current.checkpoint is None else Path(current.checkpoint)


def warned() -> bool:
    """Tell whether the job ends soon: save what is to be kept, then end in any way but by returning.

    Such an attempt counts as given back, not as failed. Looking costs nothing; False outside of a task.
    """
    return current.warned()
