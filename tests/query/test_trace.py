"""Where things came from, and what came of them."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from fixtures.lab import Dependency, Fate, Lab, gives, xs
from provrun.core.records import Recipe
from provrun.errors import NotFound, ProvrunError
from provrun.query.graph import Graph
from provrun.query.trace import trace


def traced(lab: Lab, ref: str, *, down: bool = False) -> Graph:
    return trace(*lab.resolve(ref), down=down)


def edges(graph: Graph) -> set[tuple[str, str, str]]:
    return {(edge.source, edge.relation, edge.target) for edge in graph.edges}


def kinds(graph: Graph, kind: str) -> list[str]:
    return [node.id for node in graph.nodes.values() if node.kind == kind]


@pytest.fixture
def study(lab: Lab) -> Lab:
    """Give three stages: four spectra, an observable of each, a mean of them all."""
    lab.use("model.py", "def spectrum")
    lab.submit("spectra", xs(0, 1, 2, 3), recipe=Recipe(kind="function", function="model.py:spectrum"))
    lab.run("spectra", gives({"e": 1}))
    lab.submit("gap", [{"kind": "gap"}], on=[Dependency(upstream="spectra", kind="each")])
    lab.run("gap", gives({"gap": 0.5}))
    lab.submit("mean", [{"n": 1}], on=[Dependency(upstream="gap", kind="all")])
    lab.run("mean", gives(0.53))
    return lab


def test_a_number_is_traced_to_commit_parameters_software_and_every_stage(study: Lab) -> None:
    graph = traced(study, "mean/0")
    found = edges(graph)
    assert ("mean/0", "came from", "mean/0#1") in found
    assert {("mean/0#1", "read the result of", f"gap/{index}") for index in range(4)} <= found
    assert {(f"gap/{index}#1", "read the result of", f"spectra/{index}") for index in range(4)} <= found
    code, environment = f"code:{study.commit.digest}", f"env:{study.python.digest}"
    for stage in ("mean/0#1", "gap/2#1", "spectra/3#1"):
        assert (stage, "ran", code) in found
        assert (stage, "in", environment) in found
    assert graph.nodes[code].detail["commit"] == "a" * 40
    assert len(kinds(graph, "task")) == 9
    used = [edge for edge in found if edge[1] == "used code file"]
    assert ("spectra/0#1", "used code file", f"sha256:{study.uses['model.py']}") in used


def test_every_edge_of_a_trace_joins_things_that_are_there(study: Lab) -> None:
    for ref, down in (("mean/0", False), ("spectra/1", True), ("mean", False), ("spectra", True)):
        graph = traced(study, ref, down=down)
        assert graph.root in graph.nodes
        assert {end for edge in graph.edges for end in (edge.source, edge.target)} <= graph.nodes.keys()


def test_a_tree_tells_each_thing_once(study: Lab) -> None:
    lines = list(traced(study, "mean/0").tree())
    assert lines[0] == "mean/0  succeeded  result 0.53"
    assert sum("came from gap/0#1" in line for line in lines) == 1
    assert any("read the result of gap/0  succeeded" in line for line in lines)
    assert any(line.endswith("with kind=gap x=0") for line in lines)
    assert all(line[0] in "│├└ " for line in lines[1:])


def test_a_trace_as_json_holds_nodes_and_edges(study: Lab) -> None:
    document: dict[str, Any] = traced(study, "gap/1").document()
    assert document["ref"] == "gap/1" and document["direction"] == "up"
    node = next(node for node in document["nodes"] if node["id"] == "gap/1")
    assert node["result"] == {"gap": 0.5}
    assert {"from": "gap/1#1", "relation": "read the result of", "to": "spectra/1"} in document["edges"]


def test_a_map_is_traced_as_a_whole(study: Lab) -> None:
    found = edges(traced(study, "mean"))
    assert ("mean", "reads all of", "gap") in found
    assert ("gap", "reads task by task", "spectra") in found
    assert ("spectra", "ran 4 with", f"code:{study.commit.digest}") in found


def test_a_reduce_over_many_draws_them_as_one(lab: Lab) -> None:
    lab.submit("scan", xs(*range(500)))
    lab.run("scan")
    lab.submit("stat", [{"k": 0}], on=[Dependency(upstream="scan", kind="all")])
    lab.run("stat", gives(1))
    graph = traced(lab, "stat/0")
    [many] = kinds(graph, "results")
    assert graph.nodes[many].label == "500 results of scan"
    assert ("stat/0#1", "read", many) in edges(graph)
    assert (many, "of", "scan") in edges(graph)
    assert len(graph.nodes) < 15


def test_a_trace_names_the_attempt_that_was_read_even_when_it_is_superseded(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.run("scan", gives(1))
    lab.submit("obs", [{"k": 1}], on=[Dependency(upstream="scan", kind="each")])
    lab.run("obs", gives(1))
    lab.registry.rerun(lab.project.map("scan").id, None)
    lab.run("scan", gives(2))
    assert ("obs/0#1", "read the result of", "scan/0#1") in edges(traced(lab, "obs/0"))


def test_down_from_a_task_come_all_that_read_it(study: Lab) -> None:
    graph = traced(study, "spectra/2", down=True)
    assert edges(graph) == {("spectra/2", "was read by", "gap/2"), ("gap/2", "was read by", "mean/0")}


def test_down_from_a_task_through_groups_and_chunks(lab: Lab) -> None:
    lab.submit("scan", [{"L": size, "seed": seed} for size in (4, 8) for seed in range(3)])
    lab.submit("by_size", [{"k": 1}, {"k": 2}], on=[Dependency(upstream="scan", kind="group", by=("L",))])
    lab.submit("pairs", [{"k": 1}], on=[Dependency(upstream="scan", kind="chunk", chunk=2)])
    found = edges(traced(lab, "scan/4", down=True))
    assert {target for _, _, target in found} == {"by_size/2", "by_size/3", "pairs/2"}


def test_down_from_a_task_that_very_many_read_counts_the_rest(lab: Lab) -> None:
    lab.submit("scan", xs(1))
    lab.submit("obs", [{"k": k} for k in range(100)], on=[Dependency(upstream="scan", kind="each")])
    graph = traced(lab, "scan/0", down=True)
    assert len(kinds(graph, "task")) == 17
    assert graph.nodes["more:scan/0:obs"].label == "84 more tasks of obs"


def test_down_from_code_and_environment_come_the_maps_that_ran_with_it(study: Lab) -> None:
    found = edges(traced(study, f"code:{study.commit.digest[:10]}", down=True))
    code = f"code:{study.commit.digest}"
    assert (code, "was used by 4 attempts of", "spectra") in found
    assert (code, "was used by 1 attempts of", "mean") in found
    environment = f"env:{study.python.digest}"
    found = edges(traced(study, environment, down=True))
    assert (environment, "was used by 4 attempts of", "gap") in found
    assert {edge[2] for edge in edges(traced(study, "job:1", down=True))} >= {"spectra"}


@pytest.fixture
def files(lab: Lab) -> Lab:
    """Give a task that writes a file and another one that reads it."""
    lab.submit("split", xs(1), recipe=Recipe(kind="command", words=("a",), outputs={"part": "parts/{x}.txt"}))
    lab.run("split", lambda params, number: Fate(result=1, outputs={"part": ("parts/1.txt", b"ACGT")}))
    lab.submit("align", xs(1), recipe=Recipe(kind="command", words=("b",), inputs=("parts/{x}.txt",)))
    lab.run("align", lambda params, number: Fate(result=2, inputs=["parts/1.txt"]))
    return lab


def test_a_file_on_disk_is_traced_to_the_task_that_wrote_it(files: Lab) -> None:
    graph = traced(files, f"{files.root}/parts/1.txt")
    assert (graph.root, "was written by", "split/0") in edges(graph)
    assert ("split/0", "came from", "split/0#1") in edges(graph)


def test_files_join_maps_that_do_not_build_on_each_other(files: Lab) -> None:
    graph = traced(files, "align/0")
    [file] = kinds(graph, "file")
    assert {("align/0#1", "read input", file), (file, "was written by", "split/0")} <= edges(graph)
    found = edges(traced(files, "split/0", down=True))
    assert {("split/0", "wrote part", file), (file, "was read by", "align/0")} <= found


def test_content_is_traced_by_its_digest_when_the_file_is_gone(files: Lab) -> None:
    (files.root / "parts" / "1.txt").unlink()
    digest = files.rows("split")[0]["outputs"]["part"]["digest"]
    graph = traced(files, f"sha256:{digest[:9]}")
    assert (f"sha256:{digest}", "was written by", "split/0") in edges(graph)
    assert (f"sha256:{digest}", "was read by", "align/0") in edges(traced(files, f"sha256:{digest}", down=True))


def test_a_result_is_found_by_its_digest(files: Lab) -> None:
    digest = files.view().reads.attempts(files.project.map("align").id, 0)[0].result_digest
    assert digest is not None
    graph = traced(files, f"sha256:{digest.hex()}")
    assert (graph.root, "is the result of", "align/0") in edges(graph)


def test_a_file_that_was_changed_since_is_told_with_the_task_that_wrote_it(files: Lab) -> None:
    path = files.root / "parts" / "1.txt"
    path.write_bytes(b"edited")
    with pytest.raises(NotFound, match="no attempt made or read the content") as caught:
        traced(files, str(path))
    assert caught.value.next == "split/0 wrote this file with another content: provrun trace split/0"
    with pytest.raises(NotFound, match="there is no file"):
        traced(files, "./nowhere")


def test_dot_is_drawn_by_graphviz(study: Lab) -> None:
    graph = traced(study, "mean/0")
    if shutil.which("dot") is None:
        with pytest.raises(ProvrunError, match="needs Graphviz"):
            graph.svg()
        return
    assert subprocess.run(["dot", "-Tplain"], input=graph.dot(), text=True, capture_output=True, check=True).stdout
    assert graph.svg().lstrip().startswith("<?xml")


def test_a_file_copied_by_a_task_is_not_its_own_source(lab: Lab) -> None:
    """Original and copy have one content; what was read is the one, what was written the other."""
    (lab.root / "in.txt").write_text("same\n")
    lab.submit("copy", xs(1))
    lab.run("copy", lambda params, number: Fate(inputs=["in.txt"], outputs={"o": ("out.txt", b"same\n")}))
    paths = {node.id: node.detail["path"] for node in traced(lab, "copy/0").nodes.values() if node.kind == "file"}
    joined = {(relation, paths[target]) for _, relation, target in edges(traced(lab, "copy/0")) if target in paths}
    assert {("read input", "in.txt"), ("wrote o", "out.txt")} <= joined
    assert not {edge for edge in edges(traced(lab, "copy/0")) if edge[1] == "was written by"}
    copy = f"{lab.root}/out.txt"
    assert [edge[1] for edge in edges(traced(lab, copy)) if edge[2] == "copy/0"] == ["was written by"]
    assert edges(traced(lab, copy, down=True)) == set()
    assert {edge[1] for edge in edges(traced(lab, f"{lab.root}/in.txt", down=True))} == {"was read by", "wrote o"}
