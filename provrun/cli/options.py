"""How every command is made: shared options, help that opens with examples, a `Face` as first argument."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from provrun.cli.main import COMMANDS, EXAMPLES, help_text
from provrun.cli.output import Output
from provrun.core.nearest import suggestion
from provrun.errors import LogEnded, ProvrunError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from provrun.project.project import Project

F = TypeVar("F", bound=Callable[..., Any])
HELP = {"help_option_names": ["--help", "-h"]}
_ENDINGS = 5  # logs that may be closed under a command, one after the other
SHARED = ("project", "json", "quiet", "debug")


@dataclass
class Face:
    """What a command needs of the command line beyond its own options."""

    folder: Path | None = None
    out: Output = field(default_factory=Output)
    debug: bool = False
    _project: Project | None = None

    def project(self) -> Project:
        """Open the project named by ``--project``, else the nearest one upward."""
        from provrun.project.project import Project

        if self._project is None:
            self._project = Project.find(self.folder)
        return self._project

    def project_made(self) -> Project:
        """Open the project, or make one at the git root or here and say so."""
        from provrun.project.project import Project

        if self._project is None:
            self._project = Project.find(self.folder, create=True)
            if self._project.created:
                self.out.say(f"made a project in {self._project.root}")
        return self._project

    def close(self) -> None:
        """Close what the command opened."""
        if self._project is not None:
            self._project.close()
            self._project = None


class _Shared(click.Command):
    """A command that takes the shared options and shows examples first."""

    examples: tuple[str, ...] = ()

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *_shared_options()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        face: Face = ctx.ensure_object(Face)
        values = {name: ctx.params.pop(name, None) for name in SHARED}
        face.folder = values["project"] or face.folder
        face.debug |= bool(values["debug"])
        face.out.json |= bool(values["json"])
        face.out.quiet |= bool(values["quiet"])
        return rest

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("Examples:\n")
        for example in self.examples:
            formatter.write(f"  {example}\n")
        formatter.write("\n")
        super().format_help(ctx, formatter)


@functools.cache
def _shared_options() -> tuple[click.Option, ...]:
    return (
        click.Option(
            ["--project"], metavar="DIR", type=click.Path(path_type=Path),
            help="The project's folder (default: PROVRUN_PROJECT, else the nearest .provrun upward).",
        ),
        click.Option(["--json"], is_flag=True, help="Print one JSON document."),
        click.Option(["-q", "--quiet"], is_flag=True, help="Print references only."),
        click.Option(["--debug"], is_flag=True, help="Print the traceback of an error."),
    )


class Command(_Shared):
    """A command of provrun."""


class Group(_Shared, click.Group):
    """A command that has subcommands; a mistyped one gets the nearest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            raise UsageError(f"{ctx.command_path} does what?", next=f"commands: {' '.join(self.list_commands(ctx))}")
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known:
            listed = f"commands: {' '.join(known)}"
            raise UsageError(f"no such command: {name}", value=name, next=suggestion(name, known, listed))
        return name, self.get_command(ctx, name), args[1:]


class Root(Group):
    """`provrun` itself: imports the module of a command when it is called."""

    examples = EXAMPLES

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def get_help(self, ctx: click.Context) -> str:
        return help_text()


root = Root("provrun")


class MapName(click.ParamType[str]):
    """The name of a map, or a REF; shells complete the names there are."""

    name = "map"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from provrun.project.project import Project

        try:
            project = Project.find(ctx.params.get("project"))
            names = project.registry.map_names()
            project.close()
        except ProvrunError:  # nobody wants to read errors while typing
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def given_refs(refs: Sequence[str]) -> list[str]:
    """Give REFs as they were given, with the lines of stdin in place of ``-``."""
    lines = _stdin() if "-" in refs else ()
    return [each for ref in refs for each in (lines if ref == "-" else [ref]) if each]


@functools.cache
def _stdin() -> tuple[str, ...]:
    return tuple(line.strip() for line in sys.stdin)


def _with_face(function: F) -> F:
    @functools.wraps(function)
    @click.pass_context
    def call(ctx: click.Context, /, *args: object, **kwargs: object) -> object:
        face: Face = ctx.ensure_object(Face)
        for _ in range(_ENDINGS):
            try:
                return function(face, *args, **kwargs)
            except LogEnded:
                continue  # nothing of it has been done in what there is now
            finally:
                face.close()
        raise LogEnded

    return call  # type: ignore[return-value]  # click's decorators change the signature


def command(
    *examples: str, name: str | None = None, parent: Group | None = None, kind: type[Command] | None = None
) -> Callable[[F], Command]:
    """Make a function that takes a `Face` and its own options a command; at least two examples open its help.

    The function may return an exit code. With ``parent`` it becomes a subcommand.
    """

    def make(function: F) -> Command:
        made = click.command(name or function.__name__, cls=kind or Command, context_settings=HELP)(
            _with_face(function)
        )
        made.examples = examples
        if parent is not None:
            parent.add_command(made)
        return made

    return make


def group(*examples: str, name: str | None = None) -> Callable[[F], Group]:
    """Make a function whose docstring is the help a command with subcommands."""

    def make(function: F) -> Group:
        @functools.wraps(function)
        def nothing() -> None: ...

        made = click.command(name or function.__name__, cls=Group, context_settings=HELP)(nothing)
        made.examples = examples
        return made

    return make
