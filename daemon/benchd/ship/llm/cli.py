"""The command line of sim-llm."""

import argparse
import asyncio
import signal
import sys
from typing import List, Optional

from . import VERSION
from .delays import CONSTANT, DISTRIBUTIONS, Delays
from .server import Options, Server
from .wire import MAX_HEAD

# What asyncio.start_server lets wait for accept: every user of a load test may connect at once.
_BACKLOG = 1024


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1e7:
        raise argparse.ArgumentTypeError("%s is not between 0 and 10,000,000" % text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 10**7:
        raise argparse.ArgumentTypeError("%s is not between 0 and 10,000,000" % text)
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sim-llm", description="A synthetic LLM server with known delays."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=_count, default=8000, help="0 picks a free one (default %(default)s)")
    add("--model", default="sim-llm", help="the model name it answers to")
    add("--ttft-ms", type=_number, default=50.0, help="mean time to the first token")
    add("--tpot-ms", type=_number, default=10.0, help="mean time for each further token")
    add("--jitter", type=_number, default=0.0, help="standard deviation as a share of the mean")
    add("--distribution", choices=DISTRIBUTIONS, default=CONSTANT)
    add("--seed", type=int, default=0, help="of the random delays")
    add("--parallel", type=_count, default=16, help="requests generated at once")
    add("--max-queue", type=_count, default=512, help="requests that may wait; more get a 503")
    add("--max-tokens", type=_count, default=8192, help="longest answer that may be asked for")
    add("--version", action="version", version="sim-llm %s" % VERSION)
    return parser


def main(argv: Optional[List[str]] = None) -> int:
    """Serve until a signal comes."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.jitter and args.distribution not in ("normal", "lognormal"):
        parser.error("a %s distribution has no jitter: use normal or lognormal" % args.distribution)
    if args.parallel < 1 or args.max_tokens < 1:
        parser.error("--parallel and --max-tokens must be 1 or more")
    if args.port > 65535:
        parser.error("--port must be at most 65535")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_serve(args))
    except OSError as error:
        # str(error) is the loop's own sentence about address and reason
        print(
            "sim-llm: cannot listen on %s:%s: %s" % (args.host, args.port, error), file=sys.stderr
        )
        return 1
    finally:
        loop.close()


async def _serve(args: argparse.Namespace) -> int:
    options = Options(
        model=args.model,
        delays=Delays(args.ttft_ms, args.tpot_ms, args.jitter, args.distribution, args.seed),
        parallel=args.parallel,
        max_queue=args.max_queue,
        max_tokens=args.max_tokens,
    )
    server = Server(options)
    loop = asyncio.get_event_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = await asyncio.start_server(
        server.accept, args.host, args.port, limit=MAX_HEAD, backlog=_BACKLOG
    )
    port = (listener.sockets or [])[0].getsockname()[1]
    print("sim-llm: synthetic model %s on %s:%d" % (args.model, args.host, port), flush=True)
    await stop.wait()
    listener.close()
    await server.stop()
    return 0
