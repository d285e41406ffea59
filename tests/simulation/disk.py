"""The shared file system of a virtual cluster: directories, files, symbolic links, as POSIX has it.

``mkdir`` and ``symlink`` are atomic and exclusive, ``rename`` replaces. The login node may see what
a compute node did only later (attribute caches): names and contents that it *reads* are then those
of before, while what it *makes* is decided by the file server, at once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class File:
    """A regular file; replaced as a whole whenever it is written."""

    data: bytes
    mtime: float


@dataclass(slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(slots=True)
class Dir:
    """A directory. ``late``: what the login node still sees of a name, and until when."""

    mtime: float = 0.0
    entries: dict[str, Entry] = field(default_factory=dict)
    late: dict[str, tuple[float, Entry | None]] = field(default_factory=dict)


Entry = File | Link | Dir


def fault(number: int) -> OSError:
    """Return an error with the words the C library has for it."""
    return OSError(number, os.strerror(number))


class Disk:
    """A file system."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock  # the file server's
        self.root = Dir()
        # Why nothing can be written, if so: "blocks" (no byte more), "names" (no new name either).
        self.full = ""
        self.full_errno = errno.ENOSPC
        self.is_mounted = True

    # --- finding --------------------------------------------------------------------------------

    def entry(self, path: str, *, cached: bool = False) -> Entry | None:
        """Return what is at a path, not following a last link. ``cached``: as the login node."""
        at: Entry | None = self.root
        for name in path.split("/"):
            if not name:
                continue
            if not isinstance(at, Dir):
                return None
            if cached and name in at.late:
                until, before = at.late[name]
                if self._clock() < until:
                    at = before
                    continue
                del at.late[name]
            at = at.entries.get(name)
        return at

    def is_dir(self, path: str, *, cached: bool = False) -> bool:
        """Tell what ``[ -d ]`` tells."""
        return isinstance(self.entry(path, cached=cached), Dir)

    def read(self, path: str, *, cached: bool = False) -> bytes:
        """Return a file's content."""
        found = self.entry(path, cached=cached)
        if isinstance(found, File):
            return found.data
        raise fault(errno.EISDIR if isinstance(found, Dir) else errno.ENOENT)

    def file(self, path: str, *, cached: bool = False) -> File | None:
        """Return a regular file, if one is there."""
        found = self.entry(path, cached=cached)
        return found if isinstance(found, File) else None

    def readlink(self, path: str, *, cached: bool = False) -> str | None:
        """Return where a link points, if one is there."""
        found = self.entry(path, cached=cached)
        return found.target if isinstance(found, Link) else None

    def mtime(self, path: str, *, cached: bool = False) -> float:
        """Return when a file or directory was last changed, by the file server's clock."""
        found = self.entry(path, cached=cached)
        return found.mtime if isinstance(found, File | Dir) else 0.0

    def walk(self, path: str, *, cached: bool = False) -> Iterator[tuple[str, Entry]]:
        """Yield what is at a path and below it, parents first, by name."""
        found = self.entry(path, cached=cached)
        if found is None:
            return
        yield path, found
        if isinstance(found, Dir):
            for name in sorted(found.entries.keys() | found.late.keys()):
                yield from self.walk(f"{path}/{name}", cached=cached)

    # --- changing -------------------------------------------------------------------------------

    def mkdir(self, path: str, *, late: float = 0.0) -> None:
        """Make one directory; ``FileExistsError`` when the name is taken."""
        parent, name = self._parent(path)
        if name in parent.entries:
            raise fault(errno.EEXIST)
        self._new_name(parent, name)
        self._put(parent, name, Dir(self._clock()), late)

    def make_dirs(self, path: str, *, late: float = 0.0) -> None:
        """Make a directory and what is missing above it, as ``mkdir -p`` does."""
        missing = []
        while path and not isinstance(found := self.entry(path), Dir):
            if found is not None:
                raise fault(errno.EEXIST if not missing else errno.ENOTDIR)
            missing.append(path)
            path = path.rpartition("/")[0]
        for each in reversed(missing):
            try:
                self.mkdir(each, late=late)
            except OSError as error:
                error.filename = each
                raise

    def symlink(self, target: str, path: str, *, late: float = 0.0) -> None:
        """Make a link; ``FileExistsError`` when the name is taken: by whatever."""
        parent, name = self._parent(path)
        if name in parent.entries:
            raise fault(errno.EEXIST)
        self._new_name(parent, name)
        self._put(parent, name, Link(target), late)

    def write(self, path: str, data: bytes, *, late: float = 0.0, append: bool = False) -> None:
        """Write a file whole, or add to it. Without room for bytes an empty one is left."""
        parent, name = self._parent(path)
        old = parent.entries.get(name)
        if isinstance(old, Dir):
            raise fault(errno.EISDIR)
        if old is None:
            self._new_name(parent, name)
        before = old.data if append and isinstance(old, File) else b""
        if data and self.full:
            self._put(parent, name, File(before, self._clock()), late)
            raise fault(self.full_errno)
        self._put(parent, name, File(before + data, self._clock()), late)

    def touch(self, path: str) -> None:
        """Set a file's or directory's time, if it is there."""
        found = self.entry(path)
        if isinstance(found, File | Dir):
            found.mtime = self._clock()

    def rename(self, old: str, new: str, *, late: float = 0.0) -> None:
        """Give what is at ``old`` the name ``new``, as ``mv -T`` does."""
        source, name = self._parent(old)
        target, other = self._parent(new)
        moved, there = source.entries.get(name), target.entries.get(other)
        if moved is None:
            raise fault(errno.ENOENT)
        if isinstance(there, Dir) and not isinstance(moved, Dir):
            raise fault(errno.EISDIR)
        if isinstance(there, Dir) and there.entries:
            raise fault(errno.ENOTEMPTY)
        if there is not None and not isinstance(there, Dir) and isinstance(moved, Dir):
            raise fault(errno.ENOTDIR)
        self._put(target, other, moved, late)
        self._take(source, name, late)

    def unlink(self, path: str, *, late: float = 0.0) -> None:
        """Remove a file or a link."""
        parent, name = self._parent(path)
        if name not in parent.entries:
            raise fault(errno.ENOENT)
        self._take(parent, name, late)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        found = self.entry(path)
        if not isinstance(found, Dir):
            raise fault(errno.ENOENT if found is None else errno.ENOTDIR)
        if found.entries:
            raise fault(errno.ENOTEMPTY)
        self.unlink(path)

    def remove(self, path: str) -> None:
        """Remove whatever is there, and all below it, as ``rm -rf`` does."""
        if self.entry(path) is not None:
            self.unlink(path)

    def _parent(self, path: str) -> tuple[Dir, str]:
        folder, _, name = path.rpartition("/")
        parent = self.entry(folder)
        if not isinstance(parent, Dir):
            raise fault(errno.ENOENT if parent is None else errno.ENOTDIR)
        return parent, name

    def _new_name(self, parent: Dir, name: str) -> None:
        if self.full == "names":
            raise fault(self.full_errno)

    def _put(self, parent: Dir, name: str, entry: Entry, late: float) -> None:
        self._remember(parent, name, late)
        parent.entries[name] = entry
        parent.mtime = self._clock()

    def _take(self, parent: Dir, name: str, late: float) -> None:
        self._remember(parent, name, late)
        del parent.entries[name]

    def _remember(self, parent: Dir, name: str, late: float) -> None:
        """Keep for the login node what a name was before, while its cache believes so."""
        now = self._clock()
        until, before = parent.late.get(name, (0.0, None))
        if late <= 0.0:
            # The login node's own change, or one it hears of at once: nothing old is left of it.
            parent.late.pop(name, None)
        elif now < until:
            parent.late[name] = (max(until, now + late), before)
        else:
            parent.late[name] = (now + late, parent.entries.get(name))
