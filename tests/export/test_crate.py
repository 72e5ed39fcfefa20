"""An RO-Crate: valid by a stranger's validator, read by a stranger's reader, silent about people and machines."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from rocrate.rocrate import ROCrate

from fixtures.crates import Validator, validator  # noqa: F401
from fixtures.study import AT, Study, grid
from fixtures.told import tell, tell_all
from provrun.core.code import CapturedCode, Code
from provrun.core.environment import Environment, Package
from provrun.errors import NotFound, Refused, UsageError
from provrun.export.crate.facts import Facts
from provrun.export.crate.software import lock, materials, read_lock
from provrun.project import config
from provrun.project.pages.committing import Changed
from provrun.project.pages.crating import CrateFolder, export_crate, write_tables
from provrun.project.pages.publishing import summarised
from provrun.project.pages.verifying import verify
from provrun.project.project import Project

AUTHOR = {
    "title": "A <scan> & more", "author": "Jane Roe", "orcid": "0000-0002-1825-0097", "license": "CC-BY-4.0",
    "affiliation": "Example Institute <https://institute.example>",
}
Make = Callable[..., Path]

# rdflib's own readers use what rdflib deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings(r"ignore:Dataset\.\w+ is deprecated:DeprecationWarning"),
]


@pytest.fixture
def make(project: Project, study: Study, tmp_path: Path) -> Make:
    """Write a crate of a study with failures, two codes and reruns; the author's settings as given."""

    def made(name: str = "crate", **settings: str) -> Path:
        if not study.ids:
            tell(study)
        for key, value in settings.items():
            config.write(project.root / ".provrun", key, value)
        opened = Project.find(project.root)
        try:
            return export_crate(opened, path=tmp_path / "made" / name).path or Path()
        finally:
            opened.close()

    return made


