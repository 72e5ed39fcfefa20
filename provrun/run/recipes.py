"""The recipes of commands, compiled: from a task to argument words and environment."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from provrun.core.canonical import Value
from provrun.core.identity import task_key
from provrun.core.messages import RunMap, Start
from provrun.core.programs import programs
from provrun.core.template import Field, Piece, Template, as_text, shell_variable
from provrun.run import checkpoints
from provrun.run.binding import Names
from provrun.run.declared import CannotStart, Declared, fill
from provrun.run.pinned import Pinned
from provrun.run.seats import Seat, Seats
from provrun.run.site import Desk, Site
from provrun.run.uses import Programs, Uses
from provrun.run.versions import is_own_script

if TYPE_CHECKING:
    from provrun.run.parallel import TaskLauncher

_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "JULIA_NUM_THREADS",
)  # fmt: skip
_SHELL = re.compile(r"[\s;|&<>()\"'`]+")
_SOURCES = (".py", ".sh", ".bash", ".R", ".r", ".jl", ".pl", ".m", ".rb", ".lua", ".awk", ".tcl", ".js", ".exe", ".jar")
CHECKPOINT = b"PROVRUN_CHECKPOINT"
_MANY_WORDS = 1000  # of lines, that are looked at
_LONGEST = 100_000  # bytes of one variable; the kernel allows 128 KiB for a word


class TaskPolicy:
    """What the policy of a map says of one task."""

    def __init__(self, run: RunMap) -> None:
        policy = run.policy
        self.cores = policy.width
        self.gpus = policy.gpus
        self.threads = max(1, policy.width * max(1, policy.task_nodes) // max(1, policy.ranks))
        self._time = policy.task_time
        self._memory = policy.task_memory
        self.checkpoint = policy.checkpoint

    def wants(self, start: Start, seats: Seats) -> tuple[int, int]:
        """Give the cores and GPUs that a task takes here: the whole node if it is one of several."""
        if self.gpus > seats.all_gpus:
            raise CannotStart(f"it wants {self.gpus} GPUs, this node has {seats.all_gpus}")
        return (seats.slots if start.hosts else self.cores), self.gpus

    def limits(self, start: Start) -> tuple[float | None, int | None]:
        """Give the limits of a task: seconds and bytes."""
        own = start.limits
        if own is None:
            return self._time, self._memory
        return (self._time if own.time is None else own.time), (self._memory if own.memory is None else own.memory)


def task_environment(site: Site, policy: TaskPolicy) -> dict[str, str]:
    """Give the environment of the tasks of a map: the job's, as many threads as cores unless it says otherwise.

    Where a task has ranks, each of them gets its share of the cores.
    """
    environment = {name: str(policy.threads) for name in _THREADS}
    environment.update(site.environ)
    environment["PROVRUN_PROJECT"] = site.project  # what a task submits belongs to the project it runs for
    environment["PROVRUN_CORES"] = str(policy.cores)
    environment["PROVRUN_HOSTS"] = site.node
    if "SLURM_JOB_ID" in environment:
        environment["SLURM_OVERLAP"] = "1"  # or a nested srun waits for the CPUs that our own step holds
    return environment


def seed_of(run: RunMap, start: Start) -> bytes:
    """Give the key of a task, from which all its randomness comes."""
    driver = run.each or run.reduces
    upstream = (driver[0], start.upstream) if start.upstream is not None and driver else None
    return task_key(run.recipe_digest, start.params, upstream)


def seed_text(key: bytes) -> bytes:
    """Give the number in $PROVRUN_SEED: of 31 bits, which every program's integer holds."""
    return b"%d" % (int.from_bytes(key[:4], "big") >> 1)


def gpu_variables(gpus: tuple[str, ...]) -> dict[bytes, bytes]:
    """Give the variables by which programs know which GPUs are theirs."""
    return dict.fromkeys((b"CUDA_VISIBLE_DEVICES", b"ROCR_VISIBLE_DEVICES"), ",".join(gpus).encode())


