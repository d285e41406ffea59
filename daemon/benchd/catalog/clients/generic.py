"""Any command at all."""

from __future__ import annotations

from dataclasses import replace

from benchd.catalog import readings
from benchd.catalog.clients.common import target_environment, told_duration
from benchd.catalog.kinds import ClientKind
from benchd.catalog.services.generic import command_check, command_payload
from benchd.core.payload import Payload
from benchd.core.spec import JobSpec


def _payload(spec: JobSpec) -> Payload:
    return replace(
        command_payload(spec),
        environment=target_environment(spec),
        preamble=told_duration(spec),
    )


KIND = ClientKind(
    name="generic",
    summary="any command, on the host or in an image; may leave its own metrics.json",
    payload=_payload,
    parse=readings.command,
    extra_check=command_check,
    needs_target=False,
    spreads=True,  # $BENCHD_TARGETS lists them all
)
