"""Capture the software that a recipe runs with."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from provrun.core.environment import THREADS, Environment
from provrun.errors import ProvrunError
from provrun.record.packages import installed
from provrun.record.urls import clean_url

VARIABLES = (
    *THREADS,
    *("PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONNOUSERSITE", "PYTHONSAFEPATH"),
    *("LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"),
    *("TZ", "OMP_SCHEDULE", "OMP_DYNAMIC", "OMP_PROC_BIND", "OMP_PLACES", "OMP_STACKSIZE", "OMP_NESTED"),
    *("OMP_WAIT_POLICY", "OMP_MAX_ACTIVE_LEVELS", "KMP_AFFINITY", "KMP_BLOCKTIME", "KMP_DETERMINISTIC_REDUCTION"),
    *("MKL_CBWR", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS", "MKL_THREADING_LAYER", "MKL_INTERFACE_LAYER"),
    *("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NUMBA_DISABLE_JIT", "NUMBA_FASTMATH", "NUMBA_THREADING_LAYER"),
    *("JAX_ENABLE_X64", "JAX_PLATFORMS", "XLA_FLAGS", "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF", "HSA_OVERRIDE_GFX_VERSION"),
    *("MALLOC_ARENA_MAX", "GSL_RNG_TYPE", "GSL_RNG_SEED"),
)
"""All that is ever recorded of a process's variables: names that change what programs compute."""

_PLAIN = re.compile(r"[A-Za-z0-9_.,:;{}()/+*=<>~ -]{0,200}")
_TOKEN_LIKE = re.compile(r"(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[A-Za-z0-9_-]{20,}")
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_IMAGE_NAME = re.compile(r"[A-Za-z0-9_.:/@+-]{1,200}")
_SIF_MAGIC = b"SIF_MAGIC"
_ASK = "import sys; print(sys.version.split()[0], sys.implementation.name, sys.prefix, *sys.path[1:], sep='\\n')"
_ASK_SECONDS = 60


def capture_environment(python: str | None = None, environ: Mapping[str, str] = os.environ) -> Environment:
    """Return the software of this process, or of another Python whose program is ``python`` and has these variables.

    Reads the names of metadata folders only; nothing is imported. Raises ProvrunError if ``python`` does not run.
    """
    if python is None or Path(python).absolute() == Path(sys.executable).absolute():
        version, kind, prefix, path = sys.version.split()[0], sys.implementation.name, sys.prefix, sys.path
    else:
        version, kind, prefix, *path = ask_python(python, environ)
    return Environment(
        python=version,
        implementation=kind,
        packages=installed(path, prefix),
        container=find_container(environ),
        variables=pick_variables(environ),
    )


def pick_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return those variables that change what programs compute; never one whose value may be a secret."""
    picked = {name: environ[name] for name in sorted(VARIABLES) if name in environ}
    return {name: value for name, value in picked.items() if _PLAIN.fullmatch(value) and not _TOKEN_LIKE.search(value)}


def find_container(environ: Mapping[str, str], root: Path = Path("/")) -> str | None:
    """Return what identifies the container image, None outside of any.

    The digest of the image where the container runtime tells it (Podman, Shifter, ``PROVRUN_CONTAINER``), the build's
    identifier of an Apptainer image, else the name of the image or of the runtime. ``root`` is the file system to look
    at.
    """
    told = environ.get("PROVRUN_CONTAINER") or environ.get("SHIFTER_IMAGE") or _podman_image(root)
    if told:
        image = _IMAGE_ID.fullmatch(told)
        return f"sha256:{image[1]}" if image else _named("image", told)
    sif = environ.get("APPTAINER_CONTAINER") or environ.get("SINGULARITY_CONTAINER")
    if sif:
        return _sif_identifier(Path(sif)) or _named("apptainer", sif)
    requested = environ.get("SHIFTER_IMAGEREQUEST")
    if requested:
        return _named("shifter", requested)
    for kind, mark in (("apptainer", ".singularity.d"), ("docker", ".dockerenv")):
        if (root / mark).exists():
            return kind
    return None


def _podman_image(root: Path) -> str | None:
    try:
        text = (root / "run" / ".containerenv").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r'^imageid="(.*)"$', text, re.MULTILINE) or re.search(r'^image="(.*)"$', text, re.MULTILINE)
    return found[1] if found else "podman"


def _sif_identifier(file: Path) -> str | None:
    """Return the UUID that an image file got when it was built: 16 bytes after launcher, magic, version, machine."""
    try:
        with file.open("rb") as image:
            header = image.read(64)
    except OSError:
        return None
    return f"sif:{header[48:64].hex()}" if header[32:41] == _SIF_MAGIC and len(header) == 64 else None


def _named(kind: str, name: str) -> str:
    shown = clean_url(name.rpartition("/")[2] if name.startswith("/") else name)
    return f"{kind}:{shown}" if shown and _IMAGE_NAME.fullmatch(shown) else kind


def ask_python(python: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return version, implementation, prefix and ``sys.path`` of the Python whose program is ``python``.

    Raises ProvrunError if it does not run.
    """
    import subprocess

    try:
        # The empty first entry of its path is left out: what lies in the working folder is code.
        asked = subprocess.run(
            [python, "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_ASK_SECONDS,
            env=environ,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ProvrunError(
            f"{python} does not say what is installed: {error}", value=python, next="name a Python that runs"
        ) from None
    return os.fsdecode(asked.stdout).splitlines()
