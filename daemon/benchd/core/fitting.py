"""What a part of a recipe takes over: a client from its service, a health check from its kind.

It is decided once, when a recipe becomes jobs, and stands in the stored spec from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from benchd.core import paths
from benchd.core.spec import Client, HealthCheck, Part, Service
from benchd.fields import Scalar


class Fitting(Protocol):
    """A kind of client that suits different kinds of services."""

    @property
    def fits(self) -> Callable[[str, Part | None, Part], Mapping[str, Scalar]]:
        """What its parameters are for a kind of service, unless the recipe says."""

    @property
    def in_service_image(self) -> bool:
        """Whether it runs in the image of its service, unless the recipe names another."""


def fitted(part: Client, kind: Fitting, services: Mapping[str, Service]) -> Client:
    """Return a client with what follows from the first service it measures: parameters, image.

    A service of another run is known by its name only, which is often that of its kind.
    """
    target = next((target.name for _, target in paths.targets(part)), None)
    if target is None:
        return part
    service = services.get(target)
    of = target if service is None else service.kind or service.name
    found: dict[str, object] = {}
    parameters = {**kind.fits(of, service, part), **part.parameters}
    if parameters != part.parameters:
        found["parameters"] = parameters
    if (
        kind.in_service_image
        and service is not None
        and not (part.container or part.container_image)
    ):
        found |= {"container": service.container, "container_image": service.container_image}
    return part.model_copy(update=found) if found else part


def health_check(wanted: HealthCheck | None, usual: HealthCheck) -> HealthCheck:
    """Put what the recipe says over the kind's check, unless it asks for another type.

    What the kind expects, it expects of its own page and of no other.
    """
    if wanted is None:
        return usual
    if "type" in wanted.model_fields_set and wanted.type != usual.type:
        return wanted
    check = usual.model_copy(update=wanted.model_dump(exclude_unset=True))
    other = _path(wanted.endpoint or usual.endpoint) != _path(usual.endpoint)
    if other and "expect" not in wanted.model_fields_set:
        check = check.model_copy(update={"expect": None})
    return check


def _path(endpoint: str | None) -> str:
    text = endpoint or "/"
    return (urlsplit(text).path or "/") if "://" in text else f"/{text.lstrip('/')}"
