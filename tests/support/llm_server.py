"""Serve a model with a real LLM server, llama.cpp's own, from the package xllamacpp.

It speaks the OpenAI API with streaming (``/v1/completions``, ``/v1/chat/completions``) and answers
``/health``. Runs until SIGTERM or Ctrl-C.

    python llm_server.py MODEL.gguf PORT [HOST]
"""

from __future__ import annotations

import signal
import sys

import xllamacpp

SLOTS = 4  # answers at the same time; each has CONTEXT / SLOTS tokens
CONTEXT = 8192


def main(model: str, port: int, host: str = "127.0.0.1") -> None:
    """Serve until told to stop."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = CONTEXT
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = 2
    params.warmup = False
    params.hostnames = [host]
    params.port = port
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:4])
