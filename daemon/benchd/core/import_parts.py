"""What the readers of other projects' files have in common."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from benchd.core.imports import Draft, ImportClient, ImportKind, ImportService, Kinds, Reader
from benchd.core.recipe import default_name

# What their types, backends, images and commands say -> our kinds of services. In this order: the
# images of clients and of tools name services too.
_KINDS = (
    (r"vllm", "vllm"),
    (r"ollama", "ollama"),
    (r"triton", "triton"),
    (r"chroma", "chroma"),
    (r"qdrant", "qdrant"),
    (r"postgres", "postgresql"),
    (r"mysql|mariadb", "mysql"),
    (r"redis|valkey", "redis"),
    (r"minio|\bs3\b", "minio"),
    (r"prometheus", "prometheus"),
    (r"grafana", "grafana"),
)
_NAMES = {"inference": "ollama", "llm": "ollama"}
PASSWORDS = {
    "postgresql": "POSTGRES_PASSWORD",
    "mysql": "MYSQL_ROOT_PASSWORD",
    "minio": "MINIO_ROOT_PASSWORD",
}
# The one command that names its model without an option.
_SERVED = re.compile(r"\bvllm serve [\"']?(?P<model>[\w.][\w./-]*)")
_OPTION = re.compile(r"--(?P<name>[a-z][a-z-]*)[ =](?P<value>\"[^\"$]*\"|'[^'$]*'|[^\s\"'$\\]+)")


def kind_in(kinds: Kinds, *texts: object) -> ImportService | None:
    """Return the kind of service that the first telling one of these texts names."""
    for text in texts:
        for pattern, name in _KINDS:
            if isinstance(text, str) and re.search(pattern, text.lower()):
                return kinds.service(name)
        if isinstance(text, str) and text.lower() in _NAMES:
            return kinds.service(_NAMES[text.lower()])
    return None


def service_of(kind: ImportKind, name: str, **more: Any) -> dict[str, Any]:
    """Return a service of a kind."""
    given = {key: value for key, value in more.items() if value is not None}
    return {"name": default_name(name), "kind": kind.name, **_usual_box(kind), **given}


def client_of(kind: ImportKind, name: str, target: str) -> dict[str, Any]:
    """Return a client of a kind, with what it measures."""
    return {
        "name": default_name(name),
        "kind": kind.name,
        "target_service": {"name": default_name(target)},
        **_usual_box(kind),
    }


def _usual_box(kind: ImportKind) -> dict[str, Any]:
    """Return the kind's image: those projects run everything in containers."""
    return {"container": {"docker_source": kind.image}} if kind.image is not None else {}


def box_of(image: object) -> dict[str, str] | None:
    """Return where software comes from: an image file, or one to be fetched."""
    if not isinstance(image, str) or not image or "{{" in image:
        return None
    if image.endswith(".sif"):
        return {"image_path": image}
    return {"docker_source": image if "://" in image else f"docker://{image}"}


def line_of(text: object) -> str | None:
    """Return text that is one line, None for other things."""
    return text if isinstance(text, str) and text and "\n" not in text else None


def take_seconds(kind: ImportClient, part: dict[str, Any], reader: Reader, *keys: str) -> None:
    """Take how long a client measures, where its kind knows of that; else it is said to be left."""
    for key in () if kind.untimed else keys:
        value = reader.at(key).data
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            part["duration"] = reader.take(key)


def take_check(kind: ImportService, part: dict[str, Any], draft: Draft, reader: Reader) -> None:
    """Take a health check that asks for a page, with its times; no page of what has none."""
    endpoint = reader.at("endpoint").data or reader.at("url").data
    if not isinstance(endpoint, str):
        return
    check: dict[str, Any] = {}
    if kind.check.type == "http":
        path = urlsplit(endpoint).path or "/" if "://" in endpoint else endpoint
        check["endpoint"] = path if path.startswith("/") else f"/{path}"
    else:
        what = f"kind {kind.name} has no pages: its own check holds, with these times"
        draft.remarks.append((reader.path, what))
    for ours, theirs in (
        ("interval", "interval_seconds"),
        ("interval", "interval"),
        ("timeout", "timeout_seconds"),
        ("retries", "retries"),
        ("start_period", "initial_delay"),
    ):
        if isinstance(reader.at(theirs).data, int):
            check[ours] = reader.take(theirs)
    for key in ("endpoint", "url", "type"):
        reader.take(key)
    if reader.at("expect_status").data == 200:
        reader.take("expect_status")
    if check:
        part["health_check"] = check


def take_options(kind: ImportKind, part: dict[str, Any], text: str) -> None:
    """Take the parameters that a command line tells as options."""
    known = {parameter.name: parameter for parameter in kind.parameters}
    served = _SERVED.search(text)
    if served is not None and "model" in known:
        part.setdefault("parameters", {})["model"] = served["model"]
    for match in _OPTION.finditer(text):
        name = match["name"].replace("-", "_")
        said = match["value"].strip("\"'")
        value: Any = int(said) if said.isdigit() else said
        if re.fullmatch(r"\d+\.\d+", said):
            value = float(said)
        if name in known and not known[name].complaint(value):
            part.setdefault("parameters", {})[name] = value


def same_account(service: dict[str, Any], client: dict[str, Any]) -> None:
    """Let a client be charged as its service is, where nothing else says."""
    wanted = service.get("resources", {})
    kept = {key: wanted[key] for key in ("account", "partition", "qos", "time") if key in wanted}
    if kept:
        client["resources"] = {**kept, **client.get("resources", {})}


def take_environment(
    kind: ImportKind, service: dict[str, Any], draft: Draft, inner: Reader, key: str
) -> None:
    """Take variables; those that stand for a parameter of the kind become that parameter."""
    known = {parameter.name: parameter for parameter in kind.parameters}
    prefix = f"{kind.name.upper()}_"
    for each in inner.members(key):
        variable, value = str(each.path[-1]), each.data
        name = variable.removeprefix(prefix).lower()
        if isinstance(value, str) and re.fullmatch(r"\d+\.\d+", value):
            number: Any = float(value)
        else:
            number = int(value) if isinstance(value, str) and value.isdigit() else value
        if name in {"host", "port"} and variable.startswith(prefix):
            each.take()
            draft.remarks.append((each.path, "is not carried over: ports says it"))
        elif variable.startswith(prefix) and name in known and not known[name].complaint(number):
            service.setdefault("parameters", {})[name] = each.take()
            service["parameters"][name] = number
        elif isinstance(value, str | int) and not isinstance(value, bool):
            service.setdefault("environment", {})[variable] = str(each.take())
