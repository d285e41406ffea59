"""The recipe folder: what was dropped, once it is complete; and where it goes afterwards.

A file is offered when it looked the same in two scans (same size, modification time and inode) and
nobody has it open for writing: a slow copy may pause for longer than we do. Whatever lies there was
put there by somebody else, so nothing is opened that could block or lead elsewhere (FIFO, device,
symbolic link), nothing large is read, and what cannot be a recipe is offered with a ``problem`` for
the caller to reject. Moving a file is the last step: after a crash before it, the same drop gives
the same run id, and the store already knows the run.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import signal
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from benchd.edge.store.place import NO_ROOM
from benchd.errors import StoreError, StoreFull

log = structlog.get_logger()

SUFFIXES = (".yaml", ".yml")
# Bytes a recipe may have: a generous sweep is 10 KiB.
SIZE_LIMIT = 256 * 1024
# Drops offered by one scan; the rest of a storm waits for the next.
BATCH = 200
# Files that one line of the log names when they are no recipes; there may be a whole disk of them.
IGNORED_SHOWN = 10
# Characters of a run id: 50 bits, against two drops of one installation.
RUN_ID_LENGTH = 10
# Bytes of a name that is kept; a file name may have 255, and a prefix and a suffix are added.
_NAME_LIMIT = 200
# Extended attribute with the uid a spooled recipe was submitted by; believed only on files that
# belong to the user benchd runs as, who alone can have set it there.
_OWNER = "user.benchd.uid"
_OURS = ("accepted", "rejected")
_DRAFT = ".spool-"
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = (
    (stat.S_ISLNK, "is a symbolic link"),
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISFIFO, "is a FIFO"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)

Signature = tuple[int, int, int]  # size, mtime_ns, inode: what tells two versions apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """One file as it was found. With a ``problem`` there is no data, and no run can come of it."""

    path: Path
    name: str  # safe to print and to store
    data: bytes
    sha256: str
    mtime_ns: int
    uid: int  # whose file it is
    signature: Signature
    problem: str | None = None
    is_rewritten: bool = False  # ``data`` is what may be kept of the file, not what stands in it


def run_id(instance: str, drop: Drop, cluster: str = "") -> str:
    """Return the id of the run that this drop is: the same drop is the same run, for ever."""
    identity = "\0".join((instance, drop.name, drop.sha256, str(drop.mtime_ns), cluster))
    digest = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:RUN_ID_LENGTH]


def safe_name(name: str | bytes) -> str:
    """Return a file name with everything spelled out that is not printable UTF-8, and not too long.

    The end of a name that is too long is kept: it has the suffix.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    while len(text.encode()) > _NAME_LIMIT:
        text = text[1:]
    return text


