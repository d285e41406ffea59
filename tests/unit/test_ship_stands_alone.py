"""What is shipped: old Pythons understand it, it needs nothing else, and its bytes are stable."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import benchd.ship
from benchd.edge.pack import SHIPPED, build
from benchd.errors import BenchdError

SHIP = Path(benchd.ship.__file__).parent
MODULES = sorted(SHIP.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SHIP)))
def test_old_syntax(path: Path) -> None:
    """Every shipped module is Python 3.6, which is what old enterprise Linux has."""
    ast.parse(path.read_text(), feature_version=(3, 6))


def test_old_library() -> None:
    """No shipped module uses a part of the standard library that is newer than 3.6."""
    run = "import vermin; vermin.main()"
    options = ("-t=3.6-", "--violations", "--no-tips", "--processes=1", str(SHIP))
    command = (sys.executable, "-c", run, *options)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SHIP)))
def test_standard_library_only(path: Path) -> None:
    """A shipped module imports the standard library and its own package, nothing else."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, "shipped packages are packed alone"
            if node.level == 0:
                imported.add((node.module or "").split(".")[0])
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("name", SHIPPED)
def test_same_bytes_every_time(name: str) -> None:
    """Packing twice gives the same bytes, whatever the times of the files."""
    first = build(name)
    build.cache_clear()
    assert build(name) == first
    assert first.file_name == f"{name}-{first.sha256[:16]}.pyz"


@pytest.mark.parametrize("name", SHIPPED)
def test_packed_once(name: str) -> None:
    """A package is made once per process."""
    assert build(name) is build(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_archive_holds_the_package(name: str) -> None:
    """The archive has the modules, all with the same fixed time, and an entry point."""
    with zipfile.ZipFile(io.BytesIO(build(name).data)) as archive:
        entries = archive.infolist()
    expected = {f"benchd_{name}/{path.name}" for path in (SHIP / name).glob("*.py")}
    assert {entry.filename for entry in entries} == {"__main__.py", *expected}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("name", SHIPPED)
def test_zipapp_runs(name: str, tmp_path: Path) -> None:
    """The archive runs by itself, in an isolated interpreter, without a warning."""
    path = tmp_path / build(name).file_name
    path.write_bytes(build(name).data)
    command = (sys.executable, "-I", "-W", "error", str(path), "--version")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_load_generator_is_small() -> None:
    """The load generator is sent to every cluster, so it has at most 200 kB."""
    assert len(build("load").data) <= 200_000


def test_unknown_package() -> None:
    """What is not there cannot be packed, and the message says where it was looked for."""
    with pytest.raises(BenchdError, match="nothing called 'nope' can be shipped"):
        build("nope")
