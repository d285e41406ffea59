"""squeue and sacct: the questions, and every answer, the good, the odd and the broken."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.model import Evidence, Observation, Used
from benchd.core.slurm import (
    SACCT_FIELDS,
    SEPARATOR,
    SQUEUE_FIELDS,
    exit_json_observation,
    parse_sacct,
    parse_squeue,
    sacct_argv,
    sacct_command,
    squeue_argv,
)

TOKEN = "bq7x2m-k5wz3tqa2f-s-redis-p0r0-0-a1"


def squeue(*rows: str, tres: str = "") -> bytes:
    """Return rows as squeue prints them; ``|`` stands for the separator."""
    return "".join(f"{row}|{tres}|\n".replace("|", SEPARATOR) for row in rows).encode()


def sacct(*rows: str, spent: str = "||") -> bytes:
    """Return rows as sacct prints them, with what the jobs were given and used behind them."""
    return "".join(f"{row}|{spent}\n".replace("|", SEPARATOR) for row in rows).encode()


def only(rows: object) -> Observation:
    """Return the one row that was read."""
    (row,) = list(rows)  # type: ignore[call-overload] # Rows can be listed
    assert isinstance(row, Observation)
    return row


# Recorded from real Slurm 22.05, the names shortened.
RECORDED = [
    (
        f"22|{TOKEN}|RUNNING|0|1795273966|1795273967|1795277566|n1|None|0",
        {"slurm_id": "22", "word": "RUNNING", "nodes": "n1", "generation": 0,
         "submitted_at": 1795273966.0, "started_at": 1795273967.0},
    ),
    (
        f"32|{TOKEN}|PENDING|0|1795273293|1795276893|1795280493||BeginTime|0",
        {"slurm_id": "32", "word": "PENDING", "reason": "BeginTime", "generation": 0,
         "submitted_at": 1795273293.0},
    ),
    (
        f"27|{TOKEN}|PENDING|0|1795273293|N/A|N/A||JobHeldUser|0",
        {"slurm_id": "27", "word": "PENDING", "reason": "JobHeldUser", "generation": 0,
         "submitted_at": 1795273293.0},
    ),
    (
        f"24|{TOKEN}|FAILED|0|1795273293|1795273294|1795273295|n1|NonZeroExitCode|1792",
        {"slurm_id": "24", "word": "FAILED", "reason": "NonZeroExitCode", "nodes": "n1",
         "generation": 0, "exit_code": 7, "submitted_at": 1795273293.0,
         "started_at": 1795273294.0, "ended_at": 1795273295.0},
    ),
    (
        f"25|{TOKEN}|FAILED|0|1795273293|1795273294|1795273295|n2|JobLaunchFailure|9",
        {"slurm_id": "25", "word": "FAILED", "reason": "JobLaunchFailure", "nodes": "n2",
         "generation": 0, "exit_code": 0, "signal": 9, "submitted_at": 1795273293.0,
         "started_at": 1795273294.0, "ended_at": 1795273295.0},
    ),
    (
        f"34|{TOKEN}|FAILED|0|1795273293|1795273295|1795273296|n3|JobLaunchFailure|4021",
        {"slurm_id": "34", "word": "FAILED", "reason": "JobLaunchFailure", "nodes": "n3",
         "generation": 0, "exit_code": 0, "signal": 53, "submitted_at": 1795273293.0,
         "started_at": 1795273295.0, "ended_at": 1795273296.0},
    ),
    (
        f"44|{TOKEN}|COMPLETING|1|1795273966|1795273967|1795277567|n1|None|0",
        {"slurm_id": "44", "word": "COMPLETING", "nodes": "n1", "generation": 1,
         "submitted_at": 1795273966.0, "started_at": 1795273967.0},
    ),
    (
        f"26_[2-3%1]|{TOKEN}|PENDING|0|1795273293|N/A|N/A||JobArrayTaskLimit|0",
        {"slurm_id": "26_[2-3%1]", "word": "PENDING", "reason": "JobArrayTaskLimit",
         "generation": 0, "submitted_at": 1795273293.0},
    ),
    (
        f"26_1|{TOKEN}|RUNNING|0|1795273293|1795273294|1795276894|n2|None|0",
        {"slurm_id": "26_1", "word": "RUNNING", "nodes": "n2", "generation": 0,
         "submitted_at": 1795273293.0, "started_at": 1795273294.0},
    ),
    (
        f"30+1|{TOKEN}|COMPLETED|0|1795273293|1795273294|1795273295|n4|None|0",
        {"slurm_id": "30+1", "word": "COMPLETED", "nodes": "n4", "generation": 0, "exit_code": 0,
         "submitted_at": 1795273293.0, "started_at": 1795273294.0, "ended_at": 1795273295.0},
    ),
    (
        f"7|{TOKEN}|PENDING|0|1795273293|N/A|N/A||ReqNodeNotAvail, UnavailableNodes:n[1-4]|0",
        {"slurm_id": "7", "word": "PENDING", "generation": 0, "submitted_at": 1795273293.0,
         "reason": "ReqNodeNotAvail, UnavailableNodes:n[1-4]"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), RECORDED)
def test_a_row_of_squeue_is_read(row: str, expected: dict[str, object]) -> None:
    """Every recorded row is read; estimates of start and end are not taken for facts."""
    evidence = Evidence(source="squeue", exit_status=0, raw=f"{row}|", at=5.0)
    want = Observation(token=TOKEN, evidence=evidence, **expected)  # type: ignore[arg-type] # test data
    assert want == only(parse_squeue(squeue(row), at=5.0))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            f"22|{TOKEN}|CANCELLED by 1000|0:0|1795273286|1795273287|1795273289|n1|None",
            {"word": "CANCELLED", "by": "1000", "exit_code": 0, "nodes": "n1",
             "started_at": 1795273287.0, "ended_at": 1795273289.0},
        ),
        (
            f"22|{TOKEN}|CANCELLED by 0|0:0|1795273286|None|1795273973|None assigned|BeginTime",
            {"word": "CANCELLED", "by": "0", "exit_code": 0, "reason": "BeginTime",
             "ended_at": 1795273973.0},
        ),
        (
            f"22|{TOKEN}|FAILED|0:53|1795273286|1795273295|1795273296|n3|None",
            {"word": "FAILED", "exit_code": 0, "signal": 53, "nodes": "n3",
             "started_at": 1795273295.0, "ended_at": 1795273296.0},
        ),
        (
            f"22|{TOKEN}|RUNNING|0:0|1795273286|1795273295|Unknown|n4|None",
            {"word": "RUNNING", "nodes": "n4", "started_at": 1795273295.0},
        ),
        (
            f"22|{TOKEN}|REQUEUED|0:0|1795273286|1795273287|1795273288|n1|None",
            {"word": "REQUEUED", "nodes": "n1", "started_at": 1795273287.0},
        ),
        (
            f"22|{TOKEN}|CANCELLED+|0:15|1795273286|1795273287|1795273289|n1|",
            {"word": "CANCELLED", "exit_code": 0, "signal": 15, "nodes": "n1",
             "started_at": 1795273287.0, "ended_at": 1795273289.0},
        ),
    ],
)  # fmt: skip
def test_a_row_of_sacct_is_read(row: str, expected: dict[str, object]) -> None:
    """Actors, exit codes with signals, and times that never came are read."""
    evidence = Evidence(source="sacct", exit_status=0, raw=f"{row}|||", at=5.0)
    want = Observation(
        token=TOKEN, slurm_id="22", submitted_at=1795273286.0, evidence=evidence, **expected  # type: ignore[arg-type] # test data
    )  # fmt: skip
    assert want == only(parse_sacct(sacct(row), at=5.0))


GOOD = f"22|{TOKEN}|RUNNING|0|1795273966|1795273967|1795277566|n1|None|0"


@pytest.mark.parametrize(
    "bad",
    [
        "slurm_load_jobs error: Socket timed out",
        f"22|{TOKEN}|RUNNING",
        f"x22|{TOKEN}|RUNNING|0|1|1|1|n1|None|0",
        f"|{TOKEN}|RUNNING|0|1|1|1|n1|None|0",
        f"22|{TOKEN}||0|1|1|1|n1|None|0",
        f"22|{TOKEN}|RUNNING|0|1|1|1|n1|None|0|one more",
        f"٢٢|{TOKEN}|RUNNING|0|1|1|1|n1|None|0",
    ],
)
def test_a_broken_row_costs_only_itself(bad: str) -> None:
    """A row that cannot be read is handed back; the rows around it count."""
    rows = parse_squeue(squeue(GOOD, bad, GOOD))
    assert [TOKEN, TOKEN] == [row.token for row in rows]
    assert len(rows.malformed) == 1


def test_a_name_with_a_line_break_spoils_no_other_job() -> None:
    """A stranger's job name may contain anything; ours are still read."""
    strange = "21|evil\nname|RUNNING|0|1|1|1|n1|None|0"
    rows = parse_squeue(squeue(strange, GOOD))
    assert ([TOKEN], 2) == ([row.token for row in rows], len(rows.malformed))


