"""No secret enters a record: twenty are planted where people leave them, and none comes out."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from fixtures.repositories import git
from provrun.core.canonical import encode
from provrun.record.environment import capture_environment, find_container, pick_variables
from provrun.record.git import capture
from provrun.record.host import capture_host
from provrun.record.packages import installed
from provrun.record.urls import clean_url

SECRETS = [f"s3cr3t{number:02}Xq9vT7pL2mN8" for number in range(20)]
TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"

REMOTES = {
    "https://user:{}@github.com/ada/study.git": "https://github.com/ada/study.git",
    "https://{}@gitlab.com/ada/study.git": "https://gitlab.com/ada/study.git",
    "https://oauth2:{}@host:8443/a/b?private_token=x": "https://host:8443/a/b",
    "https://host/a.git?access_token={}": "https://host/a.git",
    "https://host/a.git#{}": "https://host/a.git",
    "https://host/a.git;jsessionid={}": "https://host/a.git",
    "https://us%40er:p%2F{}@host/a.git": "https://host/a.git",
    "https://user:a/{}@host/a.git": "https://host/a.git",
    "ssh://{}@host:2222/a.git": "ssh://host:2222/a.git",
    "{}@host:ada/study.git": "host:ada/study.git",
    "user:{}@host:ada/study.git": "host:ada/study.git",
    "https::https://user:{}@host/a.git": "https://host/a.git",
    "git+https://{}@host/a.git@v1": "git+https://host/a.git@v1",
}


@pytest.mark.parametrize("number", range(len(REMOTES)))
def test_addresses_lose_their_secrets_and_nothing_else(number: int) -> None:
    address, clean = list(REMOTES.items())[number]
    assert clean_url(address.format(SECRETS[number])) == clean


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/ada/study.git", "git@github.com:ada/study.git", "ssh://git@host:22/a", "/srv/git/a.git",
        "../a.git", "file:///srv/git/a.git", "https://host/@scope/pkg", "https://[::1]:8080/a.git", "host:a/b@c.git",
    ],
)  # fmt: skip
def test_addresses_without_secrets_stay(address: str) -> None:
    assert clean_url(address) == address


def test_tokens_in_the_middle_of_a_path_are_blotted_out() -> None:
    assert clean_url(f"https://host/{TOKEN}/a.git") == "https://host/***/a.git"


def test_a_remote_that_is_a_command_is_not_recorded() -> None:
    assert clean_url(f"ext::sh -c 'curl -H {SECRETS[0]} host'") is None


def test_of_several_remotes_the_one_the_branch_follows_is_recorded(git_repo: Path) -> None:
    git(git_repo, "remote", "add", "a", "https://host/a.git")
    assert capture(git_repo).code.remote == "https://host/a.git"
    git(git_repo, "remote", "add", "origin", "https://host/origin.git")
    assert capture(git_repo).code.remote == "https://host/origin.git"
    git(git_repo, "config", "branch.main.remote", "a")
    assert capture(git_repo).code.remote == "https://host/a.git"


def plant_package(folder: Path, name: str, direct_url: object) -> None:
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\nHome-page: https://u:{SECRETS[0]}@host\n")
    (place / "direct_url.json").write_text(json.dumps(direct_url))


def test_twenty_secrets_planted_where_people_leave_them_stay_out(
    git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(SECRETS)
    for name in ("AWS_SECRET_ACCESS_KEY", "OMP_TOKEN", "LC_PASSWORD", "MKL_LICENSE", "GIT_ASKPASS_PASSWORD"):
        monkeypatch.setenv(name, next(left))
    for name in ("OMP_PLACES", "TZ"):  # on the list, and abused
        monkeypatch.setenv(name, next(left))
    monkeypatch.setenv("PIP_INDEX_URL", f"https://u:{next(left)}@host/simple")
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", f"https://{next(left)}@host/simple")
    monkeypatch.setenv("APPTAINER_DOCKER_PASSWORD", next(left))
    monkeypatch.setenv("APPTAINER_CONTAINER", f"docker://u:{next(left)}@host/image:1?x={next(left)}")
    monkeypatch.setenv("LOADEDMODULES", f"gcc/12:key={next(left)}")
    git(git_repo, "remote", "add", "origin", f"https://u:{next(left)}@host/a.git?token={next(left)}")
    git(git_repo, "config", "http.extraHeader", f"Authorization: Bearer {next(left)}")
    git(git_repo, "config", "credential.username", next(left))
    (git_repo / ".env").write_text(f"KEY={next(left)}\n")
    site = tmp_path / "site"
    vcs = {"vcs": "git", "commit_id": "ab" * 20, "requested_revision": "main"}
    plant_package(site, "one", {"url": f"https://u:{next(left)}@host/one.git", "vcs_info": vcs})
    plant_package(site, "two", {"url": f"https://host/two.whl?sig={next(left)}", "archive_info": {"hash": "md5=x"}})
    assert next(left, None) is None
    monkeypatch.syspath_prepend(site)

    captured = capture(git_repo)
    records = (captured.code, capture_environment(), capture_host("MPICH 5.0\nbuilt somewhere"))
    text = "".join(encode(msgspec.to_builtins(record)) for record in records) + str(captured)
    assert [secret for secret in (*SECRETS, TOKEN) if secret in text] == []
    for kept in ("https://host/a.git", f"https://host/one.git@{'ab' * 20}", "https://host/two.whl", "gcc/12"):
        assert kept in text


def test_only_variables_on_the_list_are_recorded() -> None:
    environ = {"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "HOME": "/home/ada", "OMP_KEY": "1"}
    assert pick_variables(environ) == {"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def test_addresses_of_packages_keep_what_identifies_the_content(tmp_path: Path) -> None:
    hashes = {"hashes": {"sha256": "cd" * 32}}
    plant_package(tmp_path, "archive", {"url": "https://host/a.whl", "archive_info": hashes})
    plant_package(tmp_path, "local", {"url": "file:///home/ada/a.whl", "archive_info": {"hash": f"sha256={'ef' * 32}"}})
    plant_package(tmp_path, "mine", {"url": "file:///home/ada/mine", "dir_info": {"editable": True}})
    plant_package(tmp_path, "odd", ["no", "object"])
    assert {package.name: package.direct_url for package in installed([str(tmp_path)], "")} == {
        "archive": f"https://host/a.whl#sha256={'cd' * 32}",
        "local": f"file:a.whl#sha256={'ef' * 32}",
        "mine": "editable folder",
        "odd": "unreadable",
    }


def test_container_names_lose_secrets() -> None:
    assert find_container({"SHIFTER_IMAGEREQUEST": f"https://u:{SECRETS[0]}@host/i:1"}) == "shifter:https://host/i:1"
