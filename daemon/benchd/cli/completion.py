"""Completion of ``benchctl`` in bash, zsh and fish: scripts made from its own parser.

Each script walks over the words before the cursor to find the command they are in, and offers what
may follow there. Nothing is asked of the daemon. Where benchctl knows no words, the shell goes on
with file names.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from shlex import quote
from typing import NamedTuple


# Named tuples, as dataclasses would take 10 ms of each command's start to import.
class _Option(NamedTuple):
    flags: tuple[str, ...]
    text: str
    has_value: bool


class _Place(NamedTuple):
    """Where the words before the cursor lead: a command, or the program itself."""

    at: str  # every word with a space before it, e.g. " cluster pause"
    options: tuple[_Option, ...]
    commands: Mapping[str, str]  # what it is for
    choices: tuple[str, ...]

    @property
    def words(self) -> dict[str, str]:
        """What may follow beside options, with what it is for."""
        return {**self.commands, **dict.fromkeys(self.choices, "")}


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return what a shell is to read, for example by ``source <(benchctl completion bash)``."""
    return SHELLS[shell](list(_places(parser)))


def _places(parser: argparse.ArgumentParser, at: str = "") -> Iterator[_Place]:
    options: list[_Option] = []
    commands: dict[str, str] = {}
    choices: list[str] = []
    below: list[tuple[argparse.ArgumentParser, str]] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for choice in action._choices_actions:  # noqa: SLF001 - as above
                commands[choice.dest] = choice.help or ""
                below.append((action.choices[choice.dest], f"{at} {choice.dest}"))
        elif action.option_strings:
            has_value = action.nargs != 0
            options.append(_Option(tuple(action.option_strings), action.help or "", has_value))
        else:
            choices += action.choices or ()
    yield _Place(at, tuple(options), commands, tuple(choices))
    for sub, place in below:
        yield from _places(sub, place)


def _steps(places: list[_Place]) -> tuple[list[str], list[str]]:
    """Return the places that a word leads to, and the options that take the next word."""
    entered = [f"{place.at} {name}" for place in places for name in place.commands]
    valued = [
        f"{place.at} {flag}"
        for place in places
        for option in place.options
        if option.has_value
        for flag in option.flags
    ]
    return entered, valued


def _bash(places: list[_Place]) -> str:
    entered, valued = _steps(places)
    cases = "\n".join(
        f"        {quote(place.at)}) words={quote(' '.join(place.words))}"
        f" options={quote(' '.join(flag for o in place.options for flag in o.flags))} ;;"
        for place in places
    )
    return f"""\
# bash completion of benchctl: source <(benchctl completion bash)
_benchctl() {{
    local at="" value="" words="" options="" word index
    local current="${{COMP_WORDS[COMP_CWORD]}}"
    for ((index = 1; index < COMP_CWORD; index++)); do
        word="${{COMP_WORDS[index]}}"
        if [[ -n $value ]]; then
            [[ $word == "=" ]] || value=""
            continue
        fi
        case "$at $word" in
            {"|".join(map(quote, entered))}) at="$at $word" ;;
            {"|".join(map(quote, valued))}) value=1 ;;
        esac
    done
    COMPREPLY=()
    [[ -z $value ]] || return 0
    case "$at" in
{cases}
    esac
    [[ $current != -* ]] || words="$options"
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o bashdefault -o default -F _benchctl benchctl
"""


def _zsh(places: list[_Place]) -> str:
    entered, valued = _steps(places)
    cases = "\n".join(
        f"        {quote(place.at)})\n"
        f"            known=({_described(place.words)})\n"
        f"            options=({_described({f: o.text for o in place.options for f in o.flags})})\n"
        "            ;;"
        for place in places
    )
    return f"""\
#compdef benchctl
# zsh completion of benchctl: source <(benchctl completion zsh), or as _benchctl in $fpath
_benchctl() {{
    local at="" value="" word
    local -a known options
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        if [[ -n $value ]]; then
            value=""
            continue
        fi
        case "$at $word" in
            {"|".join(map(quote, entered))}) at="$at $word" ;;
            {"|".join(map(quote, valued))}) value=1 ;;
        esac
    done
    if [[ -n $value ]]; then
        _files
        return
    fi
    case "$at" in
{cases}
    esac
    if [[ $words[CURRENT] == -* ]]; then
        _describe -o option options
    elif (( $#known )); then
        _describe command known
    else
        _files
    fi
}}
if [[ $funcstack[1] == _benchctl ]]; then
    _benchctl "$@"
else
    compdef _benchctl benchctl
fi
"""


def _described(words: Mapping[str, str]) -> str:
    return " ".join(quote(f"{word}:{text}" if text else word) for word, text in words.items())


def _fish(places: list[_Place]) -> str:
    entered, valued = _steps(places)
    lines = []
    for place in places:
        where = f"complete -c benchctl -n {_fished(f'__benchctl_at {_fished(place.at)}')}"
        lines += [
            f"{where} -f -a {_fished(word)} -d {_fished(text)}"
            for word, text in place.words.items()
        ]
        for option in place.options:
            flags = " ".join(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                for flag in option.flags
            )
            needs = " -r" if option.has_value else ""
            lines.append(f"{where} {flags}{needs} -d {_fished(option.text)}")
    return f"""\
# fish completion of benchctl: benchctl completion fish | source
function __benchctl_at
    set -l at ""
    set -l value ""
    for word in (commandline -opc)[2..-1]
        if test -n "$value"
            set value ""
            continue
        end
        switch "$at $word"
            case {" ".join(map(_fished, entered))}
                set at "$at $word"
            case {" ".join(map(_fished, valued))}
                set value 1
        end
    end
    test "$at" = "$argv[1]"
end
{chr(10).join(lines)}
"""


def _fished(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SHELLS: Mapping[str, Callable[[list[_Place]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
