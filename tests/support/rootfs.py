"""A container image that can be had anywhere: a directory with busybox and nothing of this host."""

from __future__ import annotations

import shutil
from pathlib import Path

PROGRAMS = "sh env cat ls echo pwd sleep id touch test printf nc seq"


def busybox_image(at: Path) -> Path:
    """Make the image's directory from this machine's static busybox; return it."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    for folder in ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var/tmp"):
        (at / folder).mkdir(parents=True)
    shutil.copy(busybox, at / "bin" / "busybox")
    for name in PROGRAMS.split():
        (at / "bin" / name).symlink_to("busybox")
    for name in ("passwd", "group", "hosts", "resolv.conf", "image"):
        (at / "etc" / name).write_text("")
    (at / "etc" / "image").write_text("busybox\n")
    (at / "ch").mkdir()
    (at / "ch" / "environment").write_text("IMAGE_SAYS=hello $HOME\nPATH=/bin\n")
    return at
