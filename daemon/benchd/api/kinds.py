"""The routes of the catalogue: which kinds there are, and what each can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from benchd.api.answers import Problem, answer
from benchd.catalog import OWN_KINDS, Catalog, ClientKind, Kind, ServiceKind
from benchd.catalog.kinds import Parameter, did_you_mean

_OPTIONAL = ("unit", "minimum", "maximum", "pattern")


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRoutes:
    """These routes, with what they need."""

    catalog: Catalog

    def reading(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/v1/catalog", self.kinds),
            web.get("/v1/catalog/{kind}", self.kind),
        ]

    async def kinds(self, _request: web.Request) -> web.Response:
        """Return every kind, without parameters."""
        views = [self._view(kind) for kind in self._all()]
        for view in views:
            del view["parameters"]
        return answer("catalog", {"kinds": views})

    async def kind(self, request: web.Request) -> web.Response:
        """Return the kinds of one name (a service and a client may share it), whole."""
        name = request.match_info["kind"]
        found = [self._view(kind) for kind in self._all() if kind.name == name]
        if not found:
            names = sorted({kind.name for kind in self._all()})
            what = f"no kind is called {name!r}{did_you_mean(name, names)}"
            raise Problem(404, what, f"`benchctl catalog` lists them; {OWN_KINDS}")
        return answer("catalog", {"kinds": found})

    def _all(self) -> list[Kind]:
        return [*self.catalog.services.values(), *self.catalog.clients.values()]

    def _view(self, kind: Kind) -> dict[str, Any]:
        view: dict[str, Any] = {
            "name": kind.name,
            "role": "service" if isinstance(kind, ServiceKind) else "client",
            "summary": kind.summary,
            "image": kind.image,
            "version": list(kind.version),
            "parameters": [_parameter(parameter) for parameter in kind.parameters],
        }
        if isinstance(kind, ServiceKind):
            usual = self.catalog.default_client(kind.name)
            view["ports"] = list(kind.ports)
            view["health_check"] = kind.check.model_dump(exclude_defaults=True) | {
                "type": kind.check.type
            }
            view["metrics"] = (
                {"port": kind.metrics.port, "path": kind.metrics.path} if kind.metrics else None
            )
            view["default_client"] = usual.name if usual else None
        elif isinstance(kind, ClientKind):
            view["default_for"] = list(kind.default_for)
        return view


def _parameter(parameter: Parameter) -> dict[str, Any]:
    said = {key: value for key in _OPTIONAL if (value := getattr(parameter, key)) not in ("", None)}
    choices = {"choices": list(parameter.choices)} if parameter.choices else {}
    return {
        "name": parameter.name,
        "type": parameter.type,
        "default": parameter.default,
        **said,
        **choices,
        "doc": parameter.doc,
    }