def test_an_empty_answer_has_no_rows() -> None:
    """No jobs, no rows, nothing malformed."""
    assert ([], ()) == (list(parse_squeue(b"")), parse_squeue(b"\n").malformed)
    assert ([], ()) == (list(parse_sacct(b"")), parse_sacct(b"\n").malformed)


@pytest.mark.parametrize("count", ["", "-1", "many", "²"])
def test_a_strange_restart_count_is_no_count(count: str) -> None:
    """What is not a number is not a generation."""
    row = only(parse_squeue(squeue(GOOD.replace("|RUNNING|0|", f"|RUNNING|{count}|"))))
    assert (None, "RUNNING") == (row.generation, row.word)


def test_odd_bytes_and_escapes_do_not_reach_the_evidence() -> None:
    """Control characters and broken text are shown as question marks."""
    line = squeue(GOOD.replace("n1", "n\x1b[2J1"))
    row = only(parse_squeue(line.replace(b"None", b"\xff\xfe")))
    assert "\x1b" not in row.evidence.raw
    assert "n?[2J1" in row.evidence.raw


@pytest.mark.parametrize("column", range(1, len(SQUEUE_FIELDS)))
@pytest.mark.parametrize("digits", [30, 5000])
def test_a_number_of_any_length_costs_nothing(column: int, digits: int) -> None:
    """It is read as none, for it is none: the row counts, and fits into the books."""
    for columns, parse in ((SQUEUE_FIELDS, parse_squeue), (SACCT_FIELDS, parse_sacct)):
        cells = ["22", *["1"] * (len(columns) - 1), *[""] * (parse is parse_squeue)]
        cells[2], cells[column] = "FAILED", "9" * digits  # of an end everything is read
        read = asdict(only(parse(SEPARATOR.join(cells).encode()))).values()
        assert [] == [each for each in read if isinstance(each, int | float) and each >= 2**63]


