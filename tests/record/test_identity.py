"""The digests of records: pinned, and made of what identifies them alone."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from provrun.core.code import CapturedCode, Code, Submodule
from provrun.core.environment import Environment, Host, Package

CODE = Code(
    kind="git",
    root="/home/ada/study",
    commit="11" * 20,
    tree="22" * 20,
    dirty=True,
    remote="https://host/study.git",
    branch="main",
    patch_digest="33" * 32,
    unpatched=("big.bin",),
    submodules=(Submodule("lib", "44" * 20, "55" * 20, False),),
    untracked_counted=7,
)


def test_the_digest_of_a_repository_is_pinned() -> None:
    text = (
        '{"commit":"' + "11" * 20 + '","submodules":[["lib","' + "44" * 20 + '","' + "55" * 20 + '"]],'
        '"tree":"' + "22" * 20 + '"}'
    )
    assert CODE.digest == hashlib.sha256(b"code\0" + text.encode()).hexdigest()
    assert CODE.digest == "77ecd389285f4fb5735fd89c077d1f1af17937e55863f4db93f23767db124c0d"


def test_the_digest_of_files_is_pinned() -> None:
    code = Code(kind="files", root="/x", files_digest="66" * 32)
    assert code.digest == "831ccff17698909f2cfe51ff0bb6675ff0a61225e0f8785fcfbfd50dc5cf4fe8"


@pytest.mark.parametrize("change", [{"commit": None}, {"tree": "00" * 20}, {"submodules": ()}])
def test_what_ran_makes_the_digest(change: dict[str, object]) -> None:
    assert msgspec.structs.replace(CODE, **change).digest != CODE.digest


@pytest.mark.parametrize(
    "change",
    [{"root": "/elsewhere"}, {"branch": None}, {"remote": None}, {"untracked_counted": 0}, {"patch_digest": None}],
)
def test_where_it_was_found_does_not(change: dict[str, object]) -> None:
    assert msgspec.structs.replace(CODE, **change).digest == CODE.digest


def test_records_of_code_survive_being_stored() -> None:
    assert msgspec.json.decode(msgspec.json.encode(CODE), type=Code) == CODE
    captured = CapturedCode(CODE, b"patch")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(captured), type=CapturedCode) == captured


def test_the_digests_of_environment_and_host_are_pinned() -> None:
    packages = (Package("numpy", "2.0"), Package("tool", "1", "https://host/tool@" + "ab" * 20))
    environment = Environment(python="3.12.1", implementation="cpython", packages=packages, variables={"TZ": "UTC"})
    host = Host(platform="Linux 6 x86_64", cpu="A", cores=4, memory=16, modules=("gcc/12",))
    assert environment.digest == "a62c37984084ae1e02e9d2b1f31d04c6e3aceb8679b41ef97bc03933e5442adc"
    assert host.digest == "53787373d9ffe05443ba3d0809c0632d1edd4a7a988f5f81458d0d9eb504d228"
