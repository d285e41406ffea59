"""What the server has counted since it began, as the Prometheus page that vLLM has.

The names are those of vLLM's ``/metrics`` (``vllm/v1/metrics/loggers.py``), so that what watches a
vLLM watches this one as well. It has no cache of prefixes, and so says nothing of one.
"""

from typing import List, Tuple

# Type and version of the text, as Prometheus asks for it.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counters:
    """Counts of a server with one model."""

    def __init__(self, model: str, began: float) -> None:
        self.model = model
        self.began = began
        self.prompt_tokens = 0
        self.tokens = 0
        self.answers = 0

    def page(self, running: int, waiting: int) -> bytes:
        """Return the page."""
        rows: List[Tuple[str, str, int, str]] = [
            ("prompt_tokens_total", "counter", self.prompt_tokens, "Tokens of prompts begun."),
            ("generation_tokens_total", "counter", self.tokens, "Tokens made, of any answer."),
            ("request_success_total", "counter", self.answers, "Answers sent to their end."),
            ("num_requests_running", "gauge", running, "Requests that are answered now."),
            ("num_requests_waiting", "gauge", waiting, "Requests that wait for a place."),
        ]
        model = self.model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines = []
        for name, kind, value, text in rows:
            lines.append("# HELP vllm:%s Synthetic. %s" % (name, text))
            lines.append("# TYPE vllm:%s %s" % (name, kind))
            reason = ',finished_reason="length"' if name == "request_success_total" else ""
            lines.append('vllm:%s{model_name="%s"%s} %d' % (name, model, reason, value))
        lines.append("# HELP process_start_time_seconds Start of the process, since the epoch.")
        lines.append("# TYPE process_start_time_seconds gauge")
        lines.append("process_start_time_seconds %.3f" % self.began)
        return ("\n".join(lines) + "\n").encode("utf-8")
