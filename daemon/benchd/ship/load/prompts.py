"""Prompts that no cache has seen: other ones for every run, phase and request."""

import random
from typing import List

# Short everyday words: most tokenizers make one token of each, with the space before it.
_TEXT = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work door wall "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line"
)
_WORDS = _TEXT.split()
# Words at the start that make a prompt unique. A cache of prefixes cannot match what begins
# differently; 64 words to the power of 16 are enough for any run.
_UNIQUE = 16


class Prompts:
    """Makes prompts of a fixed number of words."""

    def __init__(self, run_id: str, seed: int, words: int) -> None:
        self.run_id = run_id
        self.seed = seed
        self.words = max(1, words)
        tail = max(0, self.words - _UNIQUE)
        # Shared: only building the beginning is work that happens between two requests.
        self._tail = " ".join(_draw("%s/%d" % (run_id, seed), tail))

    def prompt(self, phase: str, index: int) -> str:
        """Return the prompt of one request."""
        key = "%s/%d/%s/%d" % (self.run_id, self.seed, phase, index)
        head = " ".join(_draw(key, min(_UNIQUE, self.words)))
        return "%s %s" % (head, self._tail) if self._tail else head


def _draw(key: str, count: int) -> List[str]:
    # random() itself is the same in every version of Python; choice() is not.
    draw = random.Random(key)  # noqa: S311 - words, not secrets
    return [_WORDS[int(draw.random() * len(_WORDS))] for _ in range(count)]
