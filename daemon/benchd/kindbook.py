"""The catalogue with what users add to it: files beside the configuration, and installed plug-ins.

``<directory of the configuration>/catalog/*.yaml`` are kinds in YAML (``benchd.catalog.own``). An
installed distribution may name a kind, or several, under the entry point group ``benchd.kinds``.
A kind that is wrong stops the start, with every mistake: a recipe would find out too late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from benchd.catalog import CATALOG, Catalog, ClientKind, Kind, ServiceKind
from benchd.catalog.faults import faults
from benchd.catalog.kinds import did_you_mean
from benchd.catalog.own import read_kind
from benchd.errors import UserError
from benchd.yamldoc import MAX_BYTES

GROUP = "benchd.kinds"
FOLDER = "catalog"


def installed() -> Iterable[EntryPoint]:
    """Return the plug-ins that are installed beside us."""
    return entry_points(group=GROUP)


def load(config: Path | None, plug_ins: Callable[[], Iterable[EntryPoint]] = installed) -> Catalog:
    """Return our kinds and those of the user, or raise ``UserError`` with every mistake."""
    wrong: list[str] = []
    found: list[tuple[str, Kind]] = []
    folder = None if config is None else config.resolve().parent / FOLDER
    for file in sorted(folder.glob("*.y*ml")) if folder is not None else ():
        try:
            found.append((str(file), read_kind(_read(file), str(file))))
        except UserError as error:
            wrong.append(str(error))
    for point in plug_ins():
        try:
            found += [(_origin(point), kind) for kind in _plugged(point)]
        except UserError as error:
            wrong.append(str(error))
    wrong += _clashes(found)
    if not wrong:  # a file that is wrong itself may be the one that is meant
        wrong += _strangers(found)
    if wrong:
        raise UserError("\n".join(wrong))
    return CATALOG.extended(kind for _, kind in found)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read the kind {file}: {error.strerror}") from error


def _origin(point: EntryPoint) -> str:
    name = point.dist.name if point.dist is not None else "an unknown distribution"
    return f"plug-in {point.name} of {name}"


def _plugged(point: EntryPoint) -> list[Kind]:
    origin = _origin(point)
    advice = "mend or uninstall it"
    try:
        named = point.load()
    except Exception as error:  # code of others: whatever it raises is its fault
        what = f"{origin} cannot be loaded: {type(error).__name__}: {error}; {advice}"
        raise UserError(what) from error
    kinds = list(named) if isinstance(named, Iterable) else [named]
    for kind in kinds:
        if not isinstance(kind, ServiceKind | ClientKind):
            what = f"{origin}: {kind!r} is neither a ServiceKind nor a ClientKind; {advice}"
            raise UserError(what)
        if wrong := faults(kind):
            raise UserError("\n".join(f"{origin}: kind {kind.name}: {what}" for what in wrong))
    return kinds


def _clashes(found: list[tuple[str, Kind]]) -> Iterator[str]:
    """Yield what has a name that is taken: a recipe would not know which is meant."""
    taken = dict.fromkeys([*CATALOG.services, *CATALOG.clients], "benchd itself")
    for origin, kind in found:
        if kind.name in taken:
            yield f"{origin}: a kind called {kind.name} comes from {taken[kind.name]}: rename it"
        taken.setdefault(kind.name, origin)


def _strangers(found: list[tuple[str, Kind]]) -> Iterator[str]:
    """Yield what names a kind of service that there is not: nobody would ever measure it."""
    services = [
        *CATALOG.services,
        *(kind.name for _, kind in found if isinstance(kind, ServiceKind)),
    ]
    for origin, kind in found:
        for name in kind.default_for if isinstance(kind, ClientKind) else ():
            if name not in services:
                near = did_you_mean(name, services)
                yield f"{origin}: default_for: no kind of service is called {name!r}{near}"