def graph(crate: Path) -> list[dict[str, object]]:
    return list(json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"])


def contents(crate: Path) -> dict[str, bytes]:
    return {str(one.relative_to(crate)): one.read_bytes() for one in sorted(crate.rglob("*")) if one.is_file()}


def test_a_crate_has_all_that_a_process_run_crate_must_and_should_have(
    make: Make, study: Study, validator: Validator  # noqa: F811
) -> None:
    study.environment = study.registry.intern_environment(software(), AT)
    tell_all(study)
    crate = make(**AUTHOR)
    assert validator.issues(crate) == []
    described = crate / "ro-crate-metadata.json"
    described.write_text(described.read_text().replace('"instrument"', '"tool"'))
    assert any("instrument" in issue for issue in validator.issues(crate))


def test_both_databases_give_the_same_crate(tmp_path: Path, postgres_url: str) -> None:
    made = []
    for number, url in enumerate((None, postgres_url)):
        project = Project.create(tmp_path / str(number), url)
        project.registry.database.run("update registry set uuid='11111111-2222-3333-4444-555555555555'")
        tell_all(Study(project.registry))
        crate = export_crate(project, path=tmp_path / str(number) / "crate").path
        assert crate is not None
        made.append(contents(crate))
        project.close()
    assert made[0] == made[1]


def test_the_reader_of_others_loads_it(make: Make) -> None:
    crate = ROCrate(make(**AUTHOR))
    assert crate.name == "A <scan> & more"
    assert crate.root_dataset["license"]["name"] == "CC-BY-4.0"
    assert crate.root_dataset["author"]["affiliation"]["name"] == "Example Institute"
    files = {one.id for one in crate.data_entities}
    assert {"provenance.ttl", "provenance.jsonld", "leaves.jsonl.gz", "results/scan.csv", "CITATION.cff"} <= files
    assert {"results/scan.parquet", ".zenodo.json", "README.md"} <= files


def test_each_cohort_is_one_action_that_says_how_many_executions_it_stands_for(make: Make) -> None:
    actions = [one for one in graph(make()) if one["@type"] in ("CreateAction", "ActivateAction")]
    said = sorted((str(one["@type"]), str(one["name"])) for one in actions if one["@id"] != "#export")
    assert said == [
        ("ActivateAction", "scan: 5 executions that did not succeed"),
        ("CreateAction", "note: 2 executions that succeeded"),
        ("CreateAction", "obs: 76 executions that succeeded"),
        ("CreateAction", "scan: 12 executions that succeeded"),
        ("CreateAction", "scan: 29 executions that succeeded"),
    ]
    (failed,) = (one for one in actions if one["@type"] == "ActivateAction")
    assert failed["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert failed["error"] == "exit 1: 5"
    assert "result" not in failed


def test_an_action_has_the_name_that_its_cohort_has_on_the_page(make: Make) -> None:
    crate = make()
    page = (crate / "provenance.jsonld").read_text()
    for one in graph(crate):
        if one["@type"] in ("CreateAction", "ActivateAction") and one["@id"] != "#export":
            assert f'"@id": "{one["@id"]}"' in page


def test_it_claims_to_be_neither_a_workflow_run_nor_a_provenance_run(make: Make) -> None:
    text = (make() / "ro-crate-metadata.json").read_text()
    assert "https://w3id.org/ro/wfrun/process/0.5" in text
    for claim in ("wfrun/workflow", "wfrun/provenance", "ComputationalWorkflow", "OrganizeAction", "ControlAction"):
        assert claim not in text


def test_every_file_is_described_with_its_digest(make: Make) -> None:
    crate = make()
    described = {str(one["@id"]): one for one in graph(crate) if one["@type"] == "File"}
    there = contents(crate)
    assert set(there) - set(described) == {"ro-crate-metadata.json", "ro-crate-preview.html"}
    for path, one in described.items():
        assert one["sha256"] == hashlib.sha256(there[path]).hexdigest()
        assert one["contentSize"] == str(len(there[path]))


def test_the_same_state_gives_the_same_bytes(make: Make) -> None:
    assert contents(make("one", **AUTHOR)) == contents(make("two"))


def test_people_machines_and_folders_stay_out(make: Make, project: Project) -> None:
    for path, content in contents(make()).items():
        data = gzip.decompress(content) if path.endswith(".gz") else content
        for secret in (str(project.root), "/home/", "/study", os.uname().nodename, "n1"):
            word = secret.encode()
            assert word not in data if len(word) > 3 else b'"' + word + b'"' not in data, (path, secret)
    header = contents(make("again"))["results/scan.csv"].splitlines()[0].decode().split(",")
    assert not {"node", "job", "error"} & set(header)


def test_changes_that_were_not_committed_travel_with_the_crate(make: Make) -> None:
    crate = make()
    (patch,) = (crate / "code").iterdir()
    assert patch.read_bytes() == b"patch"
    (code,) = (one for one in graph(crate) if one.get("hasPart") == {"@id": f"code/{patch.name}"})
    assert code["@type"] == "SoftwareSourceCode"
    assert str(code["version"]).endswith("with changes")


def test_citation_and_zenodo_name_the_author_and_the_licence(make: Make) -> None:
    crate = make(**AUTHOR)
    cited = yaml.safe_load((crate / "CITATION.cff").read_text())
    assert (cited["cff-version"], cited["type"], cited["title"]) == ("1.2.0", "dataset", "A <scan> & more")
    (author,) = cited["authors"]
    assert (author["family-names"], author["given-names"]) == ("Roe", "Jane")
    assert author["orcid"] == "https://orcid.org/0000-0002-1825-0097"
    deposit = json.loads((crate / ".zenodo.json").read_text())
    assert deposit["creators"] == [
        {"name": "Roe, Jane", "affiliation": "Example Institute", "orcid": "0000-0002-1825-0097"}
    ]
    assert deposit["license"] == "cc-by-4.0"


def test_a_crate_without_author_and_licence_says_so(make: Make) -> None:
    crate = make()
    root = next(one for one in graph(crate) if one["@id"] == "./")
    assert root["license"] == {"@id": "#license"}
    assert "all rights are reserved" in (crate / "README.md").read_text()
    assert yaml.safe_load((crate / "CITATION.cff").read_text())["authors"] == [{"name": "The author"}]


def _swap(crate: Path, file: str, old: str, new: str) -> None:
    text = (crate / file).read_text()
    assert old in text
    (crate / file).write_text(text.replace(old, new, 1))


CRATE_LIES: dict[str, Callable[[Path], object]] = {
    "crate-description-reads: ": lambda crate: (crate / "ro-crate-metadata.json").write_text("{}"),
    "crate-files-hold: results/scan.csv is": lambda crate: _swap(crate, "results/scan.csv", "scan/0", "scan/9"),
    "crate-files-hold: README.md is not there": lambda crate: (crate / "README.md").unlink(),
    "crate-files-hold: more is not described": lambda crate: (crate / "more").write_text("x"),
    "crate-actions-agree: ": lambda crate: _swap(crate, "ro-crate-metadata.json", "29 executions", "92 executions"),
    "crate-pages-agree: ": lambda crate: _swap(crate, "provenance.jsonld", "cpython", "pypy"),
    "crate-pages-agree: provenance.jsonld cannot": lambda crate: (crate / "provenance.jsonld").write_text("{"),
    "page-digest-holds: ": lambda crate: _swap(crate, "provenance.ttl", '"cpython"', '"pypy"'),
}


def test_verify_finds_a_crate_whole_and_names_each_lie_that_is_planted(make: Make) -> None:
    honest = verify(make("honest"))
    assert honest.problems == []
    for number, (name, lie) in enumerate(CRATE_LIES.items()):
        crate = make(f"lie{number}")
        lie(crate)
        assert any(problem.startswith(name) for problem in verify(crate).problems), name


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img", "iframe"}
        assert not {"src", "onclick"} & {name for name, _ in attrs}
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_preview_is_whole_and_fetches_nothing(make: Make) -> None:
    text = (make(**AUTHOR) / "ro-crate-preview.html").read_text()
    tags = _Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    assert "A <scan> & more" in tags.text
    assert "exit 1: 5" in tags.text
    assert "url(" not in text
    assert "@import" not in text


def test_a_folder_with_something_in_it_is_refused_and_kept(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "mine"
    folder.mkdir(parents=True)
    (folder / "notes").write_text("mine")
    with pytest.raises(Refused):
        make("mine")
    assert contents(folder) == {"notes": b"mine"}
    (tmp_path / "made" / "empty").mkdir()
    assert (make("empty") / "README.md").exists()


def test_what_cannot_be_written_whole_is_not_there(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=2))
    study.run(study.job(), "scan")
    with pytest.raises(NotFound):
        export_crate(project, path=tmp_path / "made" / "crate", figures=[tmp_path / "missing.pdf"])
    assert list((tmp_path / "made").iterdir()) == []
    (tmp_path / "a").mkdir()
    for folder in (tmp_path, tmp_path / "a"):
        (folder / "gap.pdf").write_bytes(b"figure")
    with pytest.raises(UsageError):
        export_crate(project, path=tmp_path / "crate", figures=[tmp_path / "gap.pdf", tmp_path / "a" / "gap.pdf"])


def test_tables_with_other_rows_than_the_page_says_are_refused(
    project: Project, study: Study, tmp_path: Path
) -> None:
    study.submit("scan", grid(x=2))
    study.run(study.job(), "scan")
    _, built = summarised(project)
    study.submit("scan", grid(x=3))
    study.run(study.job(), "scan")
    with pytest.raises(Changed):
        write_tables(project, Facts(built.statements), CrateFolder(tmp_path / "crate"))


def test_figures_are_copied_and_lead_to_their_node(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=2))
    study.run(study.job(), "scan")
    names = ["b.pdf", "a.png", *(f"{number}.svg" for number in range(10))]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    crate = export_crate(project, path=tmp_path / "crate", figures=[tmp_path / name for name in names]).path
    assert crate is not None
    for number, name in enumerate(names):
        assert (crate / "figures" / name).read_bytes() == name.encode()
        (described,) = (one for one in graph(crate) if one["@id"] == f"figures/{name}")
        assert str(described["about"]).endswith(f"#figure.{number}'}}")


def test_results_that_are_held_to_be_valid_are_declared(project: Project, study: Study, tmp_path: Path) -> None:
    study.submit("scan", grid(x=3))
    job = study.job()
    study.run(job, "scan")
    code = project.registry.intern_code(CapturedCode(Code(kind="git", root="/s", commit="c" * 40, tree="d" * 40)), AT)
    project.registry.accept(
        study.id("scan"), [0, 2], contexts=[study.context(job)], covers=[("code", "a.py", "e" * 64)], code=code,
        user="ada", reason="comments <only>", at=AT + 10_000_000,
    )
    crate = export_crate(project, path=tmp_path / "crate").path
    assert crate is not None
    said = f"scan: 2 results of older code are held to agree with the code at {'c' * 12}: comments <only>"
    assert f"- {said}\n" in (crate / "README.md").read_text()
    assert said.replace("<", "&lt;").replace(">", "&gt;") in (crate / "ro-crate-preview.html").read_text()


def software() -> Environment:
    return Environment(
        python="3.11.7", implementation="cpython", container="sha256:" + "a" * 64, variables={"OMP_NUM_THREADS": "1"},
        packages=(
            Package("conda:zlib", "1.3 h0"), Package("here", "1.0", "editable folder"), Package("numpy", "2.1.0"),
            Package("local", "2.0", "file:local-2.0-py3-none-any.whl"),
            Package("tool", "0.3", "https://host.example/tool.git@" + "b" * 40),
            Package("wheel", "1.1", "https://host.example/wheel-1.1-py3-none-any.whl#sha256=" + "c" * 64),
        ),
    )


def test_the_lock_is_what_installers_read() -> None:
    lines = [line for line in lock(software()).splitlines() if not line.startswith("#")]
    read = [Requirement(line) for line in lines]
    assert [(one.name, str(one.specifier), one.url) for one in read] == [
        ("numpy", "==2.1.0", None),
        ("tool", "", "git+https://host.example/tool.git@" + "b" * 40),
        ("wheel", "", "https://host.example/wheel-1.1-py3-none-any.whl#sha256=" + "c" * 64),
    ]
    assert "# here 1.0 (from editable folder)" in lock(software())


def test_the_lock_is_read_as_it_was_written() -> None:
    listed = read_lock(lock(software()))
    assert (listed.implementation, listed.python, listed.variables) == ("cpython", "3.11.7", {"OMP_NUM_THREADS": "1"})
    assert list(listed.requirements) == ["numpy", "tool", "wheel"]
    assert listed.requirements["numpy"] == "numpy==2.1.0"
    assert listed.others == {
        "zlib": "zlib 1.3 h0 (conda)", "here": "here 1.0 (from editable folder)",
        "local": "local 2.0 (from file:local-2.0-py3-none-any.whl)",
    }


@pytest.mark.parametrize("line", ["--index-url https://host.example", "-e .", "numpy==1 --no-binary :all:", "a; b"])
def test_what_a_stranger_writes_into_a_lock_is_no_option_of_an_installer(line: str) -> None:
    listed = read_lock(f"# cpython 3.11.7\n{line}\n")
    assert (listed.requirements, list(listed.others.values())) == ({}, [line])
    with pytest.raises(ValueError, match="does not begin"):
        read_lock(line)


def test_the_bill_of_materials_lists_every_package() -> None:
    text = materials(software())
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text.replace('"purl"', '"pur"')) is not None
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    refs = [one["bom-ref"] for one in bill["components"]]
    assert len(refs) == len(set(refs)) == 8
    names = {one["purl"] for one in bill["components"] if "purl" in one}
    assert names >= {"pkg:pypi/numpy@2.1.0", "pkg:conda/zlib@1.3"}
    (tool,) = (one for one in bill["components"] if one["name"] == "tool")
    assert tool["externalReferences"] == [{"type": "distribution", "url": "https://host.example/tool.git"}]


def test_an_environment_of_a_cohort_leads_to_its_variables_and_container(project: Project, tmp_path: Path) -> None:
    study = Study(project.registry)
    study.environment = project.registry.intern_environment(software(), AT)
    study.submit("scan", grid(x=2))
    study.run(study.job(), "scan")
    crate = export_crate(project, path=tmp_path / "crate").path
    assert crate is not None
    (action,) = (one for one in graph(crate) if str(one.get("name")).startswith("scan:"))
    by_id = {str(one["@id"]): one for one in graph(crate)}
    around = [by_id[one["@id"]] for one in action["environment"]]  # type: ignore[index, attr-defined]
    assert [(one["name"], one["value"]) for one in around] == [
        ("container", "sha256:" + "a" * 64), ("OMP_NUM_THREADS", "1"),
    ]
