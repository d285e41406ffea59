"""The last words of what failed, from the node it ran on to the report of the run."""

from __future__ import annotations

import pytest

from benchd.core.model import RunOutcome
from support.inside import Inside

pytestmark = pytest.mark.asyncio

BROKEN = """\
service:
  name: web
  kind: generic
  command: {service}
  ports: [auto]
  resources: {{time: "00:05:00"}}
client:
  name: load
  kind: generic
  command: {client}
  target_service: {{name: web}}
  resources: {{time: "00:05:00"}}
"""
SERVER = "python3 -m http.server $BENCHD_PORT"


@pytest.mark.parametrize(
    ("service", "client"), [("nosuchprogram", "/bin/true"), (SERVER, "nosuchprogram")]
)
async def test_the_report_quotes_what_failed(inside: Inside, service: str, client: str) -> None:
    """A program that is not there is named near the verdict, and the failure is told once."""
    inside.drop(BROKEN.format(service=service, client=client))
    run = await inside.wait_run()
    report = inside.daemon.state_dir / "runs" / run.id / "report.md"
    errors = [line for line in report.read_text().splitlines() if line.startswith("- **Error**")]
    assert (RunOutcome.FAILED, 1, True) == (run.outcome, len(errors), "nosuchprogram" in errors[0])
