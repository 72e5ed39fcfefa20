"""Which software and which machine an attempt had: two records, because only software can make a result stale."""

from __future__ import annotations

import msgspec

from provrun.core.canonical import digest

THREADS = (
    *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"),
    *("BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("JULIA_NUM_THREADS", "RAYON_NUM_THREADS"),
)
"""Variables that say how many threads a library starts."""


class Package(msgspec.Struct, frozen=True, array_like=True, order=True):
    """An installed package; ``direct_url`` says where it came from if from no index: an address without credentials,
    followed by ``@commit`` or ``#sha256=...`` where known."""

    name: str
    version: str
    direct_url: str | None = None


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The software that recipes run with.

    ``python`` is the version (``3.12.1``), ``implementation`` its kind (``cpython``); ``packages`` are sorted;
    ``container`` identifies the image (``sha256:...``, else ``kind:name``), None outside of any; ``variables`` are
    those of a closed list that change what programs compute.
    """

    python: str
    implementation: str
    packages: tuple[Package, ...] = ()
    container: str | None = None
    variables: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """Return 64 hex digits: equal for equal software."""
        return digest("environment", msgspec.to_builtins(self)).hex()

    @property
    def software(self) -> str:
        """Return the same without numbers of threads: results are stale when this changes.

        Numbers of threads belong to the job, and a login node has other ones than a compute node.
        """
        lasting = {name: value for name, value in self.variables.items() if name not in THREADS}
        return msgspec.structs.replace(self, variables=lasting).digest


class Tool(msgspec.Struct, frozen=True, order=True):
    """A program outside the project that a recipe runs: where it was found, its SHA-256 in hex, and what it says of its
    version, None if it was not asked or does not say."""

    path: str
    sha256: str
    version: str | None = None


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of machine: equal for the equal nodes of a cluster, hence without a name; ``memory`` in GiB."""

    platform: str
    cpu: str
    cores: int
    memory: int
    mpi: str | None = None
    modules: tuple[str, ...] = ()
    devices: str | None = None

    @property
    def digest(self) -> str:
        """Return 64 hex digits: equal for equal machines."""
        return digest("host", msgspec.to_builtins(self)).hex()
