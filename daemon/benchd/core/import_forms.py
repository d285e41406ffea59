"""The forms of other projects' files, each with the question that tells it and its reader."""

from __future__ import annotations

import re
from typing import Any

from benchd.core.import_parts import (
    PASSWORDS,
    box_of,
    client_of,
    kind_in,
    line_of,
    same_account,
    service_of,
    take_check,
    take_environment,
    take_options,
    take_seconds,
)
from benchd.core.import_whole import from_whole, is_whole
from benchd.core.imports import Draft, Form, Kinds, Reader

# --- a list of services, each with its load ------------------------------------------------------


def _is_list(reader: Reader) -> bool:
    services = reader.at("services").data
    return isinstance(services, list) and any(
        isinstance(each, dict) and "service_name" in each for each in services
    )


def _from_list(reader: Reader, kinds: Kinds, _name: str) -> list[Draft]:
    return [_listed(each, kinds) for each in reader.members("services")]


def _listed(each: Reader, kinds: Kinds) -> Draft:
    name = str(each.take("service_name") or "service")
    draft = Draft(name, kinds)
    said = [each.at(key).data for key in ("backend", "service_type")]
    kind = kind_in(kinds, *said)
    if kind is None:
        draft.remarks.append((each.path, f"{name}: there is no kind for {said[0] or said[1]}"))
        each.take()
        return draft
    for key in ("backend", "service_type"):
        each.take(key)
    service = service_of(kind, name, container=box_of(each.take("container_image")))
    if isinstance(each.at("port").data, int):
        service["ports"] = [each.take("port")]
    draft.resources(service, each.at("slurm"))
    if kind.name in PASSWORDS:
        service["secrets"] = {PASSWORDS[kind.name]: {"generate": 24}}
    draft.recipe["service"] = service
    usual = kinds.default_client(kind.name)
    if usual is not None:
        client = client_of(usual, f"{name[:27]}-load", name)
        draft.told(usual, client, each)
        take_seconds(usual, client, each, "duration")
        same_account(service, client)
        draft.recipe["client"] = client
    draft.told(kind, service, each)
    return draft


# --- one service and one client by their types ---------------------------------------------------


def _is_typed(reader: Reader) -> bool:
    return any(
        isinstance(reader.at(key).data, dict)
        and "type" in reader.at(key).data
        and {"settings", "time_limit", "num_gpus"} & set(reader.at(key).data)
        for key in ("service", "client")
    )


def _from_typed(reader: Reader, kinds: Kinds, name: str) -> list[Draft]:
    draft = Draft(name, kinds)
    service, client = reader.at("service"), reader.at("client")
    kind = kind_in(kinds, service.at("type").data, client.at("type").data)
    if kind is None:
        what = f"there is no kind for {service.at('type').data or client.at('type').data}"
        draft.remarks.append((("service",), what))
        return [draft]
    target = str(service.take("name") or kind.name)
    if service.data:
        part = service_of(kind, target)
        service.take("type")
        settings = service.at("settings")
        if isinstance(settings.at("port").data, int):
            part["ports"] = [settings.take("port")]
        draft.told(kind, part, settings)
        draft.resources(part, service)
        if kind.name in PASSWORDS:
            part["secrets"] = {PASSWORDS[kind.name]: {"generate": 24}}
        draft.recipe["service"] = part
    usual = kinds.default_client(kind.name)
    if client.data and usual is not None:
        part = client_of(usual, str(client.take("name") or f"{name[:27]}-load"), target)
        client.take("type")
        draft.told(usual, part, client.at("settings"))
        draft.told(usual, part, reader.at("benchmarks"))
        draft.resources(part, client)
        draft.recipe["client"] = part
    return [draft]


# --- a service or a client at the top of a file, with target and workload ------------------------


def _is_flat_client(reader: Reader) -> bool:
    return isinstance(reader.at("target").data, dict) and "workload" in reader.data


