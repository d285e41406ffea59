"""sim-llm: a synthetic LLM server with known delays, to calibrate clients and to try benchd out.

It speaks the streaming interfaces of OpenAI and Ollama, makes no secret of being synthetic, and
tells the truth about when it sent each token at ``/sim/log``. Standard library, Python 3.6 and up.
"""

VERSION = "1"
