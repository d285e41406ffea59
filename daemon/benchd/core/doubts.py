"""What benchd itself knows that speaks against a number: flags beside those of the client. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from benchd.core.flags import CLOCK_STEP
from benchd.core.flags_of_tools import SHORT_WINDOW
from benchd.core.model import Binding, Job
from benchd.core.numbers import Flag, Severity, flag
from benchd.core.placement import nodes_of
from benchd.core.results import Measured

_NOTHING = Measured()


def doubts(
    job: Job,
    bindings: Sequence[Binding],
    unseen: Mapping[str, tuple[float, float]],
    files: Mapping[str, bytes],
    measured: Measured = _NOTHING,
) -> tuple[Flag, ...]:
    """Return the flags. ``unseen``: service -> seconds without a look at it, and the limit."""
    return (
        *_same_node(job, bindings),
        *_unseen(unseen),
        *_clock_step(job, files),
        *_short_window(measured),
    )


def _same_node(job: Job, bindings: Sequence[Binding]) -> Iterator[Flag]:
    own = set(nodes_of(job.nodes))
    for binding in bindings:
        if shared := sorted(own & set(nodes_of(binding.nodes))):
            where = ", ".join(shared)
            detail = f"client and {binding.name} shared {where}: they compete, and no network is in"
            yield flag("same_node_client", Severity.INFO, value=len(shared), detail=detail)
            return


def _unseen(unseen: Mapping[str, tuple[float, float]]) -> Iterator[Flag]:
    for name, (seconds, limit) in unseen.items():
        if seconds > 0:
            detail = f"nobody looked at {name} for {seconds:.1f} s of the measurement"
            detail += ": its health is known before and after only"
            yield flag(
                "service_not_observed", Severity.WARN, value=seconds, limit=limit, detail=detail
            )


def _short_window(measured: Measured) -> Iterator[Flag]:
    """Yield that a tool which tells no single requests has measured for next to no time."""
    can, window = measured.client.get("capabilities"), measured.times.window_s
    if not isinstance(can, Mapping) or can.get("raw_samples") is not False:
        return
    if measured.metrics and window is not None and 0 <= window < SHORT_WINDOW:
        tool = measured.client.get("tool")
        detail = f"{tool} measured for {window:.2f} s: its start and chance are much of that"
        yield flag("short_window", Severity.WARN, value=window, limit=SHORT_WINDOW, detail=detail)


def _clock_step(job: Job, files: Mapping[str, bytes]) -> Iterator[Flag]:
    """Yield a flag when the node's clock tells a longer job than Slurm saw, or one that ran back.

    Only then: that Slurm saw a longer one may be its prolog.
    """
    try:
        said = json.loads(files.get("exit.json", b""))
        spent = float(said["ended_at"]) - float(said["started_at"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    if job.started_at is None or job.ended_at is None:
        return
    ahead = spent - (job.ended_at - job.started_at)
    if spent < 0 or ahead > CLOCK_STEP:
        step = spent if spent < 0 else ahead
        detail = "the clock of the client's node was set while it measured"
        yield flag("clock_step", Severity.WARN, value=step, limit=CLOCK_STEP, detail=detail)
