"""The collection of Chroma that documents go into: made before, counted and removed after."""

import json
import time
import urllib.error
import urllib.request
from typing import Any, Optional

_ALL = "/api/v2/tenants/default_tenant/databases/default_database/collections"
# Seconds an answer may take, and seconds for which the count may lag behind.
_TIMEOUT = 30.0
_SETTLE = 60.0


class Refused(Exception):
    """The store says no; the message says what it was asked."""


class Collection:
    """One collection of ours."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url.rstrip("/")
        self.name = name
        self.id = ""

    @property
    def path(self) -> str:
        """Return where documents are added."""
        return "%s/%s/add" % (_ALL, self.id)

    def make(self) -> None:
        """Make it anew."""
        self.remove()
        made = self._ask("POST", _ALL, {"name": self.name})
        self.id = str(made.get("id", "")) if isinstance(made, dict) else ""
        if not self.id:
            raise Refused("Chroma made no collection: %s" % str(made)[:200])

    def count(self, wanted: int) -> Optional[int]:
        """Return how many documents are in it, once they are as many as wanted or time is over."""
        limit = time.monotonic() + _SETTLE
        while True:
            count = self._ask("GET", "%s/%s/count" % (_ALL, self.id), None)
            if count == wanted or time.monotonic() > limit:
                return count if isinstance(count, int) else None
            time.sleep(0.2)

    def remove(self) -> None:
        """Remove it, if it is there."""
        try:
            self._ask("DELETE", "%s/%s" % (_ALL, self.name), None)
        except Refused:
            return

    def _ask(self, method: str, path: str, what: Any) -> Any:
        data = None if what is None else json.dumps(what).encode("utf-8")
        request = urllib.request.Request(  # noqa: S310 - http, as the batch script says
            self.url + path, data, method=method
        )
        request.add_header("Content-Type", "application/json")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=_TIMEOUT) as answer:
                return json.loads(answer.read().decode("utf-8") or "null")
        except urllib.error.HTTPError as error:
            with error:
                said = error.read()[:200].decode("utf-8", "replace")
            message = "%s %s%s: %d %s; is it Chroma 1.0 or newer (API v2)?"
            raise Refused(message % (method, self.url, path, error.code, said)) from None
        except (OSError, ValueError) as error:
            raise Refused("%s %s%s: %s" % (method, self.url, path, error)) from None