@given(st.binary(max_size=300))
def test_parsers_take_any_bytes(data: bytes) -> None:
    """Whatever a login node sends, reading it never raises."""
    for parse in (parse_squeue, parse_sacct):
        rows = parse(data)
        assert len(rows) <= data.count(b"\n") + 1


@given(
    st.lists(st.text(max_size=8), min_size=len(SQUEUE_FIELDS) - 1, max_size=len(SQUEUE_FIELDS) - 1)
)
def test_any_field_may_hold_anything(cells: list[str]) -> None:
    """A row with an id and strange fields is read or handed back, and never raises."""
    text = SEPARATOR.join(["22", *cells]) + SEPARATOR
    for parse in (parse_squeue, parse_sacct):
        parse(text.encode("utf-8", "surrogatepass"))


# Text of one column: a site, a user or a damaged file may put anything there but what ends it.
CELL = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters=f"{SEPARATOR}\n"), max_size=12
)
NAME = CELL.map(str.strip).filter(bool)


@given(NAME, NAME, CELL)
def test_what_stands_in_a_column_stays_in_it(name: str, nodes: str, reason: str) -> None:
    """Bars, blanks, quotes and control bytes in names shift no column."""
    cells = ["22", name, "RUNNING", "3", "1", "2", "9", nodes, reason, "0", "cpu=1"]
    text = SEPARATOR.join(cells) + SEPARATOR + "\n"
    row = only(parse_squeue(text.encode()))
    said = "" if nodes in {"N/A", "None", "NONE", "Unknown", "(null)", "None assigned"} else nodes
    assert ("22", name, "RUNNING", 3, said) == (
        row.slurm_id,
        row.token,
        row.word,
        row.generation,
        row.nodes,
    )


@given(st.integers(0, 10), NAME, NAME)
def test_a_separator_in_a_column_costs_the_row(column: int, before: str, after: str) -> None:
    """A row with one column too many is handed back whole: nobody guesses which one was split."""
    cells = ["22", TOKEN, "RUNNING", "0", "1", "2", "9", "n1", "None", "0", "cpu=1"]
    cells[column] = f"{before}{SEPARATOR}{after}"
    rows = parse_squeue((SEPARATOR.join(cells) + SEPARATOR + "\n").encode())
    assert ([], 1) == (list(rows), len(rows.malformed))


