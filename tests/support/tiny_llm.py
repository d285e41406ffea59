"""Write a tiny language model with random weights: about 1 MB that a real LLM server can serve.

Nothing is downloaded and nothing but the standard library is needed: the GGUF format (version 3) is
a header, key-value pairs, a table of tensors and their numbers, 32 bytes apart.

    python tiny_llm.py OUT.gguf
"""

from __future__ import annotations

import array
import math
import random
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

LAYERS, WIDTH, HEADS, CONTEXT = 2, 64, 4, 8192
HIDDEN = 4 * WIDTH
ALIGNMENT = 32  # bytes; the format's default
SYLLABLES = 256  # made-up words: enough for text that tokenises to fewer tokens than bytes

# The format's type numbers
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
F32_TENSOR = 0
# Kinds of tokens
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _array(kind: int, values: Sequence[object]) -> bytes:
    code = {INT32: "i", FLOAT32: "f"}.get(kind)
    body = (
        struct.pack(f"<{len(values)}{code}", *values)
        if code
        else b"".join(_text(str(value)) for value in values)
    )
    return struct.pack("<IIQ", ARRAY, kind, len(values)) + body


def _value(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", BOOL, value)
        case int():
            return struct.pack("<II", UINT32, value)
        case float():
            return struct.pack("<If", FLOAT32, value)
        case str():
            return struct.pack("<I", STRING) + _text(value)
        case bytes():
            return value  # an array, packed already
        case _:
            raise TypeError(f"no GGUF type for {value!r}")


def _vocabulary() -> tuple[list[str], list[int]]:
    """Return tokens and their kinds: specials, every byte, ASCII, and made-up words."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256]
    space = "\u2581"  # how SentencePiece writes a space
    words = [space, *map(chr, range(33, 127))]
    words += [space + a + b + c for a in "bdfgklmn" for b in "aeiou" for c in "lmnrstx"][:SYLLABLES]
    return tokens + words, kinds + [NORMAL] * len(words)


def _metadata() -> dict[str, object]:
    tokens, kinds = _vocabulary()
    first_word = kinds.index(NORMAL)
    scores = [0.0] * first_word + [-float(i) for i in range(len(tokens) - first_word)]
    return {
        "general.architecture": "llama",
        "general.name": "tiny-random",
        "general.alignment": ALIGNMENT,
        "general.file_type": 0,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": _array(STRING, tokens),
        "tokenizer.ggml.scores": _array(FLOAT32, scores),
        "tokenizer.ggml.token_type": _array(INT32, kinds),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.chat_template": TEMPLATE,
    }


def _tensors() -> dict[str, tuple[tuple[int, ...], array.array[float]]]:
    """Return name -> (shape, innermost dimension first; numbers)."""
    dice = random.Random(0)  # the same model every time

    def noise(*shape: int, scale: float) -> tuple[tuple[int, ...], array.array[float]]:
        numbers = (dice.gauss(0.0, scale) for _ in range(math.prod(shape)))
        return shape, array.array("f", numbers)

    ones = ((WIDTH,), array.array("f", [1.0] * WIDTH))
    _, kinds = _vocabulary()
    tensors = {"token_embd.weight": noise(WIDTH, len(kinds), scale=1.0)}
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        tensors[f"{block}attn_norm.weight"] = tensors[f"{block}ffn_norm.weight"] = ones
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors[f"{block}{name}.weight"] = noise(WIDTH, WIDTH, scale=WIDTH**-0.5)
        for name in ("ffn_gate", "ffn_up"):
            tensors[f"{block}{name}.weight"] = noise(WIDTH, HIDDEN, scale=WIDTH**-0.5)
        tensors[f"{block}ffn_down.weight"] = noise(HIDDEN, WIDTH, scale=HIDDEN**-0.5)
    tensors["output_norm.weight"] = ones
    shape, numbers = noise(WIDTH, len(kinds), scale=WIDTH**-0.5)
    # Specials and bytes get no weight, so that it speaks in words and never ends early: the number
    # of output tokens is the one that was asked for.
    silent = kinds.index(NORMAL) * WIDTH
    numbers[:silent] = array.array("f", [0.0] * silent)
    tensors["output.weight"] = (shape, numbers)
    return tensors


def write_model(path: Path) -> Path:
    """Write the model and return its path."""
    metadata, tensors = _metadata(), _tensors()
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    body = bytearray()
    for name, (shape, numbers) in tensors.items():
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", F32_TENSOR, len(body))
        body += numbers.tobytes()
        body += bytes(-len(body) % ALIGNMENT)
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + body)
    return path


if __name__ == "__main__":
    print(write_model(Path(sys.argv[1])))
