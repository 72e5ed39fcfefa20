"""The errors a user can meet: the message says what is wrong, with which value, and what to do."""

from __future__ import annotations


class ProvrunError(Exception):
    """Say what went wrong in words for a user.

    ``value`` is the offending value, ``next`` what to do about it; ``code`` names the kind of error in JSON and
    ``exit`` is the exit code of a command that ends with it.
    """

    code = "error"
    exit = 1

    def __init__(self, message: str, *, value: object = None, next: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.value = value
        self.next = next

    def __str__(self) -> str:
        return f"{self.message}\n  {self.next}" if self.next else self.message


class UsageError(ProvrunError):
    """The command or call does not mean anything."""

    code = "usage"
    exit = 2


class InvalidInput(UsageError):
    """Some input has problems; all of them are listed, and nothing was stored."""

    code = "invalid"

    def __init__(self, what: str, problems: list[str], *, next: str | None = None) -> None:
        self.problems = problems
        noun = "problem" if len(problems) == 1 else "problems"
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{what}: {len(problems)} {noun}, nothing was stored{listed}", value=problems, next=next)


class NotFound(ProvrunError):
    """No map, task, attempt, code, environment, job or file of that name."""

    code = "not-found"
    exit = 4


class NothingLeft(ProvrunError):
    """Nothing is left to do."""

    code = "nothing-left"
    exit = 0


class Refused(ProvrunError):
    """The request would harm something; it needs ``--force`` or another name."""

    code = "refused"
    exit = 5


class Unsound(ProvrunError):
    """A check found something wrong."""

    code = "unsound"
    exit = 6


class Unavailable(ProvrunError):
    """The database or the scheduler does not answer."""

    code = "unavailable"
    exit = 69


class LogEnded(Unavailable):
    """The log through which the registry was changed has been closed; whoever begins anew finds what there is now."""

    def __init__(self) -> None:
        super().__init__("the log has been closed: all its jobs are over", next="try again")


class DatabaseAway(Unavailable):
    """The database does not answer now; whoever can wait tries again."""


class Contended(Unavailable):
    """The database undid a transaction in favour of another one; the same again will do."""


class JobOver(ProvrunError):
    """The job was closed by somebody else, who found that it was over; it may claim nothing more."""

    code = "job-over"
    exit = 75


class StorageFailed(ProvrunError):
    """Writing failed: disk full, quota, or an I/O error."""

    code = "io"
    exit = 74


class NoProject(ProvrunError):
    """There is no project here, and this command does not make one."""

    code = "no-project"


class MissingExtra(ProvrunError):
    """An optional part is not installed."""

    code = "missing-extra"

    def __init__(self, extra: str, what: str) -> None:
        install = f"pip install 'provrun[{extra}]'"
        super().__init__(f"{what} needs an optional part of provrun", value=extra, next=install)
