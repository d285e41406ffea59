"""The two forms of a stream of answers, and the four interfaces that use them.

Lines are cut at the protocol's delimiter, never where a segment ends, and decoded whole: a
character of several bytes may come in two segments. There is no limit on the length of a line.
"""

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

Json = Dict[str, Any]


class Piece(NamedTuple):
    """What one event of a stream says."""

    content: bool = False  # carries text of the answer
    reasoning: bool = False  # carries text that comes before it
    finish: Optional[str] = None
    tokens: Optional[int] = None
    prompt_tokens: Optional[int] = None
    cached: Optional[int] = None  # of them, what the server did not have to compute
    done: bool = False
    error: Optional[str] = None
    bad: Optional[str] = None


# What nearly every event of a stream says.
CONTENT = Piece(content=True)
_ONE = [CONTENT]
_decode = json.JSONDecoder().raw_decode


class Lines:
    """Bytes to complete lines."""

    def __init__(self) -> None:
        self._parts: List[bytes] = []

    def feed(self, data: bytes) -> List[bytes]:
        """Return the lines that are complete now."""
        is_fresh = not self._parts or self._parts == [b""]
        if is_fresh and data.endswith(b"\n") and b"\r" not in data:
            return data[:-1].split(b"\n")
        head, *rest = data.split(b"\n")
        self._parts.append(head)
        if not rest:
            return []
        lines = [b"".join(self._parts)] + rest[:-1]
        self._parts = [rest[-1]]
        return [line.rstrip(b"\r") for line in lines]

    def rest(self) -> bytes:
        """Return what came after the last line end."""
        return b"".join(self._parts).strip()


class Api(NamedTuple):
    """One streaming interface."""

    name: str
    path: str
    chat: bool
    ollama: bool

    def body(
        self,
        model: str,
        prompt: Any,
        tokens: int,
        ignore_eos: bool,
        window: int,
        layers: Optional[int] = None,
    ) -> bytes:
        """Return the body of a request; ``window`` and ``layers`` are for Ollama."""
        value: Json = {"model": model, "stream": True}
        if self.chat:
            value["messages"] = [{"role": "user", "content": prompt}]
        else:
            value["prompt"] = prompt
        if self.ollama:
            # num_ctx: without it a longer prompt is cut to half the window, silently
            value["options"] = {"num_predict": tokens, "num_ctx": window, "temperature": 0}
            if layers is not None:
                value["options"]["num_gpu"] = layers
            if not self.chat:
                value["raw"] = True  # no template: the prompt has the length that was asked for
        else:
            value["max_tokens"] = tokens
            value["temperature"] = 0
            value["stream_options"] = {"include_usage": True}
            if ignore_eos:
                value["ignore_eos"] = True
                value["min_tokens"] = tokens
        return json.dumps(value).encode("utf-8")

    def pieces(self, line: bytes) -> List[Piece]:
        """Return what a line says: nothing, or one piece."""
        if not self.ollama:
            return _event(line, self.chat)
        line = line.strip()
        if not line:
            return []
        piece = _object(line, self.chat)
        return _ONE if piece is CONTENT else [piece]


APIS = {
    api.name: api
    for api in (
        Api("openai-completions", "/v1/completions", False, False),
        Api("openai-chat", "/v1/chat/completions", True, False),
        Api("ollama-generate", "/api/generate", False, True),
        Api("ollama-chat", "/api/chat", True, True),
    )
}


def load_object(text: bytes) -> Tuple[Optional[Json], str]:
    """Return a JSON object, or None and what is wrong with it."""
    try:
        words = text.decode("utf-8")
        value, end = _decode(words)
        if end != len(words):
            value = json.loads(words)
    except (ValueError, RecursionError):
        return None, "not JSON: %r" % text[:80]
    if not isinstance(value, dict):
        return None, "not a JSON object: %r" % text[:80]
    return value, ""


def error_text(value: Json) -> Optional[str]:
    """Return the message of an error object, in any of the forms in use."""
    error = value.get("error")
    if not error:
        return None
    if isinstance(error, dict):
        return str(error.get("message") or error)[:300]
    return str(error)[:300]


def _count(value: Any) -> Optional[int]:
    return value if type(value) is int and value >= 0 else None


def _event(line: bytes, chat: bool) -> List[Piece]:
    """Read one line of server-sent events; comments and other fields say nothing to us."""
    if not line.startswith(b"data:"):
        # Some servers write an error as a bare object into the stream.
        if line.startswith(b"{"):
            value, bad = load_object(line)
            said = error_text(value) if value else None
            return [Piece(error=said) if said else Piece(bad=bad or "not an event: %r" % line[:80])]
        return []
    data = line[5:].strip()
    if data == b"[DONE]":
        return [Piece(done=True)]
    value, bad = load_object(data)
    if value is None:
        return [Piece(bad=bad)]
    said = error_text(value)
    if said:
        return [Piece(error=said)]
    piece = _openai(value, chat)
    return _ONE if piece is CONTENT else [piece]


def _openai(value: Json, chat: bool) -> Piece:
    usage = value.get("usage")
    tokens = prompt = cached = None
    if isinstance(usage, dict):
        tokens = _count(usage.get("completion_tokens"))
        prompt = _count(usage.get("prompt_tokens"))
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            cached = _count(details.get("cached_tokens"))
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    if not isinstance(choice, dict):
        return Piece(bad="choices[0] is not an object")
    finish = choice.get("finish_reason")
    if chat:
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            return Piece(bad="delta is not an object")
        content = bool(delta.get("content") or delta.get("tool_calls"))
        reasoning = bool(delta.get("reasoning_content") or delta.get("reasoning"))
    else:
        content, reasoning = bool(choice.get("text")), False
    if content and not (reasoning or finish or usage):
        return CONTENT
    return Piece(
        content=content,
        reasoning=reasoning,
        finish=str(finish) if finish else None,
        tokens=tokens,
        prompt_tokens=prompt,
        cached=cached,
    )


def _object(line: bytes, chat: bool) -> Piece:
    """Read one line of Ollama's stream."""
    value, bad = load_object(line)
    if value is None:
        return Piece(bad=bad)
    said = error_text(value)
    if said:
        return Piece(error=said)
    message = value.get("message") if chat else value
    if message is not None and not isinstance(message, dict):
        return Piece(bad="message is not an object")
    text = (message or {}).get("content" if chat else "response")
    done = value.get("done") is True
    if text and not done and not (message or {}).get("thinking"):
        return CONTENT
    return Piece(
        content=bool(text),
        reasoning=bool((message or {}).get("thinking")),
        finish=str(value.get("done_reason") or "stop") if done else None,
        tokens=_count(value.get("eval_count")) if done else None,
        prompt_tokens=_count(value.get("prompt_eval_count")) if done else None,
        cached=_count(value.get("prompt_eval_cached_count")) if done else None,
        done=done,
    )
