"""What the clients have in common."""

from __future__ import annotations

from benchd.core.payload import Sh

RESULT = Sh('"$BENCHD_RESULT_DIR"')
