"""The rules of this repository that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from support.daemon import REPO
from support.reality import COMPONENTS, unobtainable

LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60  # lines, with its docstring
TOP_LEVEL = {
    *("daemon", "recipes", "config", "systemd", "tests", "docs", "pyproject.toml", "README.md"),
    *("LICENSE", "Makefile", ".ci", ".gitignore"),
}
LOCKS = [REPO / "daemon" / "requirements.txt", REPO / "tests" / "requirements.txt"]
# A lint exception: which tool, which code, and after it the reason.
EXCEPTION = re.compile(r"#\s*(?:ruff:\s*)?(noqa|type:\s*ignore|pragma)(.*)")
WITH_CODE_AND_REASON = re.compile(r"^(:\s*[A-Z]+\d+(, *[A-Z]+\d+)*|\[[\w, -]+\])\s*(#|-|—)\s*\S+")
# Places of one machine, in what is the same on all of them.
MACHINE_PATHS = re.compile(
    r"(?<![\w.$-])/(?:work/(?:main|shared)|root/|opt/(?:wheels|pypi)|tmp/venv)"
)
BINARY = {".png", ".gz", ".sqlite3", ".pyz", ".db", ".gguf"}


@cache
def tracked() -> list[Path]:
    """Return every file of the repository: from git, or what lies here in an unpacked archive."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, check=False)
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
        return [REPO / name for name in names if (REPO / name).is_file()]
    return [p for top in TOP_LEVEL for p in [REPO / top, *(REPO / top).rglob("*")] if p.is_file()]


def python_files(*tops: str) -> list[Path]:
    """Return the Python files below some top-level folders."""
    return [p for p in tracked() if p.suffix == ".py" and p.relative_to(REPO).parts[0] in tops]


def name(path: Path, line: int = 0) -> str:
    """Return a place in the form that editors jump to."""
    return f"{path.relative_to(REPO)}:{line}" if line else str(path.relative_to(REPO))


@cache
def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(), str(path))


def nodes(paths: Iterable[Path]) -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node of every file."""
    for path in paths:
        for node in ast.walk(tree(path)):
            yield path, node


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    """No source file has more than 400 lines."""
    sizes = {name(p): len(p.read_text().splitlines()) for p in python_files("daemon")}
    long = {place: lines for place, lines in sizes.items() if lines > LONGEST_FILE}
    assert {} == long, long


def test_no_function_is_longer_than_a_screen() -> None:
    """No function has more than 60 lines."""
    long = {
        name(path, node.lineno): f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path, node in nodes(python_files("daemon", "config"))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    }
    assert {} == long, long


def test_every_test_says_its_behaviour_in_one_sentence() -> None:
    """Every test has a docstring of one sentence and nothing else."""
    silent = [
        name(path, node.lineno)
        for path, node in nodes(python_files("tests"))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not re.fullmatch(r"[^\n]+[.]", (ast.get_docstring(node) or "").replace("\n", " "))
    ]
    assert [] == silent, "\n".join(silent)


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def test_nothing_is_mocked() -> None:
    """Nobody imports a mocking library: fakes hold state, mocks hold beliefs."""
    found = [
        name(path, node.lineno)
        for path, node in nodes(python_files("daemon", "tests"))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and {"unittest.mock", "mock", "pytest_mock"} & set(_imports(node))
    ]
    assert [] == found, "\n".join(found)


def test_host_keys_are_always_checked() -> None:
    """Nobody passes known_hosts=None, which would accept any host key."""
    found = [
        name(path, node.value.lineno)
        for path, node in nodes(python_files("daemon", "tests"))
        if isinstance(node, ast.keyword)
        and node.arg == "known_hosts"
        and isinstance(node.value, ast.Constant)
        and node.value.value is None
    ]
    assert [] == found, "\n".join(found)


def _is_real_sleep(node: ast.AST) -> bool:
    """Say whether a call sleeps on real time; ``sleep(0)`` only lets others run."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    if node.func.attr != "sleep" or not isinstance(node.func.value, ast.Name):
        return False
    nothing = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
    return node.func.value.id in {"time", "asyncio"} and not nothing


