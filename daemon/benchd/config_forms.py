"""Configurations as other projects write them (``hpc:`` or ``ssh:``, ``slurm:``) -> ours.

They become a cluster called ``default``. Every other section is answered: by what takes its place.
Places in messages stay those of the file, since only paths change and marks go with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchd.errors import Mistake
from benchd.yamldoc import Document, Path

CLUSTER = "default"
_LINK = ("hpc", "ssh")  # what tells their form; the first is what they read, the second documented
_SSH = {"hostname": "host", "username": "user", "key_filename": "identity", "key_file": "identity"}
# Those projects load this module in every job.
_RUNTIME = {"name": "apptainer", "module": "Apptainer"}

# Section or key of theirs -> what takes its place here.
_ANSWERS: Mapping[str, str] = {
    "services_dir": "recipes are handed in one by one: the inbox, or `benchctl submit FILE`",
    "clients_dir": "recipes are handed in one by one: the inbox, or `benchctl submit FILE`",
    "monitors_dir": "a monitor is a service like others: a recipe with `kind: prometheus`",
    "scripts_dir": "there it was for scripts that were written; those are in runs/ of state_dir. "
    "Scripts that recipes name are looked for beside this file",
    "results_dir": "results are in runs/ of state_dir, see `benchctl results`",
    "logs_dir": "logs are in runs/ of state_dir, see `benchctl logs`",
    "metrics_dir": "metrics are served at http.listen, see docs/howto/monitoring.md",
    "monitoring": "write it into recipes (`monitoring:`), and `http:` for benchd's own metrics",
    "logging": "the log goes to standard error and the journal, as JSON or for people",
    "benchmarks": "write duration: and limits: into recipes; `benchctl gc` removes old runs",
    "benchmark": "scripts that recipes name are looked for beside this file: set scripts_dir",
    "containers": "images are the cluster's runtime: and a recipe's container:",
}


def translated(document: Document) -> tuple[Document, tuple[Mistake, ...]]:
    """Return the document in our form, and remarks on what became of its parts."""
    data = document.data
    link = next((key for key in _LINK if isinstance(data, dict) and key in data), None)
    if link is None or "clusters" in data:
        return document, ()
    moved: dict[Path, Path] = {(link,): ("clusters", CLUSTER, "ssh")}
    cluster: dict[str, Any] = {"ssh": data[link], "runtime": dict(_RUNTIME)}
    if isinstance(data[link], dict):
        cluster["ssh"] = {_SSH.get(key, key): value for key, value in data[link].items()}
        for theirs, ours in _SSH.items():
            moved[link, theirs] = ("clusters", CLUSTER, "ssh", ours)
    if data.get("slurm") is not None:
        cluster["defaults"] = data["slurm"]
        moved["slurm",] = ("clusters", CLUSTER, "defaults")
    cache = data.get("containers")
    if isinstance(cache, dict) and isinstance(cache.get("base_path"), str):
        cluster["runtime"]["cache"] = cache["base_path"]
    gone = {link, "slurm", *_ANSWERS}
    kept: dict[str, Any] = {key: value for key, value in data.items() if key not in gone}
    kept["clusters"] = {CLUSTER: cluster}
    changed = replace(
        document,
        data=kept,
        keys=_moved(document.keys, moved),
        values=_moved(document.values, moved),
        broken=frozenset(_place(path, moved) for path in document.broken),
    )
    return changed, tuple(_remarks(document, link, data))


def _moved(marks: Mapping[Path, Any], moved: Mapping[Path, Path]) -> dict[Path, Any]:
    return {_place(path, moved): mark for path, mark in marks.items()}


def _place(path: Path, moved: Mapping[Path, Path]) -> Path:
    for length in range(len(path), 0, -1):
        if path[:length] in moved:
            return (*moved[path[:length]], *path[length:])
    return path


def _remarks(document: Document, link: str, data: Mapping[str, Any]) -> list[Mistake]:
    what = (
        f"read as cluster {CLUSTER} with runtime: {{name: apptainer, module: Apptainer}}, as that "
        "project loads it; the host key is verified: log in once with ssh before. Write clusters: "
        "to say more"
    )
    found = [document.mistake((link,), what, at_key=True)]
    for key, instead in _ANSWERS.items():
        if key in data:
            found.append(document.mistake((key,), f"is not read: {instead}", at_key=True))
    return sorted(found)