def _from_flat_client(reader: Reader, kinds: Kinds, name: str) -> list[Draft]:
    name = str(reader.take("name") or name)
    draft = Draft(name, kinds)
    dataset = reader.at("dataset", "params")
    target = str(reader.at("target", "service").data or "")
    kind = kind_in(kinds, dataset.at("service_type").data, target, name)
    usual = kinds.default_client(kind.name) if kind is not None else None
    if usual is None:
        what = "what it measures is not known here: say service_type, or name the service after it"
        draft.remarks.append((("target",), what))
        return [draft]
    client = client_of(usual, name, target)
    if description := line_of(reader.at("description").data):
        client["description"] = description
        reader.take("description")
    for steps in (("target", "service"), ("target", "protocol"), ("target", "endpoint")):
        reader.take(*steps)
    dataset.take("service_type")
    reader.take("dataset", "type")
    workload = reader.at("workload")
    draft.told(usual, client, workload)
    draft.told(usual, client, dataset)
    draft.told(usual, client, reader.at("target"))
    take_seconds(usual, client, workload, "duration_seconds")
    if workload.at("pattern").data == "closed-loop" or "rate" in client.get("parameters", {}):
        workload.take("pattern")
    if reader.at("orchestration", "mode").data == "slurm":
        reader.take("orchestration", "mode")
    if reader.at("orchestration", "instances").data == 1:
        reader.take("orchestration", "instances")
    draft.resources(client, reader.at("orchestration", "resources"))
    draft.recipe["client"] = client
    return [draft]


def _is_flat_service(reader: Reader) -> bool:
    is_nested = isinstance(reader.at("service").data, dict) and "orchestration" in reader.data
    return "name" in reader.data and ("image" in reader.data or is_nested)


def _from_flat_service(reader: Reader, kinds: Kinds, name: str) -> list[Draft]:
    name = str(reader.take("name") or name)
    draft = Draft(name, kinds)
    inner = reader.at("service") if isinstance(reader.at("service").data, dict) else reader
    command = inner.at("command").data
    text = " ".join(map(str, command)) if isinstance(command, list) else str(command or "")
    image = reader.at("image").data
    kind = kind_in(kinds, image, text, name)
    if kind is None:
        draft.remarks.append((("name",), f"there is no kind for {name}: write kind: generic"))
        return [draft]
    found = re.search(r"docker://[^\s\"'$]+", text)
    service = service_of(kind, name, container=box_of(image or (found[0] if found else None)))
    reader.take("image")
    if command is not None:
        inner.take("command")
        take_options(kind, service, text)
        what = f"kind {kind.name} starts it; options of the command that the kind knows are kept"
        draft.remarks.append(((*inner.path, "command"), what))
    if description := line_of(reader.at("description").data):
        service["description"] = description
        reader.take("description")
    _flat_ports(service, inner)
    take_environment(kind, service, draft, inner, "env" if inner is not reader else "environment")
    take_check(kind, service, draft, reader.at("healthcheck"))
    _flat_resources(service, draft, reader)
    draft.recipe["service"] = service
    return [draft]


def _flat_ports(service: dict[str, Any], inner: Reader) -> None:
    ports = []
    for each in inner.members("ports"):
        wanted = each if isinstance(each.data, int) else each.at("container_port")
        if isinstance(wanted.data, int):
            ports.append(each.take())
    if ports:
        service["ports"] = [p["container_port"] if isinstance(p, dict) else p for p in ports]