def test_no_test_waits_on_the_clock() -> None:
    """Tests wait for conditions (``until``) or hand in a clock; sleeping is slow or flaky."""
    tests = [p for p in python_files("tests") if p.name.startswith("test_")]
    tests = [p for p in tests if p.parent.name != "simulation"]  # there all time is virtual
    found = [name(p, getattr(n, "lineno", 0)) for p, n in nodes(tests) if _is_real_sleep(n)]
    assert [] == found, "\n".join(found)


def test_no_test_skips_by_itself() -> None:
    """What a test lacks it says with mark.real, which counts and reports it."""
    banned = {"skip", "skipif", "importorskip", "xfail"}
    found = [
        name(path, node.lineno)
        for path, node in nodes(python_files("tests"))
        if isinstance(node, ast.Attribute)
        and node.attr in banned
        and ast.unparse(node.value) in {"pytest", "pytest.mark"}
        and path.name != "reality.py"
    ]
    assert [] == found, "\n".join(found)


def test_every_lint_exception_says_which_and_why() -> None:
    """A noqa or type: ignore carries its code and, after it, the reason."""
    found = [
        name(path, number)
        for path in python_files("daemon", "tests", "config", "docs")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := EXCEPTION.search(line)) and not WITH_CODE_AND_REASON.match(match[2])
    ]
    assert [] == found, "\n".join(found)


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_a_lock_names_versions_and_hashes_and_no_place(lock: Path) -> None:
    """Every requirement is pinned and hashed, and no registry, index or address is named."""
    text = re.sub(r"(?m)^\s*#.*\n", "", lock.read_text())
    entries = re.split(r"\n(?=\S)", text.strip())
    loose = [e.split()[0] for e in entries if "==" not in e or "--hash=sha256:" not in e]
    assert [] == loose
    assert [] == re.findall(r"https?:|://|^-+[a-z-]+.*|file:|@ ", text, re.MULTILINE)


def test_both_locks_agree() -> None:
    """A package that both locks pin has one version."""
    pins = [dict(re.findall(r"^([\w.-]+)==(\S+)", p.read_text(), re.MULTILINE)) for p in LOCKS]
    assert {} == {
        package: (version, pins[1][package])
        for package, version in pins[0].items()
        if pins[1].get(package, version) != version
    }


def test_every_dependency_is_locked() -> None:
    """What pyproject.toml asks for is in the lock: a stale lock is found here, not by a user."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    locked = re.findall(r"^([\w.-]+)==", LOCKS[0].read_text(), re.MULTILINE)
    wanted = {re.split(r"[<>=~!;\[ ]", each)[0].lower().replace("_", "-") for each in asked}
    assert set() == wanted - set(locked)


def test_no_file_names_a_place_of_one_machine() -> None:
    """No tracked file contains a path that exists only where it was written."""
    found = [
        name(path, number)
        for path in tracked()
        if path.suffix not in BINARY and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert [] == found, "\n".join(found)


def test_the_top_level_is_the_prescribed_one() -> None:
    """Nothing is at the top that does not belong there, and nothing is missing."""
    assert TOP_LEVEL == {path.relative_to(REPO).parts[0] for path in tracked()}


def test_test_files_have_names_of_their_own() -> None:
    """No two test files share a name, so that a failure names one place."""
    names = [p.name for p in python_files("tests") if p.name.startswith("test_")]
    assert [] == sorted({n for n in names if names.count(n) > 1})


def test_what_cannot_be_had_has_a_reason() -> None:
    """Every entry of unobtainable.toml is a component that tests know, with a reason."""
    assert set() == set(unobtainable()) - set(COMPONENTS)
    assert all(reason.strip() for reason in unobtainable().values())


def test_the_generated_parts_of_the_docs_are_fresh() -> None:
    """The reference pages and diagrams are those that docs/generate.py writes today."""
    argv = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
