"""A rank of `provrun run --mpi`: `python -m provrun.cli.rank PLAN`, started by the MPI launcher."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Take part in the job of a plan."""
    from provrun.errors import ProvrunError
    from provrun.project.jobs.ranks import take_part

    try:
        take_part(Path(sys.argv[1]))
    except ProvrunError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
