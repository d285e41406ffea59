"""Files of other projects that say everything: services, clients, monitors, execution, reports."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from benchd.core.import_parts import (
    PASSWORDS,
    box_of,
    client_of,
    kind_in,
    line_of,
    service_of,
    take_check,
    take_options,
    take_seconds,
)
from benchd.core.imports import Draft, Kinds, Reader


def is_whole(reader: Reader) -> bool:
    """Tell whether a file has services with ids."""
    services = reader.at("services").data
    return isinstance(services, list) and any(
        isinstance(each, dict) and "id" in each for each in services
    )


def from_whole(reader: Reader, kinds: Kinds, name: str) -> list[Draft]:
    """Return the one recipe that the file is."""
    draft = Draft(str(reader.take("meta", "name") or name), kinds)
    if description := line_of(reader.at("meta", "description").data):
        draft.recipe["description"] = description
        reader.take("meta", "description")
    services = [s for each in reader.members("services") if (s := _whole_service(each, draft))]
    clients = [
        c for each in reader.members("clients") if (c := _whole_client(each, draft, services))
    ]
    if services:
        draft.recipe["services"] = services
    if clients:
        draft.recipe["clients"] = clients
    return [draft]


def _whole_service(each: Reader, draft: Draft) -> dict[str, Any] | None:
    name = str(each.take("id") or "service")
    command = str(each.at("command").data or "")
    image = each.at("executor", "image").data
    kind = kind_in(draft.kinds, image, command, name)
    if kind is None:
        draft.remarks.append((each.path, f"{name}: its command is that of no kind here"))
        each.take()
        return None
    found = re.search(r"docker://[^\s\"'$]+", command)
    service = service_of(kind, name, container=box_of(image or (found[0] if found else None)))
    take_options(kind, service, command)
    for key in ("command", "role"):
        each.take(key)
    what = (
        f"{name}: kind {kind.name} starts it; options of its command that the kind knows are kept"
    )
    draft.remarks.append(((*each.path, "command"), what))
    each.take("executor", "image")
    each.take("executor", "type")
    draft.resources(service, each.at("executor", "slurm"))
    if kind.name in PASSWORDS:
        service["secrets"] = {PASSWORDS[kind.name]: {"generate": 24}}
    check = each.at("healthcheck")
    port = urlsplit(str(check.at("url").data or "")).port
    if port is not None:
        service["ports"] = [port]
    take_check(kind, service, draft, check)
    if isinstance(check.at("timeout").data, int):  # there it is how long all of it may take
        draft.recipe.setdefault("limits", {})["ready"] = f"{check.take('timeout')}s"
    return service


def _whole_client(
    each: Reader, draft: Draft, services: list[dict[str, Any]]
) -> dict[str, Any] | None:
    name = str(each.take("id") or "client")
    work = each.at("workload")
    told = f"{work.at('endpoint').data or ''} {work.at('target').data or ''}"
    named = (
        service
        for service in services
        if service["name"] in told or any(f":{port}" in told for port in service.get("ports", ()))
    )
    target = next(named, services[0] if services else None)
    usual = draft.kinds.default_client(str(target["kind"])) if target is not None else None
    if usual is None or target is None:
        draft.remarks.append((each.path, f"{name}: there is no client for what it measures"))
        each.take()
        return None
    client = client_of(usual, name, str(target["name"]))
    each.take("type")
    each.take("executor", "type")
    for key in ("type", "endpoint", "target"):
        work.take(key)
    if usual.name == "llm-load":
        is_chat = work.take("mode") == "chat"
        api = "openai-chat" if is_chat else "openai-completions"
        client["parameters"] = {"api": api}
    draft.told(usual, client, work)
    take_seconds(usual, client, work, "duration_sec")
    draft.resources(client, each.at("executor", "slurm"))
    instances, own = each.at("instances").data, client.get("parameters", {})
    if isinstance(instances, int) and isinstance(own.get("concurrency"), int):
        own["concurrency"] *= each.take("instances")
    attempts = each.at("retries", "attempts").data
    if isinstance(attempts, int) and attempts > 1:
        client["restart"] = {"max_attempts": each.take("retries", "attempts")}
        if isinstance(each.at("retries", "backoff").data, int):
            client["restart"]["back_off"] = each.take("retries", "backoff")
    return client
