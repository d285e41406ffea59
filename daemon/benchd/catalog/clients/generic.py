"""Any command at all."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.kinds import ClientKind
from benchd.catalog.services.generic import command_check, command_payload

KIND = ClientKind(
    name="generic",
    summary="any command, on the host or in an image; may leave its own metrics.json",
    payload=command_payload,
    parse=readings.command,
    extra_check=command_check,
    needs_target=False,
)