class Inbox:
    """One folder with its ``accepted/`` and ``rejected/``. All file work happens in a thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._seen: dict[str, Signature] = {}
        self._stuck: dict[str, Signature] = {}  # told once, cannot be moved away
        self._others: frozenset[str] = frozenset()  # what the last scan saw beside recipes
        self._told: frozenset[str] = frozenset()  # and what of it the log has told of
        self._silent = False  # that the folder cannot be read was said
        self.is_moving = False  # the last scan saw a file that was new or still being written

    async def scan(self) -> list[Drop]:
        """Return what is complete and not offered in vain before; at most BATCH of them."""
        return await asyncio.to_thread(self._scan)

    async def accept(self, drop: Drop, run_ids: Sequence[str]) -> None:
        """Move the file of recorded runs to ``accepted/<run>-<name>``, as far as it may be kept."""
        target = self.directory / "accepted" / f"{'+'.join(run_ids)}-{drop.name}"
        await asyncio.to_thread(self._move, drop, target)

    async def reject(self, drop: Drop, message: str) -> None:
        """Move the file to ``rejected/``, with the message beside it in ``<name>.error.txt``."""
        await asyncio.to_thread(self._reject, drop, message)

    async def spool(self, name: str, data: bytes, uid: int) -> Drop:
        """Write what came over the socket durably into the folder, and offer it at once."""
        try:
            return await asyncio.to_thread(self._spool, name, data, uid)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise StoreFull(
                    f"no room for the recipe in {self.directory} (disk or quota full): nothing "
                    "was taken in; make room there, then submit it again"
                ) from error
            raise StoreError(
                f"cannot write the recipe into {self.directory} ({error.strerror}): it must be a "
                "directory that the user benchd runs as can write"
            ) from error

    # --- in the thread ------------------------------------------------------------------------

    def _scan(self) -> list[Drop]:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found, others = _listed(self.directory)
            self._silent = False
        except OSError as error:
            if not self._silent:
                log.warning("inbox.unreadable", directory=str(self.directory), error=str(error))
            self._silent = True
            return []
        self._tell_of(others)
        before, self._seen = self._seen, {n: _signature(s) for n, s in found.items()}
        self.is_moving = any(before.get(name) != seen for name, seen in self._seen.items())
        self._stuck = {n: s for n, s in self._stuck.items() if self._seen.get(n) == s}
        complete = (
            name
            for name in sorted(found, key=lambda n: (found[n].st_mtime_ns, n))
            if before.get(name) == self._seen[name] and name not in self._stuck
        )
        drops = (self._drop(name, found[name]) for name in complete)
        return list(itertools.islice((drop for drop in drops if drop is not None), BATCH))

    def _tell_of(self, others: frozenset[str]) -> None:
        """Log once what lies there and is no recipe by its name; what passes by is not told of."""
        stay = others & self._others
        news = sorted(safe_name(name) for name in stay - self._told)
        self._others, self._told = others, stay
        if news:
            log.warning(
                "inbox.ignored",
                files=news[:IGNORED_SHOWN],
                more=max(0, len(news) - IGNORED_SHOWN),
                why="a recipe is named *.yaml or *.yml, with no . ~ or # in front",
            )

    def _drop(self, name: str, status: os.stat_result) -> Drop | None:
        problem = _problem(status)
        data = b""
        if problem is None:
            try:
                read = _read(self.directory / name, status)
            except FileNotFoundError:
                return None
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
            else:
                if read is None:  # somebody is at it: look again
                    del self._seen[name]
                    return None
                data, status = read
        return Drop(
            path=self.directory / name,
            name=safe_name(name),
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            mtime_ns=status.st_mtime_ns,
            uid=_owner(self.directory / name, status),
            signature=_signature(status),
            problem=problem,
        )

    def _reject(self, drop: Drop, message: str) -> None:
        if not _is_there(drop):
            return
        try:
            target = _reserve(self.directory / "rejected", drop.name, message)
        except OSError as error:
            self._give_up(drop, error)
        else:
            self._move(drop, target)

    def _move(self, drop: Drop, target: Path) -> None:
        try:
            if _is_there(drop):
                target.parent.mkdir(mode=0o755, exist_ok=True)
                if drop.is_rewritten:
                    _put(target, drop.data)
                    drop.path.unlink()
                else:
                    drop.path.rename(target)
        except OSError as error:
            self._give_up(drop, error)

    def _give_up(self, drop: Drop, error: OSError) -> None:
        self._stuck[drop.path.name] = drop.signature
        log.warning("inbox.stuck", file=drop.name, error=str(error))

    def _spool(self, name: str, data: bytes, uid: int) -> Drop:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        base = safe_name(Path(name).name).lstrip(".~#") or "recipe.yaml"
        if not _is_recipe(base):
            base += SUFFIXES[0]
        draft = self.directory / f"{_DRAFT}{os.getpid()}-{hashlib.sha256(data).hexdigest()[:16]}"
        try:
            status = _drafted(draft, data, uid)
            path = next(p for p in _names(self.directory, base) if not os.path.lexists(p))
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        _sync(self.directory)
        return Drop(
            path=path,
            name=path.name,
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            mtime_ns=status.st_mtime_ns,
            uid=uid,
            signature=_signature(status),
        )


def _drafted(draft: Path, data: bytes, uid: int) -> os.stat_result:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with contextlib.suppress(OSError):  # not every file system has attributes
            os.setxattr(file.fileno(), _OWNER, str(uid).encode())
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno())


def _put(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def _is_recipe(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith((".", "~", "#"))


def _listed(directory: Path) -> tuple[dict[str, os.stat_result], frozenset[str]]:
    """Return the recipes by name, and the names of what is neither a recipe nor ours."""
    found, others = {}, set()
    with os.scandir(directory) as entries:
        for entry in entries:
            if _is_recipe(entry.name):
                with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                    found[entry.name] = entry.stat(follow_symlinks=False)
            elif entry.name not in _OURS and not entry.name.startswith(_DRAFT):
                others.add(entry.name)
    return found, frozenset(others)


def _is_there(drop: Drop) -> bool:
    """Tell whether the file is what it was; another version under its name is another drop."""
    try:
        return _signature(os.lstat(drop.path)) == drop.signature
    except FileNotFoundError:
        return False


def _signature(status: os.stat_result) -> Signature:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _problem(status: os.stat_result) -> str | None:
    """Return why this cannot be a recipe, as far as that shows without opening it."""
    for is_kind, what in _KINDS:
        if is_kind(status.st_mode):
            return f"{what}, not a file: put the recipe itself into the inbox"
    if status.st_nlink != 1:
        return f"has {status.st_nlink} hard links: copy the recipe instead of linking it"
    if status.st_size > SIZE_LIMIT:
        return f"is too large: {status.st_size} bytes, a recipe may have {SIZE_LIMIT}"
    return None


def _read(path: Path, seen: os.stat_result) -> tuple[bytes, os.stat_result] | None:
    """Return the content and its status, or None if it is not the file that was seen."""
    try:
        descriptor = os.open(path, _OPEN)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # exchanged since it was seen
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if _signature(before) != _signature(seen) or _problem(before) is not None:
            return None
        if _is_being_written(descriptor):
            return None
        data = file.read(SIZE_LIMIT + 1)
        after = os.fstat(descriptor)
    if _signature(after) != _signature(before) or len(data) != after.st_size:
        return None
    return data, after


def _is_being_written(descriptor: int) -> bool:
    """Tell whether somebody has the file open for writing, as far as the kernel tells us.

    It grants a read lease on a file that nobody writes, to the file's owner and to root. Should
    somebody begin to write while we hold it, it sends a signal: one that does nothing by itself.
    """
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN  # others: not our file, or no such thing on this disk
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _owner(path: Path, status: os.stat_result) -> int:
    if status.st_uid == os.geteuid():
        with contextlib.suppress(OSError, ValueError):
            return int(os.getxattr(path, _OWNER, follow_symlinks=False))
    return status.st_uid


def _names(directory: Path, name: str) -> Iterator[Path]:
    """Return the name itself, then the name with a counter before its suffix."""
    yield directory / name
    stem, dot, suffix = name.rpartition(".")
    for count in itertools.count(1):
        yield directory / f"{stem}.{count}{dot}{suffix}"


def _reserve(directory: Path, name: str, message: str) -> Path:
    """Write the message under a name that nothing there has yet; return where the file goes."""
    directory.mkdir(mode=0o755, exist_ok=True)
    text = message.encode("utf-8", "backslashreplace").rstrip() + b"\n"
    for target in _names(directory, name):
        if os.path.lexists(target):
            continue
        try:
            with target.with_name(f"{target.name}.error.txt").open("xb") as file:
                file.write(text)
        except FileExistsError:
            continue
        return target
    raise AssertionError  # the counter has no end


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
