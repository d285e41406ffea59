"""What a job is told beside its script: which services it measures, and its secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from shlex import quote

from benchd.core.model import Binding

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]{2,45}")


def targets_json(targets: tuple[Binding, ...]) -> str:
    """Return targets.json: what a client measures, for humans and for the verdict."""
    rows = [
        {
            "name": t.name,
            "token": t.token,
            "generation": t.generation,
            "host": t.host,
            "ports": list(t.ports),
        }
        for t in targets
    ]
    return json.dumps({"schema": "benchd.targets/1", "targets": rows}, indent=1) + "\n"


def targets_env(targets: tuple[Binding, ...]) -> str:
    """Return targets.env: the same for the client's script, safe to source.

    ``..._HOST`` and ``..._PORT`` are of the first replica of a service, the lists are of all. What
    carries no name is about the service that the client names first.
    """
    services: dict[str, list[Binding]] = {}
    for target in targets:
        services.setdefault(target.name, []).append(target)
    lines: list[str] = []
    for name, replicas in services.items():
        stem = "BENCHD_TARGET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        values = {f"{stem}_{what}": value for what, value in _said(replicas).items()}
        if not lines:
            values |= {f"BENCHD_TARGET_{what}": value for what, value in _said(replicas).items()}
            values["BENCHD_TARGETS"] = " ".join(filter(None, map(_address, replicas)))
        lines += [f"export {name}={quote(value)}\n" for name, value in values.items()]
    return "".join(lines)


def _said(replicas: list[Binding]) -> dict[str, str]:
    first, addresses = replicas[0], [a for a in map(_address, replicas) if a]
    said = {"HOST": valid_host(first.host)}
    if first.ports and addresses:
        urls = [f"http://{address}" for address in addresses]
        said |= {"PORT": f"{int(first.ports[0]):d}", "URL": urls[0], "URLS": ",".join(urls)}
    return said


def _address(target: Binding) -> str:
    """Return ``host:port``; nothing for a service without a port."""
    host = valid_host(target.host)
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{int(target.ports[0]):d}" if target.ports else ""


def secret_env(secrets: Mapping[str, str]) -> str:
    """Return secret.env: what only the payload may know, safe to source; nothing without secrets.

    It also says the names, for scripts that cannot know them: those of a service elsewhere.
    """
    if not secrets:
        return ""
    lines = [f"{name}={quote(value)}\n" for name, value in secrets.items()]
    return "".join([*lines, f"BENCHD_SECRETS={quote(' '.join(secrets))}\n"])


def valid_host(host: str) -> str:
    """Return a host that came from a compute node, or raise ``ValueError``: it reaches a shell."""
    if _HOST.fullmatch(host) is None:
        raise ValueError(f"{host!r} is neither a host name nor an address")
    return host
