"""getopt_long as the Slurm commands use it, with its words when something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchd.sim.text import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """One option: ``argument`` is no, required or optional."""

    name: str
    short: str = ""
    argument: str = "required"


def options(text: str) -> tuple[Option, ...]:
    """Read a table: ``job-name/J= hold/H exclusive=?``; ``=`` required, ``=?`` optional."""
    table = []
    for item in text.split():
        if item.endswith("=?"):
            names, argument = item[:-2], "optional"
        elif item.endswith("="):
            names, argument = item[:-1], "required"
        else:
            names, argument = item, "no"
        name, _, short = names.partition("/")
        table.append(Option(name, short, argument))
    return tuple(table)


Pairs = list[tuple[str, str | None]]


class Parser:
    """Reads the arguments of one command."""

    def __init__(
        self,
        program: str,
        table: Sequence[Option],
        *,
        status: int = 1,
        permute: bool = True,
        hint: bool = True,
    ) -> None:
        self._program = program
        self._table = table
        self._names = {option.name: option for option in table}
        self._status = status
        self._permute = permute
        self._hint = f'Try "{program} --help" for more information\n' if hint else ""

    def parse(self, argv: Sequence[str]) -> tuple[Pairs, list[str]]:
        """Return (option, value) pairs by long name, and the operands. Raise UsageError."""
        found: Pairs = []
        operands: list[str] = []
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            if word == "--":
                operands += rest
                break
            if word.startswith("--"):
                found.append(self._long(word, rest))
            elif word.startswith("-") and len(word) > 1:
                self._short(word[1:], rest, found)
            else:
                operands.append(word)
                if not self._permute:
                    operands += rest
                    break
        return found, operands

    def _long(self, word: str, rest: list[str]) -> tuple[str, str | None]:
        name, equals, value = word[2:].partition("=")
        option = self._names.get(name) or self._abbreviated(name, word)
        if equals:
            if option.argument == "no":
                raise self._wrong(f"option '--{option.name}' doesn't allow an argument")
            return option.name, value
        if option.argument != "required":
            return option.name, None
        if not rest:
            raise self._wrong(f"option '--{option.name}' requires an argument")
        return option.name, rest.pop(0)

    def _abbreviated(self, name: str, word: str) -> Option:
        matches = [option for option in self._table if option.name.startswith(name)]
        if not matches:
            raise self._wrong(f"unrecognized option '{word}'")
        if len(matches) > 1:
            names = " ".join(f"'--{option.name}'" for option in matches)
            raise self._wrong(f"option '{word}' is ambiguous; possibilities: {names}")
        return matches[0]

    def _short(self, letters: str, rest: list[str], found: Pairs) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            option = next((o for o in self._table if o.short == letter), None)
            if option is None:
                raise self._wrong(f"invalid option -- '{letter}'")
            if option.argument == "no":
                found.append((option.name, None))
                continue
            if option.argument == "required" and not letters:
                if not rest:
                    raise self._wrong(f"option requires an argument -- '{letter}'")
                letters = rest.pop(0)
            found.append((option.name, letters or None))
            return

    def _wrong(self, text: str) -> UsageError:
        return UsageError(f"{self._program}: {text}\n{self._hint}", self._status)
