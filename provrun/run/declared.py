"""The inputs and outputs that a map declares, and filling templates for a task."""

from __future__ import annotations

from provrun.core.canonical import Value
from provrun.core.messages import RunMap
from provrun.core.template import Template
from provrun.errors import ProvrunError
from provrun.run.binding import Names


class CannotStart(ProvrunError):
    """A task cannot be started: its command or its folder is not there, or a placeholder cannot be filled."""


class Declared:
    """The inputs and outputs that a map declares: templates of paths.

    ``shared`` are the inputs whose template names nothing: all tasks have them, so they are digested once.
    """

    def __init__(self, run: RunMap) -> None:
        self._inputs = [Template.parse([path]) for path in run.recipe.inputs]
        self.shared = [template.fill(_nothing)[0] for template in self._inputs if not template.fields]
        self._outputs = {name: Template.parse([path]) for name, path in run.recipe.outputs.items()}

    def __bool__(self) -> bool:
        """Tell whether anything is declared."""
        return bool(self._inputs or self._outputs)

    def fill(self, names: Names) -> tuple[list[str], dict[str, str]]:
        """Give the paths of a task's own inputs, and of its outputs by name, and let templates name them.

        Inputs and outputs have numbers from 0, in the order in which they are declared; outputs have names, too.
        """
        inputs = [fill(template, names)[0] for template in self._inputs]
        names.known.update((f"input.{number}", path) for number, path in enumerate(inputs))
        outputs = {name: fill(template, names)[0] for name, template in self._outputs.items()}
        names.known.update((f"output.{number}", path) for number, path in enumerate(outputs.values()))
        names.known.update((f"output.{name}", path) for name, path in outputs.items())
        return [path for path in inputs if path not in self.shared], outputs


def fill(template: Template, names: Names) -> list[str]:
    """Fill a template for a task; raise `CannotStart` when something has no value."""
    try:
        return template.fill(names.value)
    except KeyError as error:
        raise CannotStart(str(error.args[0]), value=error.args[0]) from None


def _nothing(name: str) -> Value:
    raise KeyError(name)
