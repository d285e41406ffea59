"""``benchctl catalog``: kinds of services and clients, and what each can be told."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from benchd.cli.commands import emit
from benchd.cli.tables import clean, show
from benchd.cli.wire import OK, Daemon, segment

_TYPES = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}


def catalog(daemon: Daemon, args: argparse.Namespace) -> int:
    """List the kinds, or show one with its parameters."""
    if args.kind is None:
        answer = daemon.get("/v1/catalog")
    else:
        answer = daemon.get(f"/v1/catalog/{segment(args.kind)}")
    if args.json:
        return emit(answer)
    if args.kind is None:
        show(
            ("kind", "of", "usual client", "what it is"),
            [
                (k["name"], k["role"], k.get("default_client"), k["summary"])
                for k in answer["kinds"]
            ],
            prose=(3,),
            spare=(2,),
        )
        return OK
    for number, kind in enumerate(answer["kinds"]):
        if number:
            print()
        _one(kind)
    return OK


def _one(kind: Mapping[str, Any]) -> None:
    print(clean(f"{kind['name']}, a kind of {kind['role']}: {kind['summary']}"))
    for name, value in _facts(kind):
        if value:
            print(clean(f"{name + ':':<16}{value}"))
    print()
    show(
        ("parameter", "takes", "default", "meaning"),
        [(p["name"], _takes(p), p["default"], p["doc"]) for p in kind["parameters"]],
        empty="no parameters: command and args say what to run",
        prose=(3,),
        spare=(1,),
    )


def _facts(kind: Mapping[str, Any]) -> list[tuple[str, str]]:
    check = kind.get("health_check") or {}
    metrics = kind.get("metrics")
    return [
        ("usual image", kind["image"] or ""),
        ("usual ports", ", ".join(map(str, kind.get("ports", ())))),
        ("health check", " ".join(filter(None, [check.get("type"), check.get("endpoint")]))),
        ("its metrics", _page(metrics) if metrics else ""),
        ("usual client", kind.get("default_client") or ""),
        ("usual for", ", ".join(kind.get("default_for", ()))),
        ("version", " ".join(kind["version"])),
    ]


def _page(metrics: Mapping[str, Any]) -> str:
    """Say on which of its ports the page for Prometheus is."""
    number = metrics["port"]
    return f"{metrics['path']} on its {'first port' if not number else f'port number {number + 1}'}"


def _takes(parameter: Mapping[str, Any]) -> str:
    """Say what a parameter takes."""
    if choices := parameter.get("choices"):
        return ", ".join(map(str, choices))
    words = [_TYPES[parameter["type"]]]
    low, high = parameter.get("minimum"), parameter.get("maximum")
    if low is not None and high is not None:
        words.append(f"{low:g} to {high:g}")
    elif low is not None:
        words.append(f"from {low:g}")
    if unit := parameter.get("unit"):
        words.append(f"({unit})")
    return " ".join(words)
