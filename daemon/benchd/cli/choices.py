"""A command line that knows what a mistyped word was probably meant to be."""

from __future__ import annotations

import argparse
from typing import Any

SIMILAR = 0.6  # difflib's ratio from which two words look alike; its own default


class ChoosingParser(argparse.ArgumentParser):
    """Names the nearest choice, or all of them where none is near."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        from difflib import get_close_matches  # noqa: PLC0415 - 5 ms that only a slip needs

        choices = [str(choice) for choice in action.choices]
        near = get_close_matches(str(value)[:64], choices, n=1, cutoff=SIMILAR)
        known = f"; did you mean {near[0]!r}?" if near else f" (there are: {', '.join(choices)})"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{known}")
