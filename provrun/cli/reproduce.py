"""`provrun reproduce`: run a sample of what was published again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provrun.cli.options import Face, command
from provrun.cli.output import visible

if TYPE_CHECKING:
    from provrun.project.pages.reproducing import Report

WRONG, UNKNOWN = 6, 1


@command(
    "provrun reproduce paper --sample 20", "provrun reproduce paper.ttl --leaves leaves.jsonl.gz --nonce 2718",
    "provrun reproduce stat --rtol 1e-12", "provrun reproduce paper --rebuild",
)
@click.argument("source", metavar="CRATE|EXPORT|MAP")
@click.option(
    "--leaves", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The records that were exported with the page.",
)
@click.option("--sample", type=click.IntRange(1), default=10, show_default=True, help="How many tasks to run again.")
@click.option("--map", "maps", multiple=True, metavar="MAP", help="Draw from this map only; may be given again.")
@click.option(
    "--nonce", default="", help="Any text of yours: the sample is drawn with it, so that no author can have chosen it."
)
@click.option(
    "--rtol", type=click.FloatRange(0), help="Let floats differ by this much of the recorded one."
)
@click.option("--repository", metavar="DIR|URL", help="Where the code is, instead of where the page says.")
@click.option(
    "--inputs", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder with input files that are not in the repository.",
)
@click.option(
    "--rebuild", is_flag=True,
    help="Run tasks with the recorded Python and packages, installed into a temporary folder with pip.",
)
@click.option("-j", "--slots", type=click.IntRange(1), help="How many tasks run at once (default: all cores).")
def reproduce(
    face: Face, source: str, leaves: Path | None, sample: int, maps: tuple[str, ...], nonce: str, rtol: float | None,
    repository: str | None, inputs: Path | None, rebuild: bool, slots: int | None,
) -> int:
    """Run a sample of published tasks again, from the recorded code, and compare what they give.

    The page and its records are verified first, and the sample follows from them and the nonce alone. Code is checked
    out of the recorded repository into a temporary folder, and must be what was recorded to the byte. What a task
    reads comes from other tasks, which are run before it where their results are not at hand. No project is touched,
    and none is needed for a crate or an export.

    The software is compared, and told where it differs. With --rebuild tasks run in virtual environments of the
    recorded packages, which come from where pip is set up to look; what cannot be had is told, and what then comes
    out otherwise counts as not run.

    Runs code of whoever published it: look at it before. Exits with 6 if a task gave something else or failed, with
    1 if one could not be run.
    """
    from provrun.core.reproduction import WRONG as BAD
    from provrun.core.reproduction import Verdict
    from provrun.project.pages.reproducing import reproduce as run
    from provrun.project.pages.rerunning import Wish

    wish = Wish(sample, maps, nonce, rtol, repository, inputs, slots, rebuild)
    report = run(source, wish, leaves=leaves, folder=face.folder, tell=face.out.say)
    bad, unknown = report.count(*BAD), report.count(Verdict.NOT_RUN)
    document = {
        "ok": not bad and not unknown, "digest": report.digest, "nonce": nonce, "sample": len(report.tasks),
        "verdicts": {str(verdict).replace(" ", "_"): report.count(verdict) for verdict in Verdict},
        "environment": report.environment,
        "environments": [
            {"digest": one.digest, "rebuilt": one.python is not None, "python": one.version, "differs": one.differs,
             "lacking": one.lacking}
            for one in report.used
        ],
        "tasks": [
            {"task": one.task, "verdict": str(one.verdict), "why": one.why or None, "recorded": one.recorded,
             "found": one.found}
            for one in report.tasks
        ],
    }
    face.out.answer(document, refs=[f"{one.task} {one.verdict}" for one in report.tasks], text=visible(_text(report)))
    return WRONG if bad else UNKNOWN if unknown or report.count(Verdict.NOTHING) == len(report.tasks) else 0


def _text(report: Report) -> str:
    from provrun.core.reproduction import Verdict

    width = max(len(one.task) for one in report.tasks)
    lines = [f"{one.task:{width}}  {one.verdict}{': ' if one.why else ''}{one.why}" for one in report.tasks]
    counts = [f"{report.count(verdict)} {verdict}" for verdict in Verdict if report.count(verdict)]
    return "\n".join([*lines, f"of {len(report.tasks)} tasks: {', '.join(counts)}"])
