"""What a page says of how its maps were computed: recipe, folder, what flows in, and the code of attempts."""

from __future__ import annotations

import json
from typing import NamedTuple, cast, get_args

from provrun.core.canonical import decode
from provrun.core.code import Code
from provrun.core.records import Policy, Recipe, RecipeKind, ResultMode
from provrun.export.view import Broken, Mapped, View

_SWH = ("swh:1:dir:", "swh:1:rev:")


class Applied(NamedTuple):
    """How a map was computed: ``folder`` is relative to its repository, None where the page does not say.

    ``reduces`` are the maps whose tasks it reads many of, ``by`` the parameters by which they are gathered.
    """

    name: str
    recipe: Recipe
    digest: bytes
    folder: str | None
    reduces: frozenset[str]
    by: tuple[str, ...]
    policy: Policy


def applied(view: View, one: Mapped) -> Applied:
    """Read how a map was computed; `Broken` where the page lacks it."""
    plans = [
        plan for association in view.links(one.node, "prov:qualifiedAssociation")
        for plan in view.links(association, "prov:hadPlan")
    ]
    if len(plans) != 1:
        raise Broken("recipe", f"{one.name} has {len(plans)} recipes, one must")
    (plan,) = plans
    kind, mode = view.text(plan, "kind"), view.text(plan, "resultMode") or "auto"
    if kind not in get_args(RecipeKind) or mode not in get_args(ResultMode):
        raise Broken("recipe", f"{one.name} has a recipe of no kind that is known: {kind}, {mode}")
    bound = view.text(plan, "bound")
    outputs = dict(text.split("=", 1) for text in view.texts(plan, "output") if "=" in text)
    recipe = Recipe(
        kind=cast("RecipeKind", kind), words=tuple(json.loads(view.text(plan, "template") or "[]")),
        function=view.text(plan, "entryPoint"), bound=cast("dict[str, object]", decode(bound)) if bound else {},
        inputs=tuple(view.texts(plan, "input")), outputs=outputs, result=cast("ResultMode", mode),
    )
    digest = bytes.fromhex(view.text(plan, "digest") or "")
    return Applied(
        one.name, recipe, digest, view.text(one.node, "folder"), frozenset(_reduced(view, one)),
        tuple(view.texts(one.node, "groupedBy")), _policy(view, one.node),
    )


def _policy(view: View, node: str) -> Policy:
    """Read what each task of a map may have: what it needs, and its limits."""
    time = view.number(node, "timeLimit")
    return Policy(
        cores=view.number(node, "cores") or 1, ranks=view.number(node, "ranks") or 0,
        task_nodes=view.number(node, "taskNodes") or 0, gpus=view.number(node, "gpus") or 0,
        task_time=None if time is None else time / 1e6, task_memory=view.number(node, "memoryLimit"),
    )


def _reduced(view: View, one: Mapped) -> set[str]:
    """Name the maps whose results a map gathers: derivations of its results that are not element by element."""
    maps = view.maps()
    owners = {
        link: each.name for each in maps
        for link in (each.commitment.node, *(group.node for group in each.groups))
    }
    made = {each.node: each.name for each in maps}

    def owner(results: str) -> str | None:
        committed = view.links(results, "commitment")
        if committed:
            return owners.get(committed[0])
        return next((made[node] for node in view.links(results, "prov:wasGeneratedBy") if node in made), None)

    found = set()
    for results in view.typed("Results"):
        if owner(results) != one.name:
            continue
        for derivation in view.links(results, "prov:qualifiedDerivation"):
            if derivation in _typed(view, "GroupedDerivation", "ReducedDerivation"):
                found |= {name for entity in view.links(derivation, "prov:entity") if (name := owner(entity))}
    return found


def _typed(view: View, *names: str) -> frozenset[str]:
    return frozenset(view.typed(*names))


def code_of(view: View, digest: str) -> Code:
    """Read what a page says of a version of code; `Broken` where it is not there."""
    node = next((one for one in view.typed("CodeVersion") if view.text(one, "digest") == digest), None)
    if node is None:
        raise Broken("code", f"there is no code {digest[:12]} on the page")
    tree, commit = (
        (view.text(node, name) or "").removeprefix(start) or None
        for name, start in zip(("tree", "commit"), _SWH, strict=True)
    )
    return Code(
        kind="git" if view.text(node, "kind") == "git" else "files", root="", commit=commit, tree=tree,
        dirty=view.text(node, "dirty") == "true", remote=view.text(node, "repository"),
        patch_digest=view.text(node, "patchDigest"), unpatched=tuple(view.texts(node, "unpatched")),
        files_digest=view.text(node, "filesDigest"),
    )
