"""A function child: runs tasks of functions one after the other, each in the state the first one found."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import sys
import time

from provrun.core.canonical import NotAValue, Value
from provrun.core.messages import Result, RunMap, Start
from provrun.core.records import Artifact
from provrun.core.states import Outcome
from provrun.errors import ProvrunError
from provrun.run import checkpoints, current, lines
from provrun.run.binding import Names
from provrun.run.calling import Call
from provrun.run.capture import Log, Tape, encode_log
from provrun.run.declared import CannotStart, Declared
from provrun.run.files import FileProblem, Files
from provrun.run.folder import Folder
from provrun.run.lane import LARGEST, Lane
from provrun.run.lines import Batch, Content, Heavy, Ready, Used
from provrun.run.loader import Loader
from provrun.run.outcomes import shorten
from provrun.run.packs import BLOB, LOG
from provrun.run.recipes import CHECKPOINT, gpu_variables, seed_of, seed_text
from provrun.run.restoring import Restorer
from provrun.run.values import encode_result

_TELL = 10_000_000  # ns: how long results may lie in the lane before the spawner is told
_LONG = 5_000_000  # ns: of tasks that take longer the peak of memory is worth two system calls
_ABOVE = ("provrun.run.", "importlib")
_fflush = ctypes.CDLL(None).fflush


class NotMade(NotAValue):
    """A function has not made the file it was to make."""


class Child:
    """Takes batches of tasks from a socket and leaves results in a lane."""

    def __init__(
        self,
        sock: socket.socket,
        lane: Lane,
        tapes: tuple[Tape, Tape],
        loader: Loader,
        project: str,
        workdir: str,
        folder: Folder,
    ) -> None:
        self._sock = sock
        self._lane = lane
        current.warned = lambda: lane.warned
        self._out, self._err = tapes
        self._loader = loader
        self._project = project
        self._workdir = workdir
        self._folder = folder
        self._restorer = Restorer(workdir)
        self._restorer.set(b"PROVRUN_TMPDIR", os.fsencode(folder.path))
        self._pid = os.getpid()
        self._files = Files()
        self._maps: dict[int, RunMap] = {}
        self._calls: dict[int, Call] = {}
        self._declared: dict[int, Declared] = {}
        self._in = bytearray()
        self._number = 0
        self._untold = 0
        self._end = 0
        self._told = 0
        self._long = True
        self._doubtful = False
        self._fresh = False
        self._cpu = 0
        self._children = 0
        self._children_rss = 0
        self._modules = len(sys.modules)

    def run(self) -> None:
        """Work until the socket is closed."""
        while message := self._next():
            if isinstance(message, Batch):
                self._run_batch(message)
            else:
                self._maps[message.map] = message
                self._calls.pop(message.map, None)
                self._declared[message.map] = Declared(message)

    def _next(self) -> lines.ToChild | None:
        buffer = self._in
        while len(buffer) < 4 or len(buffer) < 4 + int.from_bytes(buffer[:4], "big"):
            self._tell()
            data = self._sock.recv(1 << 18)
            if not data:
                return None
            buffer += data
        end = 4 + int.from_bytes(buffer[:4], "big")
        message = lines.decode_to_child(bytes(buffer[4:end]))
        del buffer[:end]
        return message

    def _run_batch(self, batch: Batch) -> None:
        run, restorer = self._maps[batch.map], self._restorer
        begin, name = self._lane.begin, run.name
        self._told = time.monotonic_ns()
        self._fresh = _reset_peak()
        for variable, value in gpu_variables(batch.gpus).items() if batch.gpus else ():
            restorer.set(variable, value)
        for start in batch.tasks:
            if self._long:
                self._fresh = _reset_peak()
            wall = time.time_ns() // 1000
            now = time.monotonic_ns()
            self._number += 1
            if not begin(self._number, batch.epoch, wall, self._cpu, now):
                self._number -= 1
                return
            task = f"{name}/{start.index}"
            restorer.set(b"PROVRUN_TASK", task.encode())
            restorer.set(b"PROVRUN_ATTEMPT", f"{task}#{start.number}".encode())
            current.key = key = seed_of(run, start)
            restorer.set(b"PROVRUN_SEED", seed_text(key))
            _seed(key)
            self._attempt(run, start, batch.loaded, wall, now)
            if current.checkpoint is not None:
                current.checkpoint = None
                restorer.drop(CHECKPOINT)
            restorer.restore()
            self._folder.clear()
            if self._doubtful and not restorer.check():
                self._tell()  # what it has been left with cannot be mended: another child takes the rest
                os._exit(0)

    def _attempt(self, run: RunMap, start: Start, loaded: int, wall: int, begun: int) -> None:
        contents: list[Content] = []
        artifacts: list[Artifact] = []
        text: str | None = None
        digest: bytes | None = None
        outcome, detail, error = Outcome.SUCCEEDED, None, None
        try:
            if run.policy.checkpoint:
                self._take_checkpoint(run, start)
            call = self._calls.get(start.map)
            if call is None:
                call = self._load(run)
            declared = self._declared[start.map]
            outputs = self._inputs(run, start, declared, artifacts) if declared else {}
            positional, named = call.arguments(start)
            value = call.function(*positional, **named)
            if os.getpid() != self._pid:  # the function has forked, and its copy came back here, too
                os._exit(0)
            encoded = encode_result(value, self._workdir)
            text, digest = encoded.text, encoded.digest
            for artifact, content in encoded.blobs:
                if content is not None:
                    contents.append(Content(len(artifacts), BLOB, content))
                artifacts.append(artifact)
            if outputs:
                self._outputs(outputs, artifacts)
        except BaseException as problem:  # whatever user code raises is the outcome of its attempt
            if os.getpid() != self._pid:
                os._exit(1)
            outcome, detail, error = _outcome(problem)
            text = digest = None
            contents.clear()
            artifacts = [artifact for artifact in artifacts if artifact.role == "input"]
        now = time.monotonic_ns()
        self._long = now - begun > _LONG
        self._doubtful = self._long or outcome is not Outcome.SUCCEEDED
        cpu, rss = self._usage()
        self._keep_log(contents)
        result = Result(
            start.map, start.index, start.number, outcome, wall, (now - begun) // 1000, cpu, rss, not self._fresh,
            detail, error, text, digest, None, artifacts or None, loaded, loaded,
        )  # fmt: skip
        self._fresh = False
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            if files := self._loader.files():
                self._send(Used(files))
        self._hand_over(result, contents)
        if now - self._told > _TELL or self._lane.full:
            self._told = now
            self._doubtful = True
            self._tell()

    def _take_checkpoint(self, run: RunMap, start: Start) -> None:
        place = checkpoints.take(self._project, run.name, start.index, seed_of(run, start), start.number)
        current.checkpoint = place
        self._restorer.set(CHECKPOINT, os.fsencode(place))

    def _load(self, run: RunMap) -> Call:
        function = self._loader.function((run.recipe.function or "").rpartition(":")[2])
        call = self._calls[run.map] = Call(run, function, self._project, self._workdir)
        return call

    def _inputs(self, run: RunMap, start: Start, declared: Declared, artifacts: list[Artifact]) -> dict[str, str]:
        known: dict[str, Value] = {
            "index": start.index, "task": f"{run.name}/{start.index}", "cores": run.policy.cores,
        }  # fmt: skip
        inputs, outputs = declared.fill(Names(start, lambda: known, self._project))
        artifacts += self._files.inputs(self._workdir, inputs)
        return outputs

    def _outputs(self, paths: dict[str, str], artifacts: list[Artifact]) -> None:
        try:
            found = self._files.outputs(self._workdir, paths)
        except FileProblem as problem:
            raise NotMade(problem.message) from None
        artifacts += found

    def _usage(self) -> tuple[int, int]:
        """Give CPU time in microseconds since the last call, and the peak of memory in KiB."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        total = int((usage.ru_utime + usage.ru_stime) * 1e6)
        cpu, self._cpu, rss = total - self._cpu, total, usage.ru_maxrss
        if self._long:  # so short a task starts no processes
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            total = int((usage.ru_utime + usage.ru_stime) * 1e6)
            cpu, self._children = cpu + total - self._children, total
            if usage.ru_maxrss > self._children_rss:
                rss, self._children_rss = max(rss, usage.ru_maxrss), usage.ru_maxrss
        return cpu, rss

    def _keep_log(self, contents: list[Content]) -> None:
        self._restorer.flush()
        _fflush(None)
        if self._out.moved or self._err.moved:
            contents.append(Content(-1, LOG, encode_log(Log(self._out.rewind(), self._err.rewind()))))

    def _hand_over(self, result: Result, contents: list[Content]) -> None:
        if not contents and not (result.artifacts and self._maps[result.map].recipe.pack):
            data = lines.encode(result)
            if len(data) <= LARGEST:
                if self._lane.full:
                    self._tell()
                self._end = self._lane.put(data)
                self._untold += 1
                return
        self._tell()
        self._send(Heavy(result, contents))

    def _tell(self) -> None:
        if self._untold:
            self._send(Ready(self._end, self._untold))
            self._untold = 0

    def _send(self, message: lines.FromChild) -> None:
        data = lines.encode(message)
        self._sock.sendall(len(data).to_bytes(4, "big") + data)


