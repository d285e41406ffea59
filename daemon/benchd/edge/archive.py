"""What a run leaves on this machine: recipe, scripts, logs, raw files, results, reports.

Everything here can be made again from the store and the cluster; it is for people, so a file that
cannot be written is said and costs nothing else. Files are written beside their name and renamed,
so that nobody reads half of one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from benchd.core.model import Job, Run

LAST_WORDS = 4096  # bytes at the end of a log in which its last line is looked for
LINE_SHOWN = 300  # characters of that line that are quoted


class Archive:
    """The directory ``<state>/runs``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, run_id: str) -> Path:
        """Return the directory of a run."""
        return self.root / run_id

    def keep_recipe(self, run: Run, jobs: tuple[Job, ...]) -> str | None:
        """Write the recipe and the scripts of a new run; say what could not be written."""
        folder = self.folder(run.id)
        recipe = _write(folder / "recipe.yaml", run.recipe.encode())
        return _first([recipe, *map(self.keep_script, jobs)])

    def keep_script(self, job: Job) -> str | None:
        """Write the script of a job; say why it could not be written."""
        path = self.folder(job.run_id) / "scripts" / f"{job.token}.sh"
        return _write(path, job.script.encode())

    def keep_files(self, job: Job, files: Mapping[str, bytes]) -> list[str]:
        """Write what a job brought home: its output to ``logs/``, the rest to ``raw/``.

        Return a sentence for each file that could not be written.
        """
        folder = self.folder(job.run_id)
        said: list[str | None] = []
        for name, data in files.items():
            if name in ("out", "err"):
                said.append(_write(folder / "logs" / f"{job.token}.{name}", data))
            else:
                said.append(_write(folder / "raw" / job.token / _safe(name), data))
        return [sentence for sentence in said if sentence is not None]

    def output(self, job: Job, stream: str) -> bytes | None:
        """Return what came home of a job's output: its end at least; None when nothing did."""
        try:
            return (self.folder(job.run_id) / "logs" / f"{job.token}.{stream}").read_bytes()
        except OSError:
            return None

    def last_words(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Return token -> the last line on stderr, of those jobs whose output came home."""
        said: dict[str, str] = {}
        for job in jobs:
            path = self.folder(job.run_id) / "logs" / f"{job.token}.err"
            with suppress(OSError):
                if line := _last_line(path):
                    said[job.token] = line
        return said

    def keep_result(self, job: Job, document: str) -> str | None:
        """Write a result document; say why it could not be written."""
        path = self.folder(job.run_id) / "results" / f"{job.token}.json"
        return _write(path, document.encode())

    def keep_report(self, run: Run, html: str, markdown: str) -> str | None:
        """Write both forms of the report; say what could not be written."""
        folder = self.folder(run.id)
        return _first(
            [
                _write(folder / "report.md", markdown.encode()),
                _write(folder / "report.html", html.encode()),
            ]
        )


def _first(said: Sequence[str | None]) -> str | None:
    """Return the first complaint, and how many more there are."""
    complaints = [sentence for sentence in said if sentence is not None]
    more = f" (and {len(complaints) - 1} more files)" if len(complaints) > 1 else ""
    return complaints[0] + more if complaints else None


def _last_line(path: Path) -> str:
    """Return the last line of a file that says something, without control characters."""
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - LAST_WORDS, 0))
        lines = file.read().decode(errors="replace").splitlines()
    words = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
    return "".join(c for c in words if c.isprintable())[:LINE_SHOWN]


def _safe(name: str) -> Path:
    """Return a relative path without steps upwards, whatever the far side called it."""
    parts = [p for p in PurePosixPath(name).parts if p not in ("/", "..", ".", "")]
    return Path(*parts) if parts else Path("unnamed")


def _write(path: Path, data: bytes) -> str | None:
    """Write a file whole or not at all; return why it could not be written."""
    # Short, whatever the name: with its own suffix a long name would be too long for a directory.
    short = hashlib.sha256(path.name.encode(errors="replace")).hexdigest()[:16]
    beside = path.with_name(f".{short}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
        with suppress(OSError, ValueError):  # half a file is worth less than its room
            beside.unlink()
        return f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}"
    return None
