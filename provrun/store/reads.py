"""What asking needs of the registry: statements that read, in classes by what they read."""

from __future__ import annotations

from provrun.store.reads_contexts import ContextReads
from provrun.store.reads_flow import FlowReads
from provrun.store.reads_tasks import TaskReads


class Reads(TaskReads, ContextReads, FlowReads):
    """Reads the registry for `query`; every call is one or few statements, nothing is ever written."""
