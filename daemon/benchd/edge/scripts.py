"""Files of users that recipes name: read when a recipe is accepted, and only from one directory.

Whoever may hand in recipes may have such a file run, and read it in the job's script. So it must be
meant for that: a regular file of at most 1 MiB below ``scripts_dir``, reached through no symbolic
link, that is a program or SQL by its suffix or its first line. A key or a password file is none.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from benchd.core.brought import MAX_SCRIPT
from benchd.errors import UserError
from benchd.plaintext import NotText, decode

SUFFIXES = (".py", ".sh", ".bash", ".sql")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Scripts:
    """The directory ``scripts_dir`` of the configuration."""

    def __init__(self, root: Path | None) -> None:
        """Take the directory; None: there is none, so nothing is found."""
        self.root = root

    def __call__(self, directory: str, name: str) -> str:
        """Return the text of a file; ``UserError`` says where it was looked for, or what it is."""
        if self.root is None:
            raise UserError(f"{name} cannot be looked for: no scripts_dir in the configuration")
        folders = [part for part in directory.split("/") if part not in {"", "."}]
        places = [[*folders, name], [name]] if folders else [[name]]
        tried = []
        for steps in places:
            path = self.root.joinpath(*steps)
            try:
                return _text(_read(self.root, steps), path)
            except FileNotFoundError:
                tried.append(str(path.parent))
            except OSError as error:
                raise UserError(f"{path} cannot be read: {_why(error)}") from error
        raise UserError(
            f"{name} is not in {' nor in '.join(tried)}; put it there, or name another directory "
            "as scripts_dir in the configuration"
        )


def _why(error: OSError) -> str:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return "a symbolic link, or no directory, is on the way to it"
    return (error.strerror or str(error)).lower()


def _read(root: Path, steps: list[str]) -> bytes:
    """Return the bytes of a file that is reached step by step, never through a link."""
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in steps[:-1]:
            if step == "..":
                raise OSError(errno.EACCES, "it leads out of scripts_dir")
            inner = os.open(step, _OPEN | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        with os.fdopen(os.open(steps[-1], _OPEN, dir_fd=here), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            if status.st_size > MAX_SCRIPT:
                raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, at most {MAX_SCRIPT}")
            return file.read(MAX_SCRIPT + 1)
    finally:
        with suppress(OSError):
            os.close(here)


def _text(data: bytes, path: Path) -> str:
    if path.suffix not in SUFFIXES and not data.startswith(b"#!"):
        raise UserError(
            f"{path} is no program by its name ({', '.join(SUFFIXES)}) nor by its first line (#!): "
            "it is not sent anywhere"
        )
    try:
        return decode(data, MAX_SCRIPT)
    except NotText as error:
        raise UserError(f"{path} cannot be used: {error.what}") from error
