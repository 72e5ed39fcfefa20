"""A batch job: `python -m provrun.cli.batch PLAN`, which is what the script of an allocation becomes."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Do what the plan says and give the exit code."""
    from provrun.cli.failures import explained, report
    from provrun.cli.live import Live
    from provrun.cli.output import Output
    from provrun.cli.run import told
    from provrun.project.jobs.batch import run_batch

    out = Output()
    try:
        with Live(out, sys.stderr) as live:
            summary = run_batch(Path(sys.argv[1]), live)
    except Exception as error:  # the last one who can say it in one line
        failure = explained(error)
        report(failure, as_json=False)
        return failure.exit
    print(told(summary))
    return summary.exit


if __name__ == "__main__":
    sys.exit(main())
