"""The npm package in `dist/`: what `make package` packed is what the tree has."""

import json
import sys
import tarfile
from functools import cache

import pytest
from rig.anvil import ROOT

from oracle.chain import sources
from oracle.client import deploying, devnet

sys.path.insert(0, str(ROOT / "tools"))

import package

AGAIN = "run `make package` again"


@cache
def packed() -> dict[str, bytes]:
    """The files of the package, by their paths in it."""
    (file,) = list((ROOT / "dist").glob("didyma-*.tgz")) or [None]
    assert file is not None, "`make package` makes it"
    with tarfile.open(file) as archive:
        return {
            member.name.removeprefix("package/"): archive.extractfile(member).read()
            for member in archive.getmembers()
            if member.isfile()
        }


def test_versions__of_wheel_package_contracts_and_toolchain__are_one():
    versions = [json.loads((ROOT / name).read_text())["version"] for name in ("package.json", "js/package.json")]
    assert versions == [package.version()] * 2
    assert [path.name for path in (ROOT / "dist").glob("didyma-*.tgz")] == [f"didyma-{package.version()}.tgz"]
    assert json.loads(packed()["package.json"])["version"] == package.version()


def test_package__files_but_the_compiled_ones__are_those_of_the_tree():
    wanted = dict(package.files())
    assert {name for name in packed() if not name.startswith("dist/")} == set(wanted)
    assert [name for name, content in wanted.items() if packed()[name] != content] == [], AGAIN


@pytest.mark.parametrize("name", ["abi.ts", "advice.ts"])
def test_package__what_is_generated_from_contracts__is_not_stale(name):
    assert (package.GENERATED / name).read_text() == package.generated()[name], AGAIN


def test_package__compiled_client__is_that_of_the_sources():
    sources = {path.relative_to(package.JS / "src").with_suffix("") for path in (package.JS / "src").rglob("*.ts")}
    for source in sources:
        for kind in (".js", ".d.ts"):
            name = str(source) + kind
            assert packed()[f"dist/{name}"] == (package.BUILT / "src" / name).read_bytes(), AGAIN
            written = max(path.stat().st_mtime for path in (package.JS / "src").rglob("*.ts"))
            assert (package.BUILT / "src" / name).stat().st_mtime >= written, AGAIN
    assert len([name for name in packed() if name.startswith("dist/")]) == 2 * len(sources) > 10


def test_package__contracts__import_nothing_but_each_other():
    names = {name for name in packed() if name.startswith("contracts/")}
    assert names == {f"contracts/{path}" for path in sources.shipped()}
    assert {
        "contracts/consumer/OracleConsumer.sol",
        "contracts/mocks/MockOracle.sol",
        "contracts/examples/Wager.sol",
    } <= names


def test_package__deployments__have_the_addresses_of_didyma_dev():
    found = json.loads(packed()["deployments.json"])
    planned = deploying.plan(devnet.CHAIN_ID, devnet.BLOCK_MILLIS)
    assert found["31337"]["oracle"] == next(each.address for each in planned if each.name == "Oracle")
    assert list(found) == ["31337"]
