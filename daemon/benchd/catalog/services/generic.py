"""Any command at all."""

from __future__ import annotations

from collections.abc import Sequence

from benchd.catalog.kinds import Complaint, ServiceKind, arguments, program
from benchd.core.payload import Payload
from benchd.core.spec import HealthCheck, JobSpec, Part


def command_payload(spec: JobSpec) -> Payload:
    """Run the user's command with the user's arguments."""
    return Payload(argv=(*program(spec, "false"), *arguments(spec)))


def command_check(part: Part) -> Sequence[Complaint]:
    """Refuse a generic part that names no command: the kind has none of its own."""
    if part.command is None:
        what = f"missing: kind 'generic' runs what you say here ({part.name} says nothing)"
        return ((("command",), what),)
    return ()


KIND = ServiceKind(
    name="generic",
    summary="any command, on the host or in an image; it finds its port in $BENCHD_PORT",
    payload=command_payload,
    extra_check=command_check,
    check=HealthCheck(type="tcp"),
)
