"""HTML and SVG made of tags. Whatever is not ``Markup`` is escaped, so nothing slips through."""

from __future__ import annotations

from html import escape
from unicodedata import category


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Markup | str | int | float | None
# Controls, format characters (such as bidirectional overrides) and half surrogates.
_HIDDEN = frozenset({"Cc", "Cf", "Cs"})
_SHOWN = "\N{REPLACEMENT CHARACTER}"
_VOID = frozenset({"meta", "br", "hr", "col", "link"})


def text(value: object) -> Markup:
    """Escape a value; what would be invisible or turn the reading direction becomes visible."""
    if isinstance(value, Markup):
        return value
    plain = str(value)
    if not plain.isprintable():  # most texts are, and need no look at each character
        plain = "".join(c if c in "\n\t" or category(c) not in _HIDDEN else _SHOWN for c in plain)
    return Markup(escape(plain, quote=True))


def join(*children: Child) -> Markup:
    """Put children beside each other; None is nothing."""
    return Markup("".join(text(child) for child in children if child is not None))


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """Return one element. ``class_`` and ``stroke_width`` mean class and stroke-width.

    An attribute that is None is left out; True stands alone.
    """
    written = "".join(
        f" {_attribute(key)}" if value is True else f' {_attribute(key)}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def _attribute(key: str) -> str:
    if key in {"viewBox", "preserveAspectRatio"}:
        return key
    return key.rstrip("_").replace("_", "-")
