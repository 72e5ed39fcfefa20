"""`show`, `why`, `trace`, `diff`, `code` and `env`: questions about one thing, or two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import click

from provrun.cli.options import Face, MapName, command, given_refs
from provrun.errors import UsageError

if TYPE_CHECKING:
    from provrun.query.resolving import Subject
    from provrun.query.view import View

Document = Mapping[str, object]


@command("provrun show scan/42", "provrun show 'scan[x=1,y=2]' --json")
@click.argument("refs", metavar="REF...", nargs=-1, required=True, type=MapName())
def show(face: Face, refs: tuple[str, ...]) -> None:
    """Tell everything known of a map, task, attempt, version of code, environment, job or file."""
    from provrun.project import asking
    from provrun.query.resolving import resolve
    from provrun.query.show import show as shown

    view = asking.view(face.project())
    documents = [shown(view, resolve(view, ref)) for ref in given_refs(refs)]
    _print(face, documents, [_lines(document) for document in documents])


@command("provrun why scan/42", "provrun find 'state == failed' -q | provrun why -")
@click.argument("refs", metavar="REF...", nargs=-1, required=True, type=MapName())
def why(face: Face, refs: tuple[str, ...]) -> None:
    """Say why something waits, failed, is stale or superseded, and which command to go on with."""
    from provrun.project import asking
    from provrun.query.resolving import resolve
    from provrun.query.why import why as explained

    view = asking.view(face.project())
    answers = [explained(view, resolve(view, ref)) for ref in given_refs(refs)]
    _print(face, [answer.document() for answer in answers], [answer.text() for answer in answers])


@command("provrun trace stat/0", "provrun trace ./figures/gap.csv --format svg > gap.svg")
@click.argument("ref", metavar="REF", type=MapName())
@click.option("--down", is_flag=True, help="What came from it, instead of what it came from.")
@click.option(
    "--format", "form", type=click.Choice(["tree", "json", "dot", "svg"]), default="tree", help="As a tree or a graph."
)
def trace(face: Face, ref: str, down: bool, form: str) -> None:
    """Follow a task, result or file to its sources: code, parameters, environment, inputs, other tasks."""
    from provrun.project import asking
    from provrun.query.resolving import resolve
    from provrun.query.trace import trace as traced

    view = asking.view(face.project())
    [text] = given_refs([ref])[:1] or [ref]
    graph = traced(view, resolve(view, text), down=down)
    if face.out.json or form == "json":
        face.out.json = True
        face.out.answer(graph.document())
    elif face.out.quiet:
        face.out.refs(node.id for node in graph.nodes.values() if node.kind in ("task", "attempt", "map"))
    else:
        face.out.answer({}, text={"tree": lambda: "\n".join(graph.tree()), "dot": graph.dot, "svg": graph.svg}[form]())


@command("provrun diff scan/1 scan/2", "provrun diff 'scan/1#1' 'scan/1#2' --exit-code")
@click.argument("left", metavar="REF", type=MapName())
@click.argument("right", metavar="REF", type=MapName())
@click.option("--exit-code", is_flag=True, help="Exit with 1 when something differs.")
def diff(face: Face, left: str, right: str, exit_code: bool) -> int:
    """Compare parameters, code, software, inputs, limits and results of two tasks, attempts, maps, code: or env:."""
    from provrun.project import asking
    from provrun.query.diff import diff as compared
    from provrun.query.diff import difference_line
    from provrun.query.resolving import resolve

    view = asking.view(face.project())
    comparison = compared(view, resolve(view, left), resolve(view, right))
    lines = [difference_line(each) for each in comparison.differences] or ["nothing differs"]
    for side, patch in zip((comparison.left, comparison.right), comparison.patches, strict=True):
        if patch is not None:
            lines += ["", f"uncommitted changes of {side}:", patch.rstrip()]
    refs = [each.what for each in comparison.differences]
    face.out.answer(comparison.document(), refs=refs, text="\n".join(lines))
    return 1 if exit_code and comparison.differences else 0


@command("provrun code", "provrun code scan/42")
@click.argument("ref", metavar="[REF]", required=False, type=MapName())
def code(face: Face, ref: str | None) -> None:
    """Show the version of code that REF ran with and its uncommitted changes; without REF all versions."""
    from provrun.project import asking
    from provrun.query.show import code as of_code

    view = asking.view(face.project())
    if ref is None:
        rows = [of_code(view, each.digest) for each in view.reads.codes()]
        _list(face, "codes", "code", rows, ["commit", "dirty", "branch", "captured"])
        return
    document = of_code(view, _circumstance(view, ref, "code"))
    patch = document.pop("patch")
    text = _lines({"ref": f"code:{document['digest']}", **document})
    face.out.answer(
        {**document, "patch": patch}, refs=[f"code:{document['digest']}"],
        text=text + (f"\nuncommitted changes:\n{patch}" if patch else ""),
    )


@command("provrun env", "provrun env scan/42 --json")
@click.argument("ref", metavar="[REF]", required=False, type=MapName())
def env(face: Face, ref: str | None) -> None:
    """Show the software that REF ran with: Python, packages, container, variables; without REF all environments."""
    from provrun.project import asking
    from provrun.query.show import environment

    view = asking.view(face.project())
    if ref is None:
        rows = [environment(view, each.digest) for each in view.reads.environments()]
        _list(face, "environments", "env", rows, ["python", "implementation", "container", "captured"])
        return
    document = environment(view, _circumstance(view, ref, "environment"))
    shown = dict(document)
    packages = cast("list[dict[str, str | None]]", shown.pop("packages"))
    listed = [f"  {one['name']} {one['version']} {one['direct_url'] or ''}".rstrip() for one in packages]
    text = "\n".join([_lines({"ref": f"env:{document['digest']}", **shown}), f"{len(packages)} packages", *listed])
    face.out.answer(document, refs=[f"env:{document['digest']}"], text=text)


def _circumstance(view: View, text: str, what: str) -> str:
    """Give the digest of the code or environment that something ran with."""
    from provrun.query import resolving

    subject: Subject = resolving.resolve(view, text)
    match subject:
        case resolving.CodeSubject(digest=digest) if what == "code":
            return digest
        case resolving.EnvironmentSubject(digest=digest) if what == "environment":
            return digest
        case resolving.MapSubject(map=map):
            return view.reads.digest_of(what, map.code if what == "code" else map.environment)
        case resolving.TaskSubject(shown=shown):
            attempt = shown.attempt
        case resolving.AttemptSubject(attempt=attempt):
            pass
        case _:
            attempt = None
    if attempt is None:
        raise UsageError(
            f"{text} did not run with any {what}", value=text, next="give a map, a task that ran, or an attempt"
        )
    context = view.contexts[attempt.context]
    return context.code if what == "code" else context.environment


def _list(face: Face, key: str, prefix: str, rows: Sequence[dict[str, object]], columns: Sequence[str]) -> None:
    for row in rows:
        row["ref"] = f"{prefix}:{str(row['digest'])[:12]}"
        row["results"] = sum(cast("int", each["results"]) for each in cast("list[dict[str, object]]", row["ran"]))
    face.out.rows(key, rows, ref="ref", columns=["ref", *columns, "results"])


def _print(face: Face, documents: Sequence[Document], texts: Sequence[str]) -> None:
    """Print one document as it is, several as {"answers": [...]}."""
    document = documents[0] if len(documents) == 1 else {"answers": documents}
    refs = [str(each["ref"]) for each in documents]
    face.out.answer(document, refs=refs, text="\n\n".join(texts))


def _lines(document: Document) -> str:
    """Write a document for a person: one line per thing known, nested things indented."""
    lines = [str(document["ref"])]
    for key, value in document.items():
        if key == "ref" or value is None or value in ([], {}, ""):
            continue
        name = key.replace("_", " ")
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            lines.append(f"  {name}:")
            lines += [f"    {_flat(each)}" for each in value]
        elif isinstance(value, dict) and "$blob" not in value:
            lines.append(f"  {name}: {_flat(value)}")
        elif isinstance(value, str) and "\n" in value:
            lines += [f"  {name}:", *(f"    {each}" for each in value.rstrip().splitlines())]
        else:
            lines.append(f"  {name}: {_word(value)}")
    return "\n".join(lines)


def _flat(value: Mapping[str, object]) -> str:
    return "  ".join(f"{key}={_word(each)}" for key, each in value.items() if each is not None)


def _word(value: object) -> str:
    from provrun.query.labels import readable

    return value if isinstance(value, str) else readable(json.dumps(value, ensure_ascii=False))
