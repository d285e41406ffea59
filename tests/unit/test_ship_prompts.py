"""What prompts the load generator sends: unique ones, repeated ones, numbers, and a user's own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchd.ship.load import llm
from benchd.ship.load.datasets import Row, Rows
from benchd.ship.load.target import Target, Usage

HERE = Target("h", 1, "", False)


def prompt(made: llm.Workload, phase: str, index: int) -> Any:
    """Return the prompt in the bytes of a request."""
    body = made.request(phase, index, 4, HERE).partition(b"\r\n\r\n")[2]
    return json.loads(body)["prompt"]


def workload(mode: str, ids: bool = False, run: str = "r", rows: Rows | None = None) -> Any:
    """Return a workload whose prompts have 40 tokens."""
    options = llm.Options("openai-completions", "m", 40, 4, 0, False, None, None, mode, ids)
    return llm.Workload(HERE, 1.0, run, options, rows=rows)


@pytest.mark.parametrize("ids", [False, True])
def test_cache_modes(ids: bool) -> None:
    """What a cache of prefixes finds is what was declared: nothing, a beginning, or all."""

    def words(mode: str, phase: str, index: int, run: str = "r") -> list[Any]:
        made = prompt(workload(mode, ids, run), phase, index)
        found: list[Any] = made if ids else made.split(" ")
        return found

    for mode in ("unique", "shared-prefix", "repeat"):
        first, other = words(mode, "measure", 0), words(mode, "measure", 1)
        assert (len(first), words(mode, "measure", 0)) == (40, first)
        assert (first == other) == (mode == "repeat")
        assert (first[:16] == other[:16]) == (mode != "unique")
        assert (words(mode, "warmup", 0) == first) == (mode == "repeat")
        assert words(mode, "measure", 0, run="s") != first


def test_numbers_are_those_of_ordinary_tokens() -> None:
    """Token numbers are whole numbers in the part of a vocabulary that every model has."""
    made = prompt(workload("unique", ids=True), "measure", 3)
    assert {type(token) for token in made} == {int}
    assert 1000 <= min(made) <= max(made) < 30000


def test_lines_of_json(tmp_path: Path) -> None:
    """A file's prompts are sent in its order, a warm-up takes those at the end."""
    file = tmp_path / "own.jsonl"
    file.write_text('{"prompt": "a", "output_tokens": 3}\n\n{"prompt": "b"}\n{"prompt": "c"}\n')
    rows = Rows(str(file))
    made = workload("unique", rows=rows)
    assert [prompt(made, "measure", n) for n in range(4)] == ["a", "b", "c", "a"]
    assert [prompt(made, "warmup", n) for n in range(2)] == ["c", "b"]
    assert rows.row("measure", 0) == Row("a", 3)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert made.described()["prompt"] == {
        "path": str(file),
        "sha256": sha256,
        "rows": 3,
        "source": "dataset",
        "cache_mode": "dataset",
    }


def test_sharegpt(tmp_path: Path) -> None:
    """Of a ShareGPT file the first words of each person are taken."""
    talks = [
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
        {"conversations": [{"from": "gpt", "value": "x"}, {"from": "user", "value": "then"}]},
        {"conversations": []},
        "nonsense",
    ]
    file = tmp_path / "talks.json"
    file.write_text(json.dumps(talks))
    rows = Rows(str(file))
    assert (rows.rows, rows.described()["skipped"]) == ([Row("hi"), Row("then")], 2)
    file.write_text("".join(f"{json.dumps(talk)}\n" for talk in talks[:3]))
    rows = Rows(str(file))
    assert (rows.rows, rows.described()["skipped"]) == ([Row("hi"), Row("then")], 1)


def test_forms_of_editors(tmp_path: Path) -> None:
    """A mark of the encoding, empty lines before the first and ends of lines are no trouble."""
    file = tmp_path / "own"
    file.write_bytes(b'\xef\xbb\xbf\r\n{"prompt": "a"}\r\n')
    assert Rows(str(file)).rows == [Row("a")]
    file.write_bytes(b'\xef\xbb\xbf\n [{"conversations": [{"from": "human", "value": "hi"}]}]')
    assert Rows(str(file)).rows == [Row("hi")]


def test_steps_take_rows_in_turn(tmp_path: Path) -> None:
    """Each step of a measurement is one, as far as rows are concerned, and its warm-up is not."""
    file = tmp_path / "own"
    file.write_text('{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "c"}\n')
    rows = Rows(str(file))
    told = [rows.row(phase, n).prompt for phase in ("step-4", "warmup-4") for n in (0, 1)]
    assert told == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no prompts"),
        ('{"prompt": "a"}\n{"prompt": 3}\n', 'line 2 has no text as "prompt"'),
        ("hello\n", "line 1 is not JSON"),
        ('{"prompt": "a", "output_tokens": 0}', "is a whole number from 1"),
        ("[1,", "is not JSON"),
        ("[1]", "has no prompts"),
        ('{"conversations": []}', "has no prompts"),
        ('{"prompt": "a"}\n\x00', "line 2 is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (b'\n{"prompt": "\xe4"}', "line 2 is not UTF-8"),
    ],
)
def test_unusable_files(tmp_path: Path, text: str | bytes, said: str) -> None:
    """A file that cannot be used is refused with its line."""
    file = tmp_path / "own"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Usage, match=said):
        Rows(str(file))


def test_unreadable_files(tmp_path: Path) -> None:
    """A file that is not there, or is none, is refused with the system's reason."""
    with pytest.raises(Usage, match=r"--dataset \S+/nowhere: No such file"):
        Rows(str(tmp_path / "nowhere"))
    with pytest.raises(Usage, match="Is a directory"):
        Rows(str(tmp_path))
