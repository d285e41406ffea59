"""Serve a model with a real LLM server, llama.cpp's own, from the package xllamacpp.

It speaks the OpenAI API with streaming (``/v1/completions``, ``/v1/chat/completions``), and calls
its model by the name of the file without ``.gguf``. ``/health`` says when it is ready. It listens
on ``$BENCHD_HOST``, as a job of benchd should (otherwise on loopback), until SIGTERM or Ctrl-C.

    python llm_server.py MODEL.gguf PORT
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import xllamacpp

SLOTS = 4  # answers at the same time
CONTEXT = SLOTS * 8192  # tokens; its words are short, so that a prompt has up to five tokens a word


def main(model: str, port: int) -> None:
    """Serve until told to stop."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {Path(model).stem}
    params.n_ctx = CONTEXT
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = 2
    params.warmup = False
    params.endpoint_metrics = True
    params.hostnames = [os.environ.get("BENCHD_HOST", "127.0.0.1")]
    params.port = port
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
