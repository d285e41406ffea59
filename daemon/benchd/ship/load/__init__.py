"""benchd's own load generator: standard library, Python 3.6 and up, no file but its own.

``cli`` reads the command line; a workload (``llm``) knows what a request is; a load model
(``closed``) decides when one is sent; ``record`` and ``summary`` make files and numbers of it.
A further workload or load model is one module beside these.
"""

VERSION = "1"