@pytest.mark.parametrize(
    ("row", "exit_code", "signal"),
    [
        (f"1|{TOKEN}|FAILED|0|1795285500|1795285501|1795285502|n1|NonZeroExitCode|3:0", 3, None),
        (f"2|{TOKEN}|CANCELLED|0|1795285559|1795285559|1795285559|n1|None|0:54", 0, 54),
        (f"4|{TOKEN}|COMPLETED|0|1795285559|1795285560|1795285565|n2|None|0:0", 0, None),
    ],
)
def test_a_row_of_newer_versions_is_read(row: str, exit_code: int, signal: int | None) -> None:
    """From 23.02 on squeue prints exit codes as sacct does (recorded from 24.11)."""
    seen = only(parse_squeue(squeue(row)))
    assert (exit_code, signal) == (seen.exit_code, seen.signal)


@pytest.mark.parametrize(
    "job_id", ["123", "123_4", "123_[4-9%2]", "123_[1,3,5-7]", "123+0", "123_4+1"]
)
def test_every_form_of_an_id_is_one(job_id: str) -> None:
    """Arrays, their waiting rest and parts of heterogeneous jobs keep their ids as Slurm says."""
    assert job_id == only(parse_squeue(squeue(GOOD.replace("22|", f"{job_id}|", 1)))).slurm_id


@pytest.mark.parametrize("job_id", ["123_", "123_[4", "_4", "123+", "123-4", "12 3", "123_x"])
def test_what_is_no_id_is_no_row(job_id: str) -> None:
    """A cut or invented id is handed back."""
    assert 1 == len(parse_squeue(squeue(GOOD.replace("22|", f"{job_id}|", 1))).malformed)


def test_a_stranger_with_our_id_is_not_ours() -> None:
    """Ids come again after a controller lost its state: the name says whose row it is."""
    stranger = GOOD.replace(TOKEN, "somebody-elses-job")
    names = [row.token for row in parse_squeue(squeue(stranger, GOOD))]
    assert ["somebody-elses-job", TOKEN] == names


# --- what a job was given and used ----------------------------------------------------------------

PLAIN = "billing=4,cpu=4,gres/gpu=2,mem=2G,node=2"
ENDED = f"24|{TOKEN}|COMPLETED|0|1795273293|1795273294|1795273295|n1|None|0"
NEVER = f"25|{TOKEN}|CANCELLED|0|1795273293|1795273294|1795273294||None|0"
WAITS = f"27|{TOKEN}|PENDING|0|1795273293|N/A|N/A||JobHeldUser|0"


@pytest.mark.parametrize(
    ("row", "tres", "expected"),
    [
        (GOOD, "cpu=4,mem=2G,node=2,billing=4,gres/gpu=2", Used(tres=PLAIN)),
        (ENDED, "cpu=4,mem=2G,node=2,billing=4,gres/gpu=2", Used(tres=PLAIN)),
        (NEVER, "cpu=4,mem=2G,node=2,billing=4,gres/gpu=2", None),
        (WAITS, "cpu=4,mem=2G,node=2,billing=4,gres/gpu=2", None),  # that is what it asks for
        (GOOD, "cpu=1,energy=77,node=1", Used(tres="cpu=1,node=1")),  # of the steps so far
        (ENDED, "cpu=1,energy=101630,node=1", Used(tres="cpu=1,node=1", energy_j=101630)),
        (ENDED, "cpu=1,energy=0,node=1", Used(tres="cpu=1,node=1")),
        (ENDED, "cpu=1,energy=18446744073709551614", Used(tres="cpu=1")),
        (ENDED, "N/A", None),
        (ENDED, "", None),
        (ENDED, f"cpu=1,energy={'9' * 5000},billing={'9' * 400}", Used(tres="cpu=1")),
        (ENDED, "x; rm -rf /=1,=,cpu,cpu=1 2,gres/gpu:a100=4", Used(tres="gres/gpu:a100=4")),
    ],
)
def test_the_queue_tells_what_a_job_was_given(row: str, tres: str, expected: Used | None) -> None:
    """In the order of the books, and with its energy once it ended; 0 and "not set" are none."""
    assert expected == only(parse_squeue(squeue(row, tres=tres))).used


