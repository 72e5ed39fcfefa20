"""Describe the machine: what kind it is, not which one."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from provrun.core.environment import Host

_MODEL = re.compile(r"^(?:model name|cpu model|Model|Processor|cpu)\s*: *(.+)$", re.MULTILINE)
_PART = re.compile(r"^CPU (implementer|part)\s*: *(\S+)$", re.MULTILINE)
_FIRST_CPU = 4096  # bytes; the kernel makes the rest of the file for every core, which takes long on large nodes
_GPU_MODEL = re.compile(r"^Model:\s*(.+?)\s*$", re.MULTILINE)
_MODULE = re.compile(r"[\w.+/-]{1,120}")


def capture_host(mpi: str | None = None) -> Host:
    """Return the kind of this machine; ``mpi`` is the first line of what the MPI library says of itself."""
    system = os.uname()
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    loaded = os.environ.get("LOADEDMODULES", "").split(":")
    return Host(
        platform=" ".join(filter(None, (system.sysname, system.release, system.machine, libc))),
        cpu=_cpu() or system.machine,
        cores=os.cpu_count() or 1,
        # The kernel keeps a little of it, not equally much on equal nodes.
        memory=max(1, round(memory / 2**30)),
        mpi=mpi.strip().partition("\n")[0].strip("\0") if mpi else None,
        modules=tuple(name for name in loaded if _MODULE.fullmatch(name)),
        devices=_devices(),
    )


def _cpu(file: Path = Path("/proc/cpuinfo")) -> str | None:
    try:
        with file.open("rb", buffering=0) as about:
            text = (about.read(_FIRST_CPU) or b"").decode(errors="replace")
    except OSError:
        return None
    model = _MODEL.search(text)
    if model:
        return " ".join(model[1].split())
    parts = dict(_PART.findall(text))
    return f"implementer {parts['implementer']} part {parts['part']}" if len(parts) == 2 else None


def _devices(folder: Path = Path("/proc/driver/nvidia/gpus")) -> str | None:
    """Return the GPUs that the driver lists, as ``2 x NVIDIA A100``; None without any."""
    models: Counter[str] = Counter()
    for file in folder.glob("*/information"):
        models.update(_GPU_MODEL.findall(file.read_text(errors="replace")))
    return ", ".join(f"{count} x {model}" for model, count in sorted(models.items())) or None
