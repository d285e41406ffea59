"""Where the database may lie: a local disk, in a directory of our own."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

from benchd.errors import StoreFull, StoreUnusable

MOUNTINFO = Path("/proc/self/mountinfo")

# WAL needs shared memory and reliable locks between processes: file systems that reach over a
# network promise neither. Names as the kernel writes them in mountinfo.
NETWORK_TYPES = frozenset({
    "nfs", "nfs3", "nfs4", "lustre", "lustre_lite", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs",
    "gpfs", "mmfs", "beegfs", "fhgfs", "panfs", "ceph", "wekafs", "afs", "coda", "orangefs",
    "pvfs2", "ocfs2", "gfs", "gfs2", "glusterfs", "vxfs", "fuse.ceph", "fuse.sshfs",
    "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.juicefs", "fuse.davfs2",
})  # fmt: skip
# What a write says when there is no room: the disk, the user's quota, the process's file limit.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Bytes of the trial write: more than one page of SQLite, less than anybody misses.
_TRIAL = 65_536


def network_type(path: Path, mountinfo: str) -> str | None:
    """Return the type of the network file system that ``path`` is on, None for a local one.

    ``mountinfo`` is the text of /proc/self/mountinfo; of the mount points above the path the
    longest counts, and of mounts upon the same point the last.
    """
    best, found = -1, ""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        words = before.split()
        if not separator or len(words) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), words[4]))
        if (path == point or point in path.parents) and len(point.parts) >= best:
            best, found = len(point.parts), after.split()[0]
    return found if found.lower() in NETWORK_TYPES else None


def prepare(path: Path, mountinfo: Path = MOUNTINFO) -> None:
    """Make the directory (0700) and an empty file (0600) for the database, or say why not."""
    directory = path.parent
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared = network_type(directory.resolve(), _text(mountinfo))
        if shared is not None:
            message = (
                f"state directory {directory} is on a network file system ({shared}): the database "
                "would be damaged there; set state_dir to a directory on a local disk"
            )
            raise StoreUnusable(message)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        if error.errno in NO_ROOM:
            raise full(directory) from error
        message = (
            f"state directory {directory} cannot be used ({error}): "
            "make it writable for the user benchd runs as, or set another state_dir"
        )
        raise StoreUnusable(message) from error


def _text(mountinfo: Path) -> str:
    try:
        return mountinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no /proc: nothing to refuse by
        return ""


def full(directory: Path) -> StoreFull:
    """Return the error that says there is no room."""
    return StoreFull(
        f"no space left for the database in {directory} (disk or quota full): nothing was written; "
        "make room there, benchd goes on by itself"
    )


def is_full(directory: Path) -> bool:
    """Tell whether a small write fails for want of room.

    SQLite says "disk I/O error" where the quota, not the disk, is used up; this tells them apart.
    """
    try:
        with tempfile.TemporaryFile(dir=directory) as trial:
            trial.write(b"\0" * _TRIAL)
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        return error.errno in NO_ROOM
    return False
