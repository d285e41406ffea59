"""Logging is the process's, and all tests share one: each finds it as the one before found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from benchd import log


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a test set up, or later ones would write to streams that were closed with it."""
    configured, config = structlog.is_configured(), structlog.get_config()
    handlers = logging.root.handlers[:]
    levels = {
        logger: logger.level
        for logger in (logging.root, *(logging.getLogger(name) for name in log._LIBRARIES))
    }
    yield
    structlog.reset_defaults()
    if configured:
        structlog.configure(**config)
    logging.root.handlers[:] = handlers
    for logger, level in levels.items():
        logger.setLevel(level)
