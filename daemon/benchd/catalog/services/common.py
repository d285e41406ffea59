"""What the services have in common: where they listen."""

from __future__ import annotations

from benchd.core.payload import Sh

# The address that the service's host name leads to, from other nodes and on its own; all interfaces
# where that is not one and the same (benchd.core.script_parts.HOST). It is not 127.0.0.1: what
# speaks to the service on its own node uses $BENCHD_HOST or $BENCHD_HOST_IP like everybody else.
BIND = Sh('"$BENCHD_BIND"')
# All interfaces, for what cannot listen on one address or has to be reached by several.
ANYWHERE = "0.0.0.0"  # noqa: S104 - compute nodes are reached from other compute nodes only

PORT = Sh('"$BENCHD_PORT"')

# Seconds in which silence is no failure (the health check's start_period): a model of 40 GB comes
# with 100 MB/s in seven minutes, and is then loaded; a database makes its files on a busy disk.
SLOW_START = 1800.0
MAKING_DATA = 300.0
