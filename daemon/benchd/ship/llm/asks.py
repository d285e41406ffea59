"""What a request asks for: every field is honoured, named as without effect, or refused."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

Body = Dict[str, Any]

# OpenAI's own default is 16 for completions; the others have no number, so one is chosen.
DEFAULT_TOKENS = {"/v1/completions": 16, "/v1/chat/completions": 128}
DEFAULT_PREDICT = 128
# Accepted because every client sends them; they cannot change a synthetic answer.
_NO_EFFECT = frozenset(
    [
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "user",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "ignore_eos",
        "min_tokens",
        "keep_alive",
        "raw",
        "cache_prompt",
        "typical_p",
        "repeat_penalty",
        "repeat_last_n",
        "mirostat",
        "num_gpu",
        "num_thread",
        "num_batch",
        "num_keep",
        "use_mmap",
        "think",
    ]
)
_OPENAI = frozenset(
    [
        "model",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "prompt",
        "messages",
        "n",
    ]
)
_OLLAMA = frozenset(["model", "prompt", "messages", "stream", "options"])
_OPTIONS = frozenset(["num_predict", "num_ctx"])


class Refused(Exception):
    """A request that cannot be served: HTTP status and what to do."""

    def __init__(self, status: int, message: str) -> None:
        Exception.__init__(self, message)
        self.status = status
        self.message = message


class Ask(NamedTuple):
    """One understood request."""

    api: str
    model: str
    prompt_tokens: int
    tokens: int
    stream: bool
    include_usage: bool
    usage_each: bool
    no_effect: Tuple[str, ...]
    load_only: bool


class Limits(NamedTuple):
    """What the server is willing to do."""

    model: str
    max_tokens: int


def understand(api: str, body: Any, limits: Limits) -> Ask:
    """Return what a request body asks for, or raise ``Refused``."""
    if not isinstance(body, dict):
        raise Refused(400, "the body is not a JSON object")
    ollama = api.startswith("/api/")
    options = _options(body) if ollama else {}
    no_effect = _known(body, _OLLAMA if ollama else _OPENAI)
    no_effect += _known(options, _OPTIONS)
    _same_model(body.get("model"), limits.model)
    chat = api in ("/v1/chat/completions", "/api/chat")
    prompt_tokens = _messages(body.get("messages")) if chat else _prompt(body.get("prompt"), ollama)
    stream = _flag(body, "stream", ollama)
    usage, each = (False, False) if ollama else _stream_options(body, stream)
    tokens = _predict(options, limits) if ollama else _max_tokens(api, body, limits)
    window = options.get("num_ctx")
    if window is not None and prompt_tokens > _whole("options.num_ctx", window, 1, 1 << 40):
        message = "the prompt has %d tokens, options.num_ctx is %s" % (prompt_tokens, window)
        raise Refused(400, message)
    if body.get("n", 1) != 1:
        raise Refused(400, "n must be 1, not %r" % (body["n"],))
    return Ask(
        api=api,
        model=limits.model,
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        stream=stream,
        include_usage=usage,
        usage_each=each,
        no_effect=tuple(sorted(no_effect)),
        load_only=ollama and prompt_tokens == 0,
    )


def _options(body: Body) -> Body:
    options = body.get("options")
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise Refused(400, "options must be an object")
    return options


def _known(body: Body, honoured: "frozenset[str]") -> List[str]:
    for name in sorted(body):
        if name not in honoured and name not in _NO_EFFECT:
            message = "sim-llm does not support %r: leave it out" % (name[:64],)
            raise Refused(400, message)
    return [name for name in body if name not in honoured]


def _same_model(wanted: Any, served: str) -> None:
    if not isinstance(wanted, str) or not wanted:
        raise Refused(400, "model is missing; this server has %r" % (served,))
    if wanted not in (served, served + ":latest"):
        raise Refused(404, "model %r not found; this server has %r" % (wanted[:200], served))


def _prompt(prompt: Any, ollama: bool) -> int:
    """Count the tokens of a prompt: words of a text, or token ids."""
    if ollama and prompt is None:
        return 0
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return len(prompt.split())
    if not ollama and isinstance(prompt, list) and prompt and all(type(t) is int for t in prompt):
        return len(prompt)
    raise Refused(
        400, "prompt must be one text%s" % ("" if ollama else " or one list of token ids")
    )


def _messages(messages: Any) -> int:
    if messages is None or not isinstance(messages, list):
        raise Refused(400, "messages must be a list")
    return sum(_content(message) for message in messages)


def _content(message: Any) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return len(content.split())
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return sum(len(str(text).split()) for text in texts)
    raise Refused(400, "each message needs a role and a text as content")


def _flag(body: Body, name: str, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise Refused(400, "%s must be true or false, not %r" % (name, value))
    return value


def _stream_options(body: Body, stream: bool) -> Tuple[bool, bool]:
    options = body.get("stream_options")
    if options is None:
        return False, False
    if not isinstance(options, dict):
        raise Refused(400, "stream_options must be an object")
    if not stream:
        raise Refused(400, "stream_options needs stream: true")
    for name in options:
        if name not in ("include_usage", "continuous_usage_stats"):
            raise Refused(400, "sim-llm does not support stream_options.%s" % (name[:64],))
    each = _flag(options, "continuous_usage_stats", False)
    return _flag(options, "include_usage", False), each


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        message = "%s must be a whole number from %d to %d, not %r" % (name, least, most, value)
        raise Refused(400, message)
    return value


def _max_tokens(api: str, body: Body, limits: Limits) -> int:
    names = [n for n in ("max_tokens", "max_completion_tokens") if body.get(n) is not None]
    if len(names) == 2 and body[names[0]] != body[names[1]]:
        raise Refused(400, "max_tokens and max_completion_tokens differ: send one of them")
    if not names:
        return min(DEFAULT_TOKENS[api], limits.max_tokens)
    return _whole(names[0], body[names[0]], 1, limits.max_tokens)


def _predict(options: Body, limits: Limits) -> int:
    value: Optional[Any] = options.get("num_predict")
    if value is None:
        return min(DEFAULT_PREDICT, limits.max_tokens)
    if value == -1:
        raise Refused(400, "num_predict -1 (no end) is not supported: say how many tokens")
    return _whole("options.num_predict", value, 1, limits.max_tokens)
