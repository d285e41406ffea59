"""What the services have in common: where they listen."""

from __future__ import annotations

from benchd.core.payload import Sh

# All interfaces: clients run on other nodes, and a host name may resolve to 127.0.1.1 on the node
# itself, so that binding to it would hide the service from them.
ANYWHERE = "0.0.0.0"  # noqa: S104 - compute nodes are reached from other compute nodes only

PORT = Sh('"$BENCHD_PORT"')
