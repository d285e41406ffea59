"""Files that recipes name are read from one directory only, and only what is meant to be run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchd.edge.scripts import Scripts
from benchd.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a scripts_dir with a program in it and things that are none."""
    root = tmp_path / "scripts"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "bench.py").write_text("print(1)\n")
    (root / "tool").write_text("#!/bin/sh\ntrue\n")
    (root / "id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (root / "big.py").write_bytes(b"#" * (1024 * 1024 + 1))
    (root / "binary.py").write_bytes(b"\x7fELF\x00\x01")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("secret = 1\n")
    (root / "link.py").symlink_to(outside / "secret.py")
    (root / "way").symlink_to(outside)
    os.mkfifo(root / "pipe.py")
    return root


@pytest.mark.parametrize(
    ("directory", "name", "text"),
    [
        ("inner/", "bench.py", "print(1)\n"),
        ("./inner", "bench.py", "print(1)\n"),
        ("", "tool", "#!/bin/sh\ntrue\n"),
        ("benchmark_scripts", "tool", "#!/bin/sh\ntrue\n"),
    ],
)
def test_a_program_is_found(folder: Path, directory: str, name: str, text: str) -> None:
    """In the directory that the recipe names, else in scripts_dir itself."""
    assert text == Scripts(folder)(directory, name)


@pytest.mark.parametrize(
    ("directory", "name", "said"),
    [
        ("inner", "other.py", "other.py is not in {root}/inner nor in {root}; put it there"),
        ("", "link.py", "{root}/link.py cannot be read: a symbolic link"),
        ("way", "secret.py", "{root}/way/secret.py cannot be read: a symbolic link"),
        ("../outside", "secret.py", "cannot be read: it leads out of scripts_dir"),
        ("", "id_ed25519", "{root}/id_ed25519 is no program by its name"),
        ("", "big.py", "it has 1048577 bytes, at most 1048576"),
        ("", "binary.py", "this is not text (it looks like an ELF program"),
        ("", "pipe.py", "it is no regular file"),
        ("", "inner", "{root}/inner cannot be read: is a directory"),
    ],
)
def test_anything_else_is_not_sent(folder: Path, directory: str, name: str, said: str) -> None:
    """The message says where it was looked for, or what is wrong with it."""
    with pytest.raises(UserError) as caught:
        Scripts(folder)(directory, name)
    assert said.format(root=folder) in str(caught.value)


def test_without_a_directory_nothing_is_found() -> None:
    """A daemon whose configuration came from no file has no directory beside it."""
    with pytest.raises(UserError, match="no scripts_dir in the configuration"):
        Scripts(None)("", "bench.py")
