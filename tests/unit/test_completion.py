"""Completion scripts: real shells read them, and complete with them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchd.cli import ctl

# What stands before the cursor -> some of what is offered, and something that is not.
CASES = [
    (("sta",), {"status"}, "submit"),
    (("cluster", "re"), {"resume"}, "pause"),
    (("jobs", "--st"), {"--state"}, "--run"),
    (("--socket", "/s", "jobs", "--ru"), {"--run"}, "--state"),
    (("--socket", "status", "cluster", "li"), {"list"}, "status"),
    (("completion", "ba"), {"bash"}, "fish"),
]


@pytest.fixture
def written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Path:
    """Return a file with the script for a shell."""
    path = tmp_path / "script"
    assert 0 == ctl.main(["completion", request.param])
    path.write_text(capsys.readouterr().out)
    return path


def said(*argv: str) -> list[str]:
    """Run a shell that must have nothing to complain about; return its lines."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.splitlines()


@pytest.mark.parametrize("written", ["bash"], indirect=True)
@pytest.mark.parametrize(("words", "offered", "other"), CASES)
def test_bash_completes(
    written: Path, words: tuple[str, ...], offered: set[str], other: str
) -> None:
    """Bash offers commands, options and known words, and takes an option's value for none."""
    run = (
        'source "$1"; shift; COMP_WORDS=(benchctl "$@"); COMP_CWORD=$#; '
        'complete -p benchctl >/dev/null && _benchctl && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = said("bash", "--norc", "-c", run, "bash", str(written), *words)
    assert (offered, False) == (set(found), other in found)


@pytest.mark.parametrize("written", ["bash"], indirect=True)
def test_bash_goes_on_with_files_where_no_words_are_known(written: Path) -> None:
    """The value of an option and the files of submit are left to bash itself."""
    run = (
        'source "$1"; COMP_WORDS=(benchctl {}); COMP_CWORD={}; _benchctl; echo "${{#COMPREPLY[@]}}"'
    )
    for words, at in (("--socket s", 2), ("submit s", 2)):
        assert ["0"] == said("bash", "--norc", "-c", run.format(words, at), "bash", str(written))


@pytest.mark.real("fish")
@pytest.mark.parametrize("written", ["fish"], indirect=True)
@pytest.mark.parametrize(("words", "offered", "other"), CASES)
def test_fish_completes(
    written: Path, words: tuple[str, ...], offered: set[str], other: str
) -> None:
    """Fish itself, asked what it would offer, says the same as bash."""
    run = 'source $argv[1]; complete -C "benchctl $argv[2]"'
    lines = said("fish", "--no-config", "-c", run, str(written), " ".join(words))
    found = {line.split("\t")[0] for line in lines}
    assert (offered, False) == (found & offered, other in found)


@pytest.mark.real("zsh")
@pytest.mark.parametrize("written", ["zsh"], indirect=True)
def test_zsh_takes_the_script(written: Path) -> None:
    """Zsh reads it without a word, and knows what completes benchctl afterwards."""
    run = 'autoload -Uz compinit && compinit -D -u && source "$1" && print $_comps[benchctl]'
    assert ["_benchctl"] == said("zsh", "-f", "-c", run, "zsh", str(written))


@pytest.mark.real("zsh")
@pytest.mark.parametrize("written", ["zsh"], indirect=True)
@pytest.mark.parametrize(("words", "offered", "other"), CASES)
def test_zsh_offers(written: Path, words: tuple[str, ...], offered: set[str], other: str) -> None:
    """What the function hands to zsh has the words; zsh chooses those that begin so."""
    run = (
        'compdef() { :; }; _describe() { print -rl -- "${(@P)@[-1]}"; }; source "$1"; shift; '
        "words=(benchctl $@); CURRENT=$#words; _benchctl"
    )
    lines = said("zsh", "-f", "-c", run, "zsh", str(written), *words)
    found = {line.split(":")[0] for line in lines}
    assert offered == {word for word in found if word.startswith(words[-1])}
    assert other not in offered
