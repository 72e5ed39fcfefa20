"""The recipes of commands, compiled: from a task to argument words and environment."""

from __future__ import annotations

import os
import shlex

from provrun.core.canonical import Value
from provrun.core.identity import task_key
from provrun.core.messages import RunMap, Start
from provrun.core.template import Field, Piece, Template, as_text, shell_variable
from provrun.errors import ProvrunError
from provrun.run.binding import Names
from provrun.run.site import Desk, Site

_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "JULIA_NUM_THREADS",
)  # fmt: skip
_LONGEST = 100_000  # bytes of one variable; the kernel allows 128 KiB for a word


class CannotStart(ProvrunError):
    """A task cannot be started: its command or its folder is not there, or a placeholder cannot be filled."""


class TaskPolicy:
    """What the policy of a map says of one task."""

    def __init__(self, run: RunMap) -> None:
        policy = run.policy
        self.cores = max(1, policy.cores, policy.ranks)
        self._time = policy.task_time
        self._memory = policy.task_memory

    def limits(self, start: Start) -> tuple[float | None, int | None]:
        """Give the limits of a task: seconds and bytes."""
        own = start.limits
        if own is None:
            return self._time, self._memory
        return (self._time if own.time is None else own.time), (self._memory if own.memory is None else own.memory)


def task_environment(site: Site, cores: int) -> dict[str, str]:
    """Give the environment of the tasks of a map: the job's, threads as many as cores unless it says otherwise."""
    environment = {name: str(cores) for name in _THREADS}
    environment.update(site.environ)
    environment["PROVRUN_CORES"] = str(cores)
    environment["PROVRUN_HOSTS"] = os.uname().nodename
    if "SLURM_JOB_ID" in environment:
        environment["SLURM_OVERLAP"] = "1"  # or a nested srun waits for the CPUs that our own step holds
    return environment


def seed_of(run: RunMap, start: Start) -> bytes:
    """Give the key of a task, from which all its randomness comes."""
    driver = run.each or run.reduces
    upstream = (driver[0], start.upstream) if start.upstream is not None and driver else None
    return task_key(run.recipe_digest, start.params, upstream)


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
        """Give the paths of a task's own inputs, and of its outputs by name, and let templates name them."""
        inputs = [_fill(template, names)[0] for template in self._inputs]
        names.known.update((f"input.{number}", path) for number, path in enumerate(inputs))
        outputs = {name: _fill(template, names)[0] for name, template in self._outputs.items()}
        names.known.update((f"output.{name}", path) for name, path in outputs.items())
        return [path for path in inputs if path not in self.shared], outputs


class CommandRecipe:
    """A command, a shell line, or the lines of a file, ready to be filled in."""

    def __init__(self, run: RunMap, site: Site) -> None:
        recipe = run.recipe
        self.run = run
        self.workdir = site.workdir(run.workdir)
        self.policy = TaskPolicy(run)
        self.environment = task_environment(site, self.policy.cores)
        self.kind = recipe.kind
        self.launcher = _launcher(run.policy.ranks, self.environment)
        self._path = self.environment.get("PATH", os.defpath)
        self._shell = "" if self.kind == "command" else self._find_shell()
        self._template = None if self.kind == "line" else _prepare(run, self.launcher)
        self._launched = bool(self.launcher) and self._template is not None and "launcher" not in self._template.names
        self.declared = Declared(run)
        self._executables: dict[str, str] = {}

    def names(self, start: Start, desk: Desk) -> Names:
        """Give what placeholders of a task stand for."""
        known: dict[str, Value] = {
            "index": start.index,
            "task": f"{self.run.name}/{start.index}",
            "params": desk.params,
            "cores": self.policy.cores,
            "tmpdir": desk.folder,
            "launcher": shlex.join(self.launcher),
        }
        return Names(start, known)

    def words(self, names: Names) -> list[str]:
        """Give the words of a task's command."""
        if self._template is None:
            return [self._shell, "-c", as_text(names.params["line"])]
        words = _fill(self._template, names)
        if self.kind == "shell":
            words = [self._shell, "-c", *words]
        return [*self.launcher, *words] if self._launched else words

    def variables(self, start: Start, desk: Desk, names: Names) -> dict[str, str]:
        """Give the environment of a task."""
        run = self.run
        task = f"{run.name}/{start.index}"
        environment = self.environment.copy()
        environment["PROVRUN_TASK"] = task
        environment["PROVRUN_ATTEMPT"] = f"{task}#{start.number}"
        environment["PROVRUN_PARAMS"] = desk.params
        environment["PROVRUN_RESULT"] = desk.result
        environment["PROVRUN_TMPDIR"] = desk.folder
        # 31 bits, which every program's integer holds.
        environment["PROVRUN_SEED"] = str(int.from_bytes(seed_of(run, start)[:4], "big") >> 1)
        if self.kind == "shell" and self._template:
            for name in dict.fromkeys((*names.params, *self._template.names)):
                text = as_text(names.value(name))
                if len(text) < _LONGEST and "\0" not in text:
                    environment[shell_variable(name)] = text
        return environment

    def executable(self, word: str) -> str:
        """Give the path of the program that a command's first word names; raise `CannotStart` if there is none."""
        found = self._executables.get(word)
        if found is None:
            found = self._executables[word] = self._find(word)
        return found

    def forget(self, word: str) -> None:
        """Look for a program again the next time."""
        self._executables.pop(word, None)

    def _find(self, word: str) -> str:
        folders = [""] if "/" in word else self._path.split(os.pathsep)
        candidates = [os.path.join(self.workdir, folder, word) for folder in folders]
        for path in candidates:
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        if any(os.path.isfile(path) for path in candidates):
            raise CannotStart(f"{word} is not executable", value=word, next=f"chmod +x {word}")
        raise CannotStart(f"command not found: {word}", value=word)

    def _find_shell(self) -> str:
        for shell in ("bash", "sh"):
            try:
                return self._find(shell)
            except CannotStart:
                continue
        return "/bin/sh"


def _fill(template: Template, names: Names) -> list[str]:
    try:
        return template.fill(names.value)
    except KeyError as error:
        raise CannotStart(str(error.args[0]), value=error.args[0]) from None


def _nothing(name: str) -> Value:
    raise KeyError(name)


def _launcher(ranks: int, environment: dict[str, str]) -> list[str]:
    if not ranks:
        return []
    words = shlex.split(environment.get("PROVRUN_LAUNCHER", "mpiexec -n {ranks}"))
    return [word.replace("{ranks}", str(ranks)) for word in words]


def _prepare(run: RunMap, launcher: list[str]) -> Template:
    """Parse the template; a launcher is several words, so it is put in place before values are filled in."""
    template = Template.parse(run.recipe.words, run.recipe.kind == "shell")
    if "launcher" not in template.names:
        return template
    pieces: list[tuple[Piece, ...]] = []
    for word in template.pieces:
        if word == (Field("launcher"),) and not template.shell:
            pieces.extend((part,) for part in launcher)
        else:
            line = shlex.join(launcher)
            pieces.append(tuple(line if piece == Field("launcher") else piece for piece in word))
    return Template(template.words, template.shell, tuple(pieces))
