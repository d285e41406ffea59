"""Containers, whatever the runtime: where an image is, how it is made, how a command is run in it.

What is particular to each runtime is in ``benchd.core.runtimes``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from shlex import quote

from benchd.config import RuntimeSettings
from benchd.core.runtimes import KINDS, Box, Mount
from benchd.core.spec import Container

_LEADING = re.compile(
    r"(?:~|\$(?P<bare>[A-Za-z_]\w*)|\$\{(?P<braced>[A-Za-z_]\w*)\})(?=[/:]|\Z)", re.ASCII
)
_SCHEME = re.compile(r"[a-z][a-z-]*://")


def shell_path(path: str) -> str:
    """Return shell for a path: only a leading ``~``, ``$NAME`` or ``${NAME}`` is expanded."""
    match = _LEADING.match(path)
    if match is None:
        return quote(path)
    name = match["bare"] or match["braced"] or "HOME"
    rest = path[match.end() :]
    return f'"${{{name}:?is not set on this node}}"' + (quote(rest) if rest else "")


def mount(bind: str) -> Mount:
    """Return what ``SOURCE[:TARGET[:ro]]`` of a recipe means."""
    origin, _, rest = bind.partition(":")
    target, _, options = rest.partition(":")
    word = shell_path(origin)
    read_only = "ro" in options.split(",")
    return Mount(word, quote(target) if target else word, read_only, shell_path(bind))


def source(container: Container) -> str | None:
    """Return where an image comes from; ``redis:7`` means Docker's registry."""
    text = container.docker_source
    if text is not None and _SCHEME.match(text) is None:
        return f"docker://{text}"
    return text


def image_word(runtime: RuntimeSettings, container: Container | None) -> str | None:
    """Return the word of shell that is the image's path; None when the job runs on the host."""
    if runtime.name == "none" or container is None:
        return None
    if container.image_path is not None:
        return shell_path(container.image_path)
    origin = source(container)
    if origin is None:
        return None
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", origin.partition("://")[2])[-100:].strip("-.")
    name = f"{plain}-{sha256(origin.encode()).hexdigest()[:8]}{suffix(runtime)}"
    folder = '"${JOB%/*/*/*/*}"/images' if runtime.cache is None else shell_path(runtime.cache)
    return f"{folder}/{name}"


def suffix(runtime: RuntimeSettings) -> str:
    """Return how the name of an image file ends; empty where images are directories."""
    return KINDS[runtime.name].suffix


def make_commands(runtime: RuntimeSettings, container: Container) -> list[str]:
    """Return lines of shell that make the image as ``$benchd_part``.

    The status of the last line is that of the whole; ``$benchd_image`` is the path it will have.
    """
    origin = source(container)
    if origin is None:
        raise ValueError("nothing says what the image is to be made from: no docker_source")
    return KINDS[runtime.name].make(origin)


def program(runtime: RuntimeSettings) -> str:
    """Return the program that a node must have to run containers."""
    return KINDS[runtime.name].runs


def maker(runtime: RuntimeSettings) -> str:
    """Return the program that a node must have to make images."""
    return KINDS[runtime.name].makes


def is_missing(runtime: RuntimeSettings, what: str) -> str:
    """Return the sentence that says that a program of the runtime is not there."""
    hint = "check runtime.module" if runtime.module else "set runtime.module"
    return f"{what} is not on this node: {hint} in the cluster's configuration"


def functions(runtime: RuntimeSettings) -> list[str]:
    """Return the functions that ``opening`` and ``run_words`` rely on.

    ``benchd_enter`` is called in the process that becomes the command.
    """
    kind = KINDS[runtime.name]
    found = []
    for name, lines in (("benchd_open", kind.open), ("benchd_enter", kind.enter)):
        found += [f"{name}() {{", *(f"    {line}" for line in lines), "}"] if lines else []
    return found


def opening(box: Box, image: str) -> list[str]:
    """Return the lines that make an image usable on this node."""
    if not KINDS[box.runtime.name].open:
        return []
    return [" ".join(["benchd_open", image, *(mount.target for mount in box.mounts)])]


def leaving(runtime: RuntimeSettings) -> tuple[str, ...]:
    """Return lines of shell that take away what the runtime may leave on a node."""
    return KINDS[runtime.name].leave


def run_words(box: Box, image: str, words: Iterable[str]) -> str:
    """Return a command that runs ``words`` in the image; ``benchd_enter`` goes before it."""
    return " ".join([*KINDS[box.runtime.name].words(box, image), *words])
