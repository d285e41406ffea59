"""The words of each interface: what one token, the end and a whole answer look like on the wire."""

import json
from datetime import datetime, timezone
from typing import Any, Dict, List

from .asks import Ask

Json = Dict[str, Any]


class Times:
    """When what happened to a request, in seconds on the monotonic clock; Ollama reports them."""

    def __init__(self, received: float) -> None:
        self.received = received
        self.started = received
        self.first = received
        self.last = received


def _text(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8")


class OpenAI:
    """Server-sent events: ``data: {...}`` and ``data: [DONE]``."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, ask: Ask, number: int, created: float) -> None:
        self.ask = ask
        self.chat = ask.api == "/v1/chat/completions"
        self.id = "%s-sim-%d" % ("chatcmpl" if self.chat else "cmpl", number)
        self.created = int(created)

    def _chunk(self, choices: List[Json], tokens: int, usage: bool) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        chunk: Json = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.ask.model,
            "choices": choices,
        }
        if usage:
            chunk["usage"] = self._usage(tokens)
        return b"data: " + _text(chunk) + b"\n\n"

    def _usage(self, tokens: int) -> Json:
        prompt = self.ask.prompt_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": tokens,
            "total_tokens": prompt + tokens,
        }

    def opening(self) -> bytes:
        """Return what comes before the first token: in a chat the role, which is no token."""
        if not self.chat:
            return b""
        delta = {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return self._chunk([choice], 0, self.ask.usage_each)

    def token(self, index: int, word: str) -> bytes:
        """Return one token."""
        end = "length" if index + 1 == self.ask.tokens else None
        choice: Json = {"index": 0, "finish_reason": end}
        if self.chat:
            choice["delta"] = {"content": word}
        else:
            choice["text"] = word
            choice["logprobs"] = None
        return self._chunk([choice], index + 1, self.ask.usage_each)

    def closing(self, _times: Times) -> bytes:
        """Return the end of the stream."""
        usage = self._chunk([], self.ask.tokens, True) if self.ask.include_usage else b""
        return usage + b"data: [DONE]\n\n"

    def whole(self, words: List[str], _times: Times) -> bytes:
        """Return the answer in one piece."""
        text = "".join(words)
        choice: Json = {"index": 0, "finish_reason": "length", "logprobs": None}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        return _text(
            {
                "id": self.id,
                "object": "chat.completion" if self.chat else "text_completion",
                "created": self.created,
                "model": self.ask.model,
                "choices": [choice],
                "usage": self._usage(len(words)),
            }
        )


class Ollama:
    """One JSON object per line, durations in nanoseconds."""

    content_type = "application/x-ndjson"

    def __init__(self, ask: Ask, _number: int, _created: float) -> None:
        self.ask = ask
        self.chat = ask.api == "/api/chat"

    def _line(self, text: str, done: bool) -> Json:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        line: Json = {"model": self.ask.model, "created_at": now, "done": done}
        if self.chat:
            line["message"] = {"role": "assistant", "content": text}
        else:
            line["response"] = text
        return line

    def opening(self) -> bytes:
        """Return nothing: the first line is the first token."""
        return b""

    def token(self, _index: int, word: str) -> bytes:
        """Return one token."""
        return _text(self._line(word, False)) + b"\n"

    def closing(self, times: Times) -> bytes:
        """Return the last line, which carries the counts and durations."""
        return _text(self._done("", times)) + b"\n"

    def whole(self, words: List[str], times: Times) -> bytes:
        """Return the answer in one piece."""
        return _text(self._done("".join(words), times))

    def _done(self, text: str, times: Times) -> Json:
        line = self._line(text, True)
        line["done_reason"] = "load" if self.ask.load_only else "length"
        if not self.ask.load_only:
            line["total_duration"] = _ns(times.last - times.received)
            line["load_duration"] = 0
            line["prompt_eval_count"] = self.ask.prompt_tokens
            line["prompt_eval_duration"] = _ns(times.first - times.started)
            line["eval_count"] = self.ask.tokens
            line["eval_duration"] = _ns(times.last - times.first)
        return line


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
