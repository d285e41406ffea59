"""What a run leaves on this machine: recipe, scripts, logs, raw files, results, reports.

Everything here can be made again from the store and the cluster; it is for people. Files are
written beside their name and renamed, so that nobody reads half of one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from benchd.core.model import Job, Run


class Archive:
    """The directory ``<state>/runs``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, run_id: str) -> Path:
        """Return the directory of a run."""
        return self.root / run_id

    def keep_recipe(self, run: Run, jobs: tuple[Job, ...]) -> None:
        """Write the recipe and the scripts of a new run."""
        folder = self.folder(run.id)
        _write(folder / "recipe.yaml", run.recipe.encode())
        for job in jobs:
            _write(folder / "scripts" / f"{job.token}.sh", job.script.encode())

    def keep_files(self, job: Job, files: Mapping[str, bytes]) -> None:
        """Write what a job brought home: its output to ``logs/``, the rest to ``raw/``."""
        folder = self.folder(job.run_id)
        for name, data in files.items():
            if name in ("out", "err"):
                _write(folder / "logs" / f"{job.token}.{name}", data)
            else:
                _write(folder / "raw" / job.token / _safe(name), data)

    def keep_result(self, job: Job, document: str) -> None:
        """Write a result document."""
        _write(self.folder(job.run_id) / "results" / f"{job.token}.json", document.encode())

    def keep_report(self, run: Run, html: str, markdown: str) -> Path:
        """Write both forms of the report; return the path of the HTML."""
        folder = self.folder(run.id)
        _write(folder / "report.md", markdown.encode())
        _write(folder / "report.html", html.encode())
        return folder / "report.html"


def _safe(name: str) -> Path:
    """Return a relative path without steps upwards, whatever the far side called it."""
    parts = [p for p in PurePosixPath(name).parts if p not in ("/", "..", ".", "")]
    return Path(*parts) if parts else Path("unnamed")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