class CommandRecipe:
    """A command, a shell line, or the lines of a file, ready to be filled in."""

    def __init__(self, run: RunMap, site: Site) -> None:
        recipe = run.recipe
        self.run = run
        self.workdir = site.workdir(run.workdir)
        self.policy = TaskPolicy(run)
        self.pinned = Pinned(run, site.project)
        environment = task_environment(site, self.policy)
        if self.pinned.on:
            environment["PROVRUN_CODE"] = self.pinned.folder(self.workdir)
        self.kind = recipe.kind
        self._name = run.name.encode()
        self._launcher = _launcher(run, environment, site.node)
        if self._launcher is not None:
            environment.update(self._launcher.variables)
        # As bytes: encoding sixty variables takes ten microseconds a task.
        self._environment = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        self._path = environment.get("PATH", os.defpath)
        self._shell = "" if self.kind == "command" else self._find_shell()
        self._templates: dict[tuple[str, ...], Template] = {}
        self._template = None if self.kind == "line" else Template.parse(run.recipe.words, self.kind == "shell")
        self._placed = self._template is not None and "launcher" in self._template.names
        self._front = bool(run.policy.ranks) and not self._placed
        self.declared = Declared(run)
        self._site = site
        self._uses: Uses | None = None
        self._words: set[str] = set()
        self._started: list[str] = []
        self._programs = Programs(site.versions, self._environment)
        self._executables: dict[str, str] = {}

    @property
    def uses(self) -> Uses:
        """What the command uses now: other ones than before when a file has changed. Raises `CannotStart`."""
        self.pinned.require()
        uses = self._uses
        if uses is None:
            uses = Uses(self.run, self.declared, self._site.files, self._site.project, self.workdir)
        elif uses.changed():
            uses = uses.again()
        if uses is not self._uses:
            self._find_programs()
            uses.find(self._site.reports, self._constant_words(), self._programs)
            self._uses = uses
        return uses

    def names(self, start: Start, desk: Desk) -> Names:
        """Give what placeholders of a task stand for."""
        return Names(start, partial(self._known, start, desk), self._site.project)

    def _known(self, start: Start, desk: Desk) -> dict[str, Value]:
        return {
            "index": start.index,
            "task": f"{self.run.name}/{start.index}",
            "params": desk.params,
            "cores": self.policy.cores,
            "tmpdir": desk.folder,
            "launcher": shlex.join(self.launcher(start)),
        }

    def launcher(self, start: Start) -> list[str]:
        """Give the words that start the ranks of a task; none if it has no ranks."""
        return [] if self._launcher is None else self._launcher.words(start.hosts)

    def words(self, start: Start, names: Names) -> list[str]:
        """Give the words of a task's command."""
        if self._template is None:
            line = as_text(names.params["line"])
            self._learn_words(line)
            return [*(self.launcher(start) if self._front else ()), self._shell, "-c", line]
        template = self._template
        if self._placed:
            if start.hosts not in self._templates:
                self._templates[start.hosts] = _placed(template, self.launcher(start))
            template = self._templates[start.hosts]
        words = fill(template, names)
        if self.pinned.on:
            words = self._mapped(words, names)
        if self.kind == "shell":
            words = [self._shell, "-c", *words]
        return [*self.launcher(start), *words] if self._front else words

    def _mapped(self, words: list[str], names: Names) -> list[str]:
        """Let words that name files of the submitted tree name those of its checkout, but for declared data."""
        inputs, outputs = self.declared.fill(names)
        data = {*inputs, *outputs.values()}
        mapped = []
        for position, word in enumerate(words):
            place = os.path.normpath(os.path.join(self.workdir, word))
            there = place if word in data or (not position and "/" not in word) else self.pinned.there(place)
            mapped.append(word if there == place else there)
        return mapped

    def variables(self, start: Start, desk: Desk, names: Names, seat: Seat) -> dict[bytes, bytes]:
        """Give the environment of a task."""
        run = self.run
        task = b"%s/%d" % (self._name, start.index)
        environment = {**self._environment, **desk.variables}
        environment[b"PROVRUN_TASK"] = task
        environment[b"PROVRUN_ATTEMPT"] = b"%s#%d" % (task, start.number)
        key = seed_of(run, start)
        environment[b"PROVRUN_SEED"] = seed_text(key)
        if self.policy.checkpoint:
            place = checkpoints.take(self._site.project, run.name, start.index, key, start.number)
            environment[CHECKPOINT] = os.fsencode(place)
        if seat.gpus:
            environment.update(gpu_variables(seat.gpus))
        if start.hosts:
            environment[b"PROVRUN_HOSTS"] = ",".join(start.hosts).encode()
        if self.kind == "shell" and self._template:
            for name in dict.fromkeys((*names.params, *self._template.names)):
                text = as_text(names.value(name))
                if len(text) < _LONGEST and "\0" not in text:
                    environment[shell_variable(name).encode()] = os.fsencode(text)
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

    def _constant_words(self) -> list[str]:
        """Give what the template says itself, for all tasks alike."""
        words = list(self._words)
        for pieces in self._template.pieces if self._template else ():
            if self.kind == "shell":
                words += [word for piece in pieces if isinstance(piece, str) for word in _SHELL.split(piece)]
            elif len(pieces) == 1 and isinstance(pieces[0], str):
                words.append(pieces[0])
        return words

    def _learn_words(self, line: str) -> None:
        """Take note of programs and scripts that a line names; its other words name data."""
        started = programs(line)
        for word in (*started, *(word for word in line.split() if word.endswith(_SOURCES))):
            if word in self._words or len(self._words) >= _MANY_WORDS:
                continue
            self._words.add(word)
            if self._uses is not None:
                self._uses.grow_by(word, self._site.reports)
            if word in started:
                self._started.append(word)
                path = self._add_program(word)
                if path is not None and self._uses is not None:
                    self._uses.grow_by_program(path, self._site.reports)

    def _find_programs(self) -> None:
        """Look where the programs lie now that the template and the lines so far start."""
        self._programs.paths.clear()
        words = [self._shell] if self._shell else []
        if self._template is not None and self.kind == "shell":
            words += programs(_constant(self._template.pieces[0]))
        elif self._template is not None and all(isinstance(piece, str) for piece in self._template.pieces[0]):
            words.append("".join(map(str, self._template.pieces[0])))
            words += programs(shlex.join(_constant(pieces) for pieces in self._template.pieces))
        for word in (*words, *self._started):
            self._add_program(word)

    def _add_program(self, word: str) -> str | None:
        """Take note of a program; give its path if it is new.

        One that is named by a path, or is a script of this user's, is not asked for its version: it does whatever it
        does.
        """
        try:
            path = self._find(word)
        except CannotStart:  # which the task will say
            return None
        if path in self._programs.paths:
            return None
        try:
            found = os.path.samefile(self._find(os.path.basename(word)), path)
            self._programs.paths[path] = found and not is_own_script(path)
        except (CannotStart, OSError):
            self._programs.paths[path] = False
        return path

    def _find(self, word: str) -> str:
        folders = [""] if "/" in word else self._path.split(os.pathsep)
        candidates = [os.path.join(self.workdir, folder, word) for folder in folders]
        if "/" in word:
            candidates = [self.pinned.there(os.path.normpath(path)) for path in candidates]
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


def _constant(pieces: Iterable[object]) -> str:
    """Give what a template says itself, with a mark in place of what tasks fill in."""
    return "".join(piece if isinstance(piece, str) else "\0" for piece in pieces)


def _launcher(run: RunMap, environment: dict[str, str], node: str) -> TaskLauncher | None:
    if not run.policy.ranks and run.policy.task_nodes <= 1:
        return None
    from provrun.run.parallel import TaskLauncher  # late: few maps have ranks

    return TaskLauncher(run.policy, environment, node)


def _placed(template: Template, launcher: list[str]) -> Template:
    """Put the launcher in its place, before values are filled in, since it is several words."""
    pieces: list[tuple[Piece, ...]] = []
    for word in template.pieces:
        if word == (Field("launcher"),) and not template.shell:
            pieces.extend((part,) for part in launcher)
        else:
            line = shlex.join(launcher)
            pieces.append(tuple(line if piece == Field("launcher") else piece for piece in word))
    return Template(template.words, template.shell, tuple(pieces))
