"""The identity of a task: what makes two applications the same one."""

from __future__ import annotations

from provrun.core.canonical import digest_text, encode


def task_key(recipe: bytes, params: str, upstream: tuple[str, int] | None = None) -> bytes:
    """Digest what a task is: its recipe, its parameters (canonical text) and the upstream task or group it reads."""
    tail = f',"upstream":{encode(list(upstream))}' if upstream is not None else ""
    return digest_text("task", f'{{"params":{params},"recipe":"{recipe.hex()}"{tail}}}')
