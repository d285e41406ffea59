"""What an LLM server counts itself, as its Prometheus page shows it. Pure.

Names as of vLLM 0.8 to 0.27 (``vllm/v1/metrics/loggers.py``, docs.vllm.ai "Production Metrics";
its ``gpu_prefix_cache_*`` lost their ``gpu_`` in 0.9), SGLang with ``--enable-metrics``
(docs.sglang.io, "Production Metrics") and llama.cpp's server with ``--metrics`` (its
``tools/server/README.md``). All their counters end in ``_total``; ``process_start_time_seconds``
is of the Prometheus client that vLLM uses.
"""

import re
from typing import Dict

# A name, labels whose values may contain anything, and a number; what follows is of no interest.
_SAMPLE = re.compile(
    r"((?:vllm|sglang|llamacpp):\w+_total|process_start_time_seconds)"
    r'(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(\S+)'
)
# Different names that are kept: a server has some dozens.
_MOST = 200


def parse(page: bytes) -> Dict[str, float]:
    """Return name -> sum over all labels; nothing of what is no such page."""
    found: Dict[str, float] = {}
    for line in page.decode("utf-8", "replace").split("\n"):
        match = _SAMPLE.match(line)
        try:
            value = float(match.group(2)) if match else -1.0
        except ValueError:
            continue
        if match and 0 <= value < 1e300 and (len(found) < _MOST or match.group(1) in found):
            found[match.group(1)] = found.get(match.group(1), 0.0) + value
    return found
