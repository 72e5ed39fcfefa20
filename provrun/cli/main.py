"""The command `provrun`: a table of commands, each imported only when it is called."""

from __future__ import annotations

import os
import sys

from provrun import __version__

# name: (module, attribute, one-line summary); the sections and their order are those of the help.
SECTIONS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Submit": {
        "submit": ("provrun.cli.submit", "submit", "Apply a command or function to many parameter sets."),
        "load": ("provrun.cli.submit", "load", "Make one task of every line of a file."),
    },
    "Run": {
        "run": ("provrun.cli.run", "run", "Run tasks here and now until nothing is left that could run."),
        "launch": ("provrun.cli.launch", "launch", "Hand jobs to a scheduler."),
        "recover": ("provrun.cli.run", "recover", "Let tasks run again that a dead run has left running."),
    },
    "Ask": {
        "status": ("provrun.cli.status", "status", "Say how maps stand."),
        "list": ("provrun.cli.status", "list_maps", "List all maps."),
        "watch": ("provrun.cli.status", "watch", "Show how maps stand until they are done."),
        "wait": ("provrun.cli.status", "wait", "Wait until maps are done."),
        "tasks": ("provrun.cli.rows", "tasks", "List the tasks of a map."),
        "results": ("provrun.cli.rows", "results", "Give the results of a map, as a table or file."),
        "find": ("provrun.cli.rows", "find", "Find tasks of all maps by conditions."),
        "show": ("provrun.cli.ask", "show", "Tell everything known of one thing."),
        "logs": ("provrun.cli.logs", "logs", "Print what attempts printed."),
        "get": ("provrun.cli.logs", "get", "Write outputs that are kept in packs."),
        "why": ("provrun.cli.ask", "why", "Say why something waits, failed, is stale or superseded."),
        "trace": ("provrun.cli.ask", "trace", "Follow a task, result or file to its sources."),
        "diff": ("provrun.cli.ask", "diff", "Compare two tasks, attempts, maps, codes or environments."),
        "code": ("provrun.cli.ask", "code", "Show the version of code something ran with."),
        "env": ("provrun.cli.ask", "env", "Show the software something ran with."),
        "job": ("provrun.cli.jobs", "job", "Look at jobs."),
    },
    "Change": {
        "retry": ("provrun.cli.changes", "retry", "Let failed tasks run again."),
        "rerun": ("provrun.cli.changes", "rerun", "Let succeeded tasks run again; old results stay visible."),
        "accept": ("provrun.cli.changes", "accept", "Declare that results of older code hold under the present one."),
        "cancel": ("provrun.cli.changes", "cancel", "Cancel tasks that have not ended."),
        "pause": ("provrun.cli.changes", "pause", "Start no more tasks of a map."),
        "resume": ("provrun.cli.changes", "resume", "Start tasks of a paused map again."),
        "delete": ("provrun.cli.changes", "delete", "Delete a map that nothing builds on."),
        "compact": ("provrun.cli.changes", "compact", "Drop captured output and what was superseded."),
        "set": ("provrun.cli.changes", "set_policy", "Change priority, limits and other policy of a map."),
    },
    "Publish": {
        "export": ("provrun.cli.export", "export", "Write a page of W3C PROV about maps."),
        "prove": ("provrun.cli.verify", "prove", "Prove that a task is among those a page commits to."),
        "verify": ("provrun.cli.verify", "verify", "Check the registry, or what was published."),
        "reproduce": ("provrun.cli.reproduce", "reproduce", "Run a sample of what was published again."),
    },
    "Project": {
        "init": ("provrun.cli.house", "init", "Make a project here or in DIR."),
        "config": ("provrun.cli.house", "config", "Show or set the configuration and where each value comes from."),
        "db": ("provrun.cli.house", "db", "Look after the registry's database."),
        "completion": ("provrun.cli.house", "completion", "Print the completion script of a shell."),
    },
}

COMMANDS: dict[str, tuple[str, str, str]] = {
    name: entry for section in SECTIONS.values() for name, entry in section.items()
}

COMPLETE = "_PROVRUN_COMPLETE"
"""The variable in which a shell's completion script asks."""

EXAMPLES = (
    "provrun submit scan --param x=0:1000 -- analyze -x {x}",
    "provrun run scan -j 8",
)


def help_text() -> str:
    """Give the help of `provrun` itself; made from the table, so that it needs no import."""
    lines = ["Examples:", *(f"  {example}" for example in EXAMPLES), ""]
    lines += ["Usage: provrun COMMAND [OPTIONS] ...", ""]
    lines += ["Run many small computations and keep, for every number, what made it.", ""]
    width = max(map(len, COMMANDS)) + 2
    for title, commands in SECTIONS.items():
        if commands:
            lines += [f"{title}:", *(f"  {name:{width}}{entry[2]}" for name, entry in commands.items()), ""]
    lines += ["Options of every command:"]
    lines += ["  --project DIR  The project's folder (PROVRUN_PROJECT; default: the nearest .provrun upward)."]
    lines += ["  --json         Print one JSON document.", "  -q, --quiet    Print references only."]
    lines += ["  --debug        Print the traceback of an error.", "  --help         Say what a command does."]
    lines += ["", "provrun --version prints the version."]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and give its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if COMPLETE not in os.environ:
        if not words:
            print(help_text(), file=sys.stderr)
            return 2
        # Importing click takes longer than Python takes to start; these two need none of it.
        if words[0] in {"--help", "-h"}:
            return _print(help_text())
        if words == ["--version"]:
            return _print(f"provrun {__version__}")
    try:
        from provrun.cli.failures import guarded
    except KeyboardInterrupt:
        return 130
    return guarded(words)


def _print(text: str) -> int:
    try:
        print(text, flush=True)
    except OSError as error:
        # Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):
            from provrun.cli.failures import explained, report

            failure = explained(error)
            report(failure, as_json=False)
            return failure.exit
    return 0
