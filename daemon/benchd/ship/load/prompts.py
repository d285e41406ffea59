"""Prompts that no cache has seen: other ones for every run, phase and request; or as declared."""

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

    def __init__(self, run_id: str, seed: int, words: int, mode: str = "unique") -> None:
        """``mode``: what a cache of prefixes may find of a prompt in those before it."""
        self.mode = mode
        self.run_id = run_id
        self.seed = seed
        self.words = max(1, words)
        tail = max(0, self.words - _UNIQUE)
        # Shared: only building the beginning is work that happens between two requests.
        self._tail = " ".join(_draw("%s/%d" % (run_id, seed), tail))

    def prompt(self, phase: str, index: int) -> str:
        """Return the prompt of one request."""
        key = "%s/%d/%s/%d" % (self.run_id, self.seed, phase, index)
        if self.mode == "repeat":
            key = self.run_id
        head = " ".join(_draw(key, min(_UNIQUE, self.words)))
        if not self._tail:
            return head
        parts = (self._tail, head) if self.mode == "shared-prefix" else (head, self._tail)
        return "%s %s" % parts


class Ids:
    """Makes prompts of a fixed number of tokens, for servers that take their numbers.

    Low numbers are bytes and special tokens in most vocabularies, and every vocabulary of a
    language model goes beyond the highest.
    """

    low, high = 1000, 30000

    def __init__(self, run_id: str, seed: int, tokens: int, mode: str) -> None:
        self.key = "%s/%d" % (run_id, seed)
        self.mode = mode
        self.own = min(_UNIQUE, tokens)
        self._tail = self._draw(self.key, tokens - self.own)

    def prompt(self, phase: str, index: int) -> List[int]:
        """Return the prompt of one request."""
        key = self.key if self.mode == "repeat" else "%s/%s/%d" % (self.key, phase, index)
        head = self._draw(key + "/head", self.own)
        return self._tail + head if self.mode == "shared-prefix" else head + self._tail

    def _draw(self, key: str, count: int) -> List[int]:
        draw = random.Random(key)  # noqa: S311 - tokens, not secrets
        return [self.low + int(draw.random() * (self.high - self.low)) for _ in range(count)]


def _draw(key: str, count: int) -> List[str]:
    # random() itself is the same in every version of Python; choice() is not.
    draw = random.Random(key)  # noqa: S311 - words, not secrets
    return [_WORDS[int(draw.random() * len(_WORDS))] for _ in range(count)]
