"""A drawing of a page for people: maps as boxes around their cohorts, collections between them, code and environment.

Laid out by Graphviz; colours are those of W3C PROV drawings: yellow entities, blue activities, orange agents.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provrun.export.document import Built

if TYPE_CHECKING:
    from prov.model import ProvRecord

_ENTITY = 'shape=ellipse, style=filled, fillcolor="#fffcb8", color="#b0a030"'
_PLAN = 'shape=note, style=filled, fillcolor="#fffcb8", color="#b0a030"'
_GOOD = 'shape=box, style="rounded,filled", fillcolor="#c9d6f7", color="#3b5bb5"'
_BAD = 'shape=box, style="rounded,filled", fillcolor="#f7c9c9", color="#b53b3b"'
_COLLECTIONS = {"pr:Parameters", "pr:Results", "pr:SupersededResults", "pr:InputFiles"}
_SHOWN = {
    "pr:InputFile", "pr:Tool", "pr:CodeVersion", "pr:Environment", "pr:CodeSet", "pr:EnvironmentSet", "pr:Figure",
}
# Which argument of a relation it leads to, and how it is drawn.
_DRAWN = {
    "Usage": (1, ""), "Generation": (1, ""), "Association": (2, " [style=dotted]"),
    "Communication": (1, " [style=dashed, label=before]"),
}


def write(built: Built) -> Iterator[str]:
    """Write the drawing in the DOT language, the same text for the same page."""
    records = list(built.page.document.get_records())
    maps = {str(r.identifier): r for r in records if "pr:Map" in _types(r)}
    groups = _grouped(records)
    yield "digraph provrun {\n"
    yield '  graph [rankdir=LR, fontname="Helvetica", nodesep=0.25, ranksep=0.7];\n'
    yield '  node [fontname="Helvetica", fontsize=10];\n  edge [fontname="Helvetica", fontsize=8, color="#555555"];\n'
    drawn: set[str] = set()
    for number, (name, record) in enumerate(sorted(maps.items())):
        yield f"  subgraph cluster_{number} {{\n"
        yield f'    label="{_text(_map_label(record))}"; fontsize=12; style="rounded,filled"; fillcolor="#f5f7fa";'
        yield ' color="#8894a8";\n'
        for one in sorted(groups.get(name, ()), key=lambda r: str(r.identifier)):
            drawn.add(str(one.identifier))
            yield f"    {_node(one)}\n"
        yield "  }\n"
    for record in sorted((r for r in records if r.is_element()), key=lambda r: str(r.identifier)):
        name = str(record.identifier)
        if name not in drawn and _types(record) & _SHOWN and _of_map(name, maps) is None:
            drawn.add(name)
            yield f"  {_node(record)}\n"
    yield from sorted(set(_edges(records, drawn)))
    yield "}\n"


def _types(record: ProvRecord) -> set[str]:
    return {str(one) for one in record.get_asserted_types()} if record.is_element() else set()


def _grouped(records: list[ProvRecord]) -> dict[str, list[ProvRecord]]:
    """Give the nodes that are drawn inside each map's box: its cohorts and the collections of its groups."""
    found: dict[str, list[ProvRecord]] = {}
    maps = {str(r.identifier): r for r in records if "pr:Map" in _types(r)}
    partitioned = {str(r.identifier) for r in records if _value(r, "pr:partitionedInto") is not None}
    for record in records:
        types = _types(record)
        name = str(record.identifier)
        if types & {"pr:Cohort", "pr:TailCohort"}:
            found.setdefault(str(_value(record, "dcterms:isPartOf")), []).append(record)
        elif types & _COLLECTIONS and name not in partitioned:
            owner = _of_map(name, maps)
            if owner is not None:
                found.setdefault(owner, []).append(record)
    return found


def _of_map(name: str, maps: dict[str, ProvRecord]) -> str | None:
    """Find the map that a collection belongs to, by its name: ``p:results.MAP.2``."""
    words = name.split(".")
    owner = f"p:map.{words[1]}" if len(words) > 1 else ""
    return owner if owner in maps else None


def _node(record: ProvRecord) -> str:
    types = _types(record)
    if types & {"pr:Cohort", "pr:TailCohort"}:
        shape = _GOOD if str(_value(record, "pr:outcome")) == "succeeded" else _BAD
    else:
        shape = _PLAN if "prov:Plan" in types else _ENTITY
    return f'"{record.identifier}" [{shape}, label="{_text(_label(record, types))}"];'


def _label(record: ProvRecord, types: set[str]) -> str:
    def get(key: str) -> str:
        return _plain(_value(record, f"pr:{key}"))

    if types & {"pr:Cohort", "pr:TailCohort"}:
        return f"{int(get('attempts')):,} attempts\n{get('outcome')}, {_seconds(int(get('wallSum')))} in all"
    if "pr:Parameters" in types:
        return f"parameters\nof {int(get('memberCount')):,} tasks"
    if "pr:Results" in types:
        return f"{int(get('memberCount')):,} results"
    if "pr:SupersededResults" in types:
        return f"{int(get('memberCount')):,} superseded\nresults"
    if "pr:CodeVersion" in types:
        commit = get("commit").removeprefix("swh:1:rev:")[:10]
        dirty = " + changes" if get("dirty").lower() == "true" else ""
        return f"code {commit or get('digest')[:10]}{dirty}"
    if "pr:Environment" in types:
        return f"Python {get('python')}\n{get('packages')} packages"
    if "pr:InputFile" in types:
        return f"input {get('sha256')[:10]}"
    if "pr:Tool" in types:
        return f"program {get('name')}\n{get('sha256')[:10]}"
    if "pr:Figure" in types:
        return f"figure\n{get('name')}"
    if "pr:InputFiles" in types:
        return f"{int(get('memberCount')):,} input files"
    return f"{get('memberCount')} of these"


def _map_label(record: ProvRecord) -> str:
    counts = {key: int(_plain(_value(record, f"pr:{key}"))) for key in ("planned", "succeeded", "failed", "notRun")}
    said = f"{counts['planned']:,} tasks, {counts['succeeded']:,} succeeded"
    said += f", {counts['failed']:,} failed" if counts["failed"] else ""
    said += f", {counts['notRun']:,} not run" if counts["notRun"] else ""
    return f"{_plain(_value(record, 'pr:name'))}: {said}"


def _edges(records: list[ProvRecord], drawn: set[str]) -> Iterator[str]:
    """Draw relations in the direction of time: what was used points to its user."""
    for record in records:
        kind = record.get_type().localpart
        if kind not in _DRAWN:
            continue
        other, style = _DRAWN[kind]
        ends = record.args
        later, earlier = str(ends[0]), str(ends[other])
        if later in drawn and earlier in drawn:
            yield f'  "{earlier}" -> "{later}"{style};\n'


def _value(record: ProvRecord, name: str) -> object:
    return next((value for key, value in record.attributes if str(key) == name), None)


def _plain(value: object) -> str:
    """Give the text of an attribute, typed or not."""
    return "" if value is None else str(getattr(value, "value", value))


def _seconds(micros: int) -> str:
    seconds = micros / 1e6
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.3g} s"


def _text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