@pytest.mark.parametrize(
    ("spent", "expected"),
    [
        (f"{PLAIN}||8", Used(tres=PLAIN, elapsed_s=8)),
        (f"{PLAIN}|101630|8", Used(tres=PLAIN, energy_j=101630, elapsed_s=8)),
        (f"{PLAIN},energy=7|7|8", Used(tres=PLAIN, energy_j=7, elapsed_s=8)),
        (f"{PLAIN}|18446744073709551614|8", Used(tres=PLAIN, elapsed_s=8)),
        ("|0|0", Used(elapsed_s=0)),
        ("|lots|8 s", None),
        (f"|{'9' * 5000}|{'9' * 5000}", None),
        ("||4294967294", None),
    ],
)
def test_the_books_tell_what_a_job_used(spent: str, expected: Used | None) -> None:
    """What nobody measured is not known, which is not the same as nothing."""
    row = f"22|{TOKEN}|COMPLETED|0:0|1795273286|1795273287|1795273289|n1|None"
    assert expected == only(parse_sacct(sacct(row, spent=spent))).used


# --- the questions ------------------------------------------------------------------------------


def test_the_listing_asks_for_every_field_with_its_separator() -> None:
    """Squeue lists all our jobs in all states, in epoch seconds, without cutting values."""
    argv = squeue_argv()
    assert argv[argv.index("squeue") :][:6] == ["squeue", "--me", "-h", "-t", "all", "-O"]
    assert ["SLURM_TIME_FORMAT=%s", "squeue"] == argv[argv.index("squeue") - 1 :][:2]
    assert "".join(f"{field}:\x1f," for field in SQUEUE_FIELDS).rstrip(",") == argv[-1]
    assert [*argv, f"--name={TOKEN}"] == squeue_argv(TOKEN)


def test_the_users_own_settings_cannot_hide_jobs() -> None:
    """Variables with which squeue or sacct would filter are taken out of their environment."""
    kept = "env -i PATH=/bin:/usr/bin SQUEUE_PARTITION=short SLURM_CLUSTERS=x SACCT_FEDERATION=1"
    for argv, program in ((squeue_argv(), "squeue"), (sacct_argv([TOKEN], 0.0), "sacct")):
        shown = [*kept.split(), *argv[: argv.index(program)], "printenv"]
        done = subprocess.run(shown, capture_output=True, check=False)
        names = {line.split("=")[0] for line in done.stdout.decode().splitlines()}
        assert set() == names & {
            "SLURM_CLUSTERS",
            {"squeue": "SQUEUE_PARTITION"}.get(program, "SACCT_FEDERATION"),
        }
        assert "SLURM_TIME_FORMAT" in names


def test_accounting_is_asked_by_name_since_a_utc_time() -> None:
    """Sacct gets all names at once, a start in UTC, and the same separator."""
    argv = sacct_argv(["a", "b"], 1795273286.0)
    tail = argv[argv.index("sacct") - 1 :]
    assert [
        *("TZ=UTC", "sacct", "-X", "-n", "-P", "--delimiter=\x1f", "--name=a,b"),
        *(f"--format={','.join(SACCT_FIELDS)}", "-S", "2026-11-21T15:01:26"),
    ] == tail
    assert argv == shlex.split(sacct_command(["a", "b"], 1795273286.0))
    assert "1970-01-01T00:00:00" == sacct_argv(["a"], -5.0)[-1]


# --- exit.json ----------------------------------------------------------------------------------

EXIT = (
    '{"slurm_id":"101","generation":1,"status":7,"started_at":1795273286,"ended_at":1795273289}\n'
)


@pytest.mark.parametrize(("status", "word"), [(0, "COMPLETED"), (7, "FAILED"), (143, "FAILED")])
def test_exit_json_is_an_observation(status: int, word: str) -> None:
    """What the script left says how the job ended, when Slurm has forgotten it."""
    text = EXIT.replace('"status":7', f'"status":{status}')
    assert exit_json_observation(TOKEN, text) == Observation(
        token=TOKEN,
        slurm_id="101",
        word=word,
        generation=1,
        exit_code=status,
        started_at=1795273286.0,
        ended_at=1795273289.0,
        evidence=Evidence(source="exit.json", exit_status=0, raw=text.strip(), at=1795273289.0),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        EXIT[:40],
        "[]",
        "null",
        "[" * 100_000,
        EXIT.replace('"101"', "101"),
        EXIT.replace('"101"', '"sealed"'),
        EXIT.replace('"status":7', '"status":"7"'),
        EXIT.replace('"status":7', '"status":256'),
        EXIT.replace('"status":7', '"status":true'),
        EXIT.replace('"generation":1', '"generation":-1'),
        EXIT.replace("1795273289", "NaN"),
        EXIT.replace('"status":7,', ""),
    ],
)
def test_what_is_no_exit_json_says_nothing(text: str) -> None:
    """A half-written or hostile file is not taken for an end."""
    assert exit_json_observation(TOKEN, text) is None
