"""How a command ends: exit codes, errors as text or JSON, no traceback unless asked for."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

import click

from provrun.cli.main import COMPLETE
from provrun.cli.options import root
from provrun.cli.output import encode, styled, visible
from provrun.core.nearest import suggestion
from provrun.errors import ProvrunError, StorageFailed, UsageError

INTERRUPTED = 130
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}


def guarded(words: list[str]) -> int:
    """Run a command line, turn every failure into one message, and give the exit code."""
    own = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in own
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        failure, code = ProvrunError("interrupted"), INTERRUPTED
        failure.code = "interrupted"
    except Exception as error:  # the last one who can say it in one line instead of a traceback
        failure = explained(error)
        code = failure.exit
        if debug:
            import traceback

            traceback.print_exc()
    else:
        return code if isinstance(code, int) else 0
    report(failure, as_json="--json" in own)
    return code


def _run(words: list[str]) -> object:
    """Run a command and give what it returns; click's own `main` would end the process its own way."""
    instruction = os.environ.get(COMPLETE)
    if instruction is not None:
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "provrun", COMPLETE, instruction)
    try:
        with root.make_context("provrun", list(words)) as context:
            return root.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code


def explained(error: Exception) -> ProvrunError:
    """Give the error a user is shown for whatever was raised."""
    if isinstance(error, ProvrunError):
        return error
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        if error.errno in DISK:
            return StorageFailed(text, value=error.filename, next="free some space and run again")
        return ProvrunError(text, value=error.filename)
    name = type(error).__name__
    return ProvrunError(
        f"provrun itself failed: {name}: {error}", value=name, next="--debug shows the traceback; please report it"
    )


def _usage(error: click.ClickException) -> UsageError:
    value: object = None
    help_line = None
    if isinstance(error, click.UsageError) and error.ctx is not None:
        help_line = f"{error.ctx.command_path} --help says what it takes"
    if isinstance(error, click.NoSuchOption):
        known = [name for param in error.ctx.command.get_params(error.ctx) for name in param.opts] if error.ctx else []
        value = error.option_name
        return UsageError(f"no such option: {value}", value=value, next=suggestion(str(value), known, help_line or ""))
    if isinstance(error, click.BadParameter) and error.param is not None:
        value = error.param.opts[-1]
    return UsageError(error.format_message(), value=value, next=help_line)


def report(failure: ProvrunError, *, as_json: bool) -> None:
    """Print a failure: the JSON document on stdout, or words on stderr, also if stdout does not take the document."""
    try:
        if as_json:
            value = failure.value if isinstance(failure.value, str | int | list | None) else str(failure.value)
            body = {"code": failure.code, "message": failure.message, "value": value, "next": failure.next}
            print(encode({"error": body}), flush=True)
            return
    except OSError as error:
        # Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return
    with suppress(OSError):
        print(f"{styled('error:', '31', sys.stderr)} {visible(str(failure))}", file=sys.stderr, flush=True)
