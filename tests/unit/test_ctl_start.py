"""The first moments of ``benchctl``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import pytest

from benchd.cli import start


class _CtrlC(MetaPathFinder):
    """Somebody who types Ctrl-C while a module is looked for."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.was_asked = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == self.module:
            self.was_asked = True
            raise KeyboardInterrupt


@pytest.mark.parametrize("module", ["benchd.cli.ctl", "benchd.cli.commands"])
def test_ctrl_c_while_it_starts_ends_it_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    """Before a command can run Ctrl-C already means status 130, and no traceback."""
    typed = _CtrlC(module)
    for name in [name for name in sys.modules if name.startswith("benchd.cli.")]:
        if name != start.__name__:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [typed, *sys.meta_path])
    monkeypatch.delattr("benchd.cli.commands", raising=False)
    assert (130, True) == (start.main(), typed.was_asked)
    assert ("", "") == capsys.readouterr()


def test_then_the_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was typed is handed on, and its status comes back."""
    monkeypatch.setattr(sys, "argv", ["benchctl", "cancel"])
    assert 2 == start.main()
    assert "say what to cancel" in capsys.readouterr().err
