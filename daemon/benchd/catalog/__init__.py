"""What users extend: kinds of services, clients and checks. Data and pure functions only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchd.catalog import checks, clients, known, services, watching
from benchd.catalog.kinds import (
    ClientKind,
    Complaint,
    Kind,
    Parameter,
    ServiceKind,
    closest,
    did_you_mean,
)
from benchd.core.numbers import SAMPLES_NEEDED
from benchd.core.paths import targets
from benchd.core.seeds import KnownScript
from benchd.core.spec import Client, HealthCheck, Part, Secret, Service

__all__ = [
    "CATALOG",
    "OWN_KINDS",
    "Catalog",
    "ClientKind",
    "Complaint",
    "Kind",
    "Parameter",
    "ServiceKind",
]


_K = TypeVar("_K", bound=Kind)


# What somebody needs to know whose own kind is not found.
OWN_KINDS = "kinds of your own are read from `catalog/` beside the configuration when benchd starts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Every kind there is, by name."""

    services: Mapping[str, ServiceKind]
    clients: Mapping[str, ClientKind]

    def service(self, name: str) -> ServiceKind | None:
        """Return a kind of service."""
        return self.services.get(name)

    def client(self, name: str) -> ClientKind | None:
        """Return a kind of client."""
        return self.clients.get(name)

    def default_client(self, service: str) -> ClientKind | None:
        """Return the usual client of a kind of service."""
        return next((kind for kind in self.clients.values() if service in kind.default_for), None)

    def known_script(self, name: str) -> KnownScript | None:
        """Return what is known of a script of another project by its file name."""
        return known.SCRIPTS.get(name)

    def own_arguments(self, service: Service) -> tuple[str, ...]:
        """Return the arguments of a service without those that its kind says itself."""
        return known.own_arguments(service)

    def usual_secrets(self, service: str) -> Mapping[str, Secret]:
        """Return the secrets that services of a kind have, unless a recipe says others."""
        kind = self.services.get(service)
        return kind.secrets if kind is not None else {}

    def speaks_http(self, service: str) -> bool:
        """Tell whether a kind of service is spoken to by URLs."""
        kind = self.services.get(service)
        return kind is None or kind.check.type not in ("redis", "mysql", "postgres")

    def extended(self, kinds: Iterable[Kind]) -> Catalog:
        """Return the catalogue with further kinds; each has a name of its own."""
        services, clients = dict(self.services), dict(self.clients)
        for kind in kinds:
            if isinstance(kind, ServiceKind):
                services[kind.name] = kind
            elif isinstance(kind, ClientKind):
                clients[kind.name] = kind
        return Catalog(services=services, clients=clients)

    def check(self, part: Part) -> list[Complaint]:
        """Return everything that is wrong with a service or client, as far as its kind can tell."""
        return list(self._complaints(part))

    def cannot_measure(self, client: Client, service: Service) -> str | None:
        """Return why a client cannot measure a service; None when their kinds do not rule it out.

        A service with a command of its own may speak anything, and one of several ports another
        protocol on each. Where only the first of a client's targets is measured, it just waits for
        the others.
        """
        one = self.clients.get(client.kind or client.name)
        other = self.services.get(service.kind or service.name)
        if one is None or other is None or service.command is not None or not other.speaks:
            return None
        named = [target for _, target in targets(client)]
        place = next((i for i, target in enumerate(named) if target.name == service.name), 0)
        if named and named[place].port not in (None, (service.ports or other.ports)[0]):
            return None
        asked = one.asks(client)
        if one.in_turn and len(named) == len(one.in_turn):
            asked = one.in_turn[place]
        elif place > 0:
            return None
        spoken = set(other.speaks)
        if not asked or spoken & set(asked):
            return None
        said = f"kind {one.name!r} speaks {' and '.join(asked)}, and {service.name}, of kind "
        said += f"{other.name!r}, speaks {' and '.join(other.speaks)}: "
        if one.in_turn:
            order = ", then one that speaks ".join(" or ".join(each) for each in one.in_turn)
            return f"{said}name a service that speaks {order}"
        bare = client.model_copy(update={"parameters": {}})
        kinds = [kind for kind in self.clients.values() if kind.needs_target]
        able = [kind.name for kind in kinds if spoken & set(kind.asks(bare))]
        if one.name in able:
            return f"{said}its parameters say so, change them"
        return said + (f"use kind {', '.join(able)}" if able else "use kind script or generic")

    def advice(self, client: Client) -> Iterator[Complaint]:
        """Yield what is no mistake, but makes numbers that will be missing."""
        kind = self.clients.get(client.kind or client.name)
        count = None if kind is None else kind.samples(client)
        usual = [q for q in ("50", "90", "95", "99") if (count or 0) < SAMPLES_NEEDED[q]]
        if count is not None and usual:
            at = "requests" if "requests" in client.parameters else "rate"
            missing = ", ".join(f"p{q} needs {SAMPLES_NEEDED[q]}" for q in usual)
            what = f"{count} requests: some percentiles will be missing from the result: {missing}"
            yield ("parameters", at), what

    def _complaints(self, part: Part) -> Iterator[Complaint]:
        name = part.kind or part.name
        own: Mapping[str, Kind] = self.clients if isinstance(part, Client) else self.services
        kind = own.get(name)
        if kind is None:
            yield (("kind",) if part.kind else ("name",), self._no_such_kind(part, name, own))
            # One slip must not hide the others: the rest is judged by the kind that was meant.
            kind = own.get(closest(part.kind or "", list(own)))
        if kind is not None:
            yield from kind.complaints(part)
        if isinstance(part, Service) and isinstance(kind, ServiceKind):
            yield from watching.complaints(part, kind)
        if isinstance(part, Service) and part.health_check is not None:
            yield from self._check_complaints(part.health_check, part, kind)
        if isinstance(part, Client) and isinstance(kind, ClientKind):
            if kind.needs_target and not (part.target_service or part.target_services):
                what = f"missing: a client of kind {name!r} measures a service; name it here"
                yield (("target_service",), what)
            if part.duration is not None and kind.untimed:
                what = f"{part.duration} s cannot be kept: kind {kind.name!r} knows no time: "
                yield ("duration",), f"{what}{kind.untimed}"

    def _check_complaints(
        self, check: HealthCheck, part: Service, kind: Kind | None
    ) -> Iterator[Complaint]:
        if not isinstance(kind, ServiceKind):
            yield from checks.complaints(check, HealthCheck())
            return
        yield from checks.complaints(check, kind.usual_check(part))
        if kind.check.type == "http":  # it listens on the ports it is given, and on no other
            usual = kind.check.model_copy(update=check.model_dump(exclude_unset=True))
            yield from checks.foreign_port(usual, part.ports or kind.ports)
        if "type" in check.model_fields_set and not kind.can_pass(check):
            can = f"{kind.check.type}, tcp, command or log"
            what = f"{check.type!r} can never pass: kind {kind.name!r} does not speak it; use {can}"
            yield ("health_check", "type"), what

    def _no_such_kind(self, part: Part, name: str, own: Mapping[str, Kind]) -> str:
        role, other = ("client", "service") if isinstance(part, Client) else ("service", "client")
        if name in self.clients or name in self.services:
            return f"{name!r} is a kind of {other}: write it under `{other}:`"
        said = f"no kind of {role} is called {name!r}{did_you_mean(name, list(own))}"
        hint = "" if part.kind else "; set `kind` when the name is not a kind"
        return f"{said}{hint}; there are: {', '.join(own)}; {OWN_KINDS}"


def _by_name(kinds: Sequence[_K]) -> dict[str, _K]:
    return {kind.name: kind for kind in kinds}


CATALOG = Catalog(services=_by_name(services.KINDS), clients=_by_name(clients.KINDS))
