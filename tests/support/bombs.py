"""Texts that make YAML readers run for ever, eat all memory or die; each is a few KiB at most."""

from __future__ import annotations

from typing import Final

_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
_MERGES = "m0: &m0 {k: v}\n" + "".join(
    f"m{n}: &m{n}\n  <<: [*m{n - 1}, *m{n - 1}]\n" for n in range(1, 26)
)
_KIB = 1024

BOMBS: Final[dict[str, bytes]] = {
    "billion laughs": _LAUGHS.encode(),
    "merge keys that double": _MERGES.encode(),
    "a tag that runs a program": b"!!python/object/apply:os.system ['touch PWNED']\n",
    "100,000 open lists": b"[" * 100_000,
    "100,000 open mappings": b"{a: " * 50_000,
    "250,000 lists by indentation": b"- " * 125_000,
    "an integer of 200,000 digits": b"a: " + b"9" * 200_000,
    "a text of 250 KiB": b"a: " + b"x" * (250 * _KIB),
    "a text of 10 MiB": b"a: " + b"x" * (10 * _KIB * _KIB),
    "100,000 keys": b"".join(b"k%d: 1\n" % n for n in range(100_000)),
    "as many keys as fit": b"".join(b"%x:\n" % n for n in range(40_000)),
    "as many empty lists as fit": b"[" + b"[]," * 80_000 + b"]",
    "keys that are lists": b"? [" * 60_000,
    "duplicate keys": b"a: 1\n" * 50_000,
    "anchors": b"- &a\n" * 50_000,
    "aliases": b"- *a\n" * 50_000,
    "documents": b"---\n" * 60_000,
    "quotes that never end": b"a: '" + b"''" * 120_000,
    "escapes": b'a: "' + b"\\x41" * 60_000 + b'"',
    "comments": b"#\n" * 125_000,
    "line ends": b"\n" * (256 * _KIB),
    "spaces": b" " * (256 * _KIB),
    "tabs": b"\t" * (256 * _KIB),
    "a long key": b"? " + b"k" * (250 * _KIB) + b"\n: 1\n",
    "unknown keys of the recipe": b"".join(b"servic%d: 1\n" % n for n in range(700)),
    "a sweep of all and everything": b"service: {name: redis}\nsweep:\n"
    + b"".join(b"  service.parameters.p%d: [1, 2, 3]\n" % n for n in range(290)),
    "a sweep of very many values": b"service: {name: redis}\n"
    b"sweep: {service.parameters.io_threads: ["
    + b",".join(b"%d" % (n % 128 + 1) for n in range(1_400))
    + b"]}\n",
    "many services": b"services:\n" + b"- {name: a, kind: redis}\n" * 290,
    "many targets": b"client: {name: redis-benchmark, target_services: ["
    + b"{name: redi}," * 490
    + b"]}\nservice: {name: redis}\n",
}