def _flat_resources(service: dict[str, Any], draft: Draft, reader: Reader) -> None:
    wanted = reader.at("resources")
    nodes, gpus = wanted.at("nodes").data, wanted.at("gpu").data
    each = reader.at("gpu_per_replica").data
    if isinstance(each, int) and str(gpus).isdigit() and each > 0:
        replicas = max(1, int(gpus) // each) * (int(nodes) if str(nodes).isdigit() else 1)
        service["replicas"] = replicas
        service["ports"] = ["auto"]
        for steps in (("gpu_per_replica",), ("base_port",)):
            reader.take(*steps)
        draft.resources(service, wanted, reader.at("orchestration", "resources"))
        service["resources"] |= {"nodes": 1, "gpus": str(each)}
        what = f"{replicas} replicas are {replicas} jobs of one node and {each} GPUs each"
        draft.remarks.append((("gpu_per_replica",), what))
        return
    draft.resources(service, wanted, reader.at("orchestration", "resources"))


# --- a job as JSON -------------------------------------------------------------------------------


def _is_job(reader: Reader) -> bool:
    return isinstance(reader.at("job").data, dict)


def _from_job(reader: Reader, kinds: Kinds, name: str) -> list[Draft]:
    job = reader.at("job")
    name = str(job.take("name") or job.take("scenario") or name)
    draft = Draft(name, kinds)
    work = job.at("service") if isinstance(job.at("service").data, dict) else job.at("workload")
    said = [work.at(key).data for key in ("service", "type", "component")]
    kind = kind_in(kinds, *said)
    if kind is None:
        draft.remarks.append((work.path, "there is no kind for what it says"))
        return [draft]
    for key in ("service", "type", "component"):
        work.take(key)
    service = service_of(kind, kind.name)
    draft.resources(service, job.at("infrastructure"), job.at("resources"))
    account = {key: job.take(key) for key in ("partition", "account") if job.at(key).data}
    if account:
        service["resources"] = {**service.get("resources", {}), **account}
    draft.recipe["service"] = service
    usual = kinds.default_client(kind.name)
    if usual is not None:
        client = client_of(usual, f"{kind.name}-load", kind.name)
        model = work.at("model").data
        users, each = work.at("n_clients").data, work.at("n_requests_per_client").data
        draft.told(usual, client, work)
        if isinstance(users, int) and isinstance(each, int):
            work.take("n_requests_per_client")
            client.setdefault("parameters", {})["requests"] = users * each
        if isinstance(model, str) and any(p.name == "model" for p in kind.parameters):
            service["parameters"] = {"model": model}
        same_account(service, client)
        client.get("resources", {}).pop("partition", None)
        lengths = work.at("prompt_len").data
        if isinstance(lengths, list) and all(isinstance(n, int) for n in lengths):
            draft.recipe["sweep"] = {"client.parameters.prompt_tokens": work.take("prompt_len")}
        draft.recipe["client"] = client
    return [draft]


# --- registries: many services or benchmarks by name ---------------------------------------------


def _is_registry(reader: Reader) -> bool:
    members = list(reader.members())
    return bool(members) and all(
        isinstance(each.data, dict) and {"script", "default_params"} <= set(each.data)
        for each in members
    )


def _from_registry(reader: Reader, kinds: Kinds, _name: str) -> list[Draft]:
    return [_registered(each, kinds) for each in reader.members()]


def _registered(each: Reader, kinds: Kinds) -> Draft:
    name = str(each.path[-1])
    draft = Draft(name, kinds)
    kind = kind_in(kinds, name, each.at("script").data)
    params = each.at("default_params")
    is_service = "health_check" in each.data
    usual = kinds.default_client(kind.name) if kind is not None else None
    if kind is None or (usual is None and not is_service):
        draft.remarks.append((each.path, f"{name}: there is no kind for it"))
        each.take()
        return draft
    if is_service:
        part = service_of(kind, name)
        take_environment(kind, part, draft, each, "default_params")
        draft.resources(part, params)
        for key in part.get("resources", {}):
            part.get("environment", {}).pop(key, None)
        if not part.get("environment", True):
            del part["environment"]
        if kind.name in PASSWORDS:
            part["secrets"] = {PASSWORDS[kind.name]: {"generate": 24}}
        draft.recipe["service"] = part
    elif usual is not None:
        part = client_of(usual, name, kind.name)
        if description := line_of(each.at("description").data):
            part["description"] = description
            each.take("description")
        draft.told(usual, part, params)
        draft.recipe["client"] = part
    return draft


FORMS: tuple[Form, ...] = (
    ("a list of services with their load (service_name, service_type)", _is_list, _from_list),
    ("services, clients and monitors with ids", is_whole, from_whole),
    ("one service and client by type, with settings", _is_typed, _from_typed),
    ("a job as JSON", _is_job, _from_job),
    ("a client with target and workload", _is_flat_client, _from_flat_client),
    ("a service with image and resources at the top", _is_flat_service, _from_flat_service),
    ("a registry of scripts with default_params", _is_registry, _from_registry),
)