def _seed(key: bytes) -> None:
    random = sys.modules.get("random")
    if random is not None:
        random.seed(int.from_bytes(key[:8], "big"))
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed([int.from_bytes(key[i : i + 4], "big") for i in range(0, 16, 4)])


def _outcome(problem: BaseException) -> tuple[Outcome, int | None, str]:
    """Classify what a function has raised, and print the traceback, from the function on, where its stderr goes."""
    if isinstance(problem, SystemExit):
        code = problem.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
        number = code if isinstance(code, int) else int(code is not None)
        return Outcome.EXIT, number, f"the function called sys.exit({code!r})"
    if isinstance(problem, CannotStart | FileProblem):
        return Outcome.LAUNCHER, None, shorten(problem.message)
    if isinstance(problem, ProvrunError):
        print(problem, file=sys.stderr)
        return Outcome.EXCEPTION, None, shorten(problem.message)
    _print(problem)
    if isinstance(problem, MemoryError):
        return Outcome.MEMORY, None, "MemoryError: the function could not get the memory it asked for"
    import traceback

    first = (traceback.format_exception_only(problem) or [""])[-1].strip().splitlines()
    return Outcome.EXCEPTION, None, shorten(first[0] if first else type(problem).__name__)


def _print(problem: BaseException) -> None:
    """Print a traceback without the frames above the function or the module."""
    trace = problem.__traceback__
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith(_ABOVE):
        trace = trace.tb_next
    problem.__traceback__ = trace
    import traceback

    try:
        traceback.print_exception(problem)
    except Exception:  # an exception whose own text cannot be made must not end the child
        print(type(problem).__name__, file=sys.stderr)


def _reset_peak() -> bool:
    """Let the kernel forget this process's peak of memory; tell whether it did."""
    try:
        fd = os.open("/proc/self/clear_refs", os.O_WRONLY)
        try:
            os.write(fd, b"5")
        finally:
            os.close(fd)
    except OSError:
        return False
    return True
