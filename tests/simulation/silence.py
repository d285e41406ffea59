"""Metrics that nobody reads, and a log of which only what matters is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog


class Silent:
    """Stands for ``Metrics`` and everything in it: counts nothing."""

    def __getattr__(self, _name: str) -> Silent:
        return self

    def __call__(self, *_args: object, **_labels: object) -> Silent:
        """Do nothing."""
        return self

    def __enter__(self) -> None:
        """Time nothing."""

    def __exit__(self, *_exc: object) -> None:
        """Time nothing."""


# Hears of a line: its method, and its values.
Ear = Callable[[str, dict[str, Any]], None]


@contextmanager
def overheard(ear: Ear, *, level: int = logging.WARNING) -> Iterator[None]:
    """Tell ``ear`` every line of this level or above, and print none."""

    def hear(_logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        ear(method, dict(event))
        raise structlog.DropEvent

    was = structlog.get_config()
    structlog.configure(
        processors=[hear],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**was)
