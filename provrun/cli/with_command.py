"""Commands that end with ``-- COMMAND ARG...``."""

from __future__ import annotations

import shlex

import click

from provrun.cli.options import Command
from provrun.errors import UsageError


class WithCommand(Command):
    """A command that ends with ``-- COMMAND ARG...``; without ``--`` it answers with the corrected line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            own, words = args[: args.index("--")], args[args.index("--") + 1 :]
        else:
            own, words = args, []
            stray = self._stray(ctx, args)
            if stray is not None:
                line = shlex.join(["provrun", str(ctx.info_name), *stray[0], "--", *stray[1]])
                raise UsageError("the command comes after --", value=shlex.join(stray[1]), next=line)
        ctx.meta["words"] = tuple(words)
        return super().parse_args(ctx, own)

    def _stray(self, ctx: click.Context, args: list[str]) -> tuple[list[str], list[str]] | None:
        """Split words that hold a command without ``--`` into the options meant for us and the command."""
        takes_value = {name: not getattr(param, "is_flag", False) for param in self.get_params(ctx)
                       if isinstance(param, click.Option) for name in param.opts}
        own: list[str] = []
        command: list[str] = []
        waiting = list(args)
        named = False
        while waiting:
            word = waiting.pop(0)
            option = word.split("=", 1)[0] if word.startswith("--") else word
            if option in takes_value:
                own.append(word)
                if takes_value[option] and option == word and waiting:
                    own.append(waiting.pop(0))
            elif not named and not word.startswith("-"):
                own.append(word)
                named = True
            elif named or command:
                command.append(word)
            else:
                return None  # a mistyped option before the map's name
        return (own, command) if command and not command[0].startswith("-") else None


def words_given() -> tuple[str, ...]:
    """Give the words after ``--`` of the command being run."""
    words: tuple[str, ...] = click.get_current_context().meta["words"]
    return words
