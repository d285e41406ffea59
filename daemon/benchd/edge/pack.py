"""Pack what is shipped to compute nodes: one zipapp per tool, the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from benchd.errors import BenchdError

# Zipapps that kinds may ask for.
SHIPPED = ("exporter", "llm", "load", "relay", "spark")
# The first moment a zip entry can have: file times of the installation must not change the hash.
_EPOCH = (1980, 1, 1, 0, 0, 0)
# A third of the size; a daemon's zlib gives the same bytes each time. Another zlib's may differ:
# then the hash does, and with it the name on the cluster.
_HARDEST = 9
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = "import sys\n\nfrom {package}.cli import main\n\nsys.exit(main())\n"


@dataclass(frozen=True, slots=True)
class Package:
    """One zipapp, and the name under which it lies on a cluster."""

    name: str
    data: bytes
    sha256: str

    @property
    def file_name(self) -> str:
        """Return the name that changes when the content does."""
        return f"{self.name}-{self.sha256[:16]}.pyz"


@cache
def build(name: str) -> Package:
    """Pack ``benchd.ship.<name>``; packed once per process."""
    source = resources.files("benchd.ship").joinpath(name)
    modules = {
        entry.name: entry.read_bytes() for entry in _entries(source) if entry.name.endswith(".py")
    }
    if "cli.py" not in modules:
        raise BenchdError(f"nothing called {name!r} can be shipped: benchd/ship/{name}/cli.py")
    # Its own name in the archive: a module of the site must not stand in its way.
    package = f"benchd_{name}"
    buffer = io.BytesIO(_SHEBANG)
    buffer.seek(len(_SHEBANG))
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, "__main__.py", _MAIN.format(package=package).encode())
        for module in sorted(modules):
            _add(archive, f"{package}/{module}", modules[module])
    data = buffer.getvalue()
    return Package(name=name, data=data, sha256=hashlib.sha256(data).hexdigest())


class Shelf:
    """Keeps what scripts refer to: a run accepted by one release may be submitted by the next."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fill(self) -> None:
        """Keep what this release ships; a disk that is full is no reason not to start."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for package in map(build, SHIPPED):
                kept = self._folder / package.file_name
                if self._kept(package.file_name) is None:  # or cut short, when power was lost
                    part = kept.with_suffix(".part")
                    part.write_bytes(package.data)
                    part.rename(kept)

    def find(self, file_name: str) -> Package | None:
        """Return what a script calls so, or None when no release that ran here shipped it."""
        return find(file_name) or self._kept(file_name)

    def _kept(self, file_name: str) -> Package | None:
        try:
            data = (self._folder / file_name).read_bytes()
        except OSError:
            return None
        name = file_name.rpartition("-")[0]
        package = Package(name=name, data=data, sha256=hashlib.sha256(data).hexdigest())
        return package if package.file_name == file_name else None


def find(file_name: str) -> Package | None:
    """Return what this release ships under a name, or None."""
    return next((each for each in map(build, SHIPPED) if each.file_name == file_name), None)


def _entries(source: Traversable) -> list[Traversable]:
    return list(source.iterdir()) if source.is_dir() else []


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    info.create_system = 3  # Unix: the default depends on the machine
    archive.writestr(info, data, zipfile.ZIP_DEFLATED, _HARDEST)
