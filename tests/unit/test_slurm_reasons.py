"""Slurm's pending reasons: every word of every version, every spelling, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.slurm import ReasonClass, reason_class
from benchd.core.slurm_limits import FAMILIES
from benchd.core.slurm_reasons import ACTIONS, REASONS, TEXTS, is_launch_failure, known_reasons
from benchd.fields import Resources

DATA = Path(__file__).parents[1] / "data" / "slurm_reasons.txt"
ALL = [line.split() for line in DATA.read_text().splitlines() if not line.startswith("#")]
VERSIONS = [
    *("20.11", "21.08", "22.05", "23.02", "23.11", "24.05", "24.11", "25.05", "25.11", "26.05"),
    "26.11",
]

ASKED = Resources(
    time="2-00:00:00",
    partition="gpu",
    account="p200981",
    qos="short",
    mem="4G",
    nodes=2,
    gres="gpu:a100:4",
    reservation="maint",
)


@pytest.mark.parametrize(("name", "cls"), [row[:2] for row in ALL])
def test_every_reason_of_slurm_has_its_class(name: str, cls: str) -> None:
    """Every reason has the class of the list, a meaning and a fix of its own or its class."""
    verdict = reason_class(name, ASKED)
    assert (cls, True) == (str(verdict.cls), min(len(verdict.meaning), len(verdict.fix)) > 5)
    assert not re.search(r"[{}]|  | the the ", verdict.advice)


def test_no_reason_is_missing_and_none_is_invented() -> None:
    """The table has exactly the words that Slurm has had since 20.11."""
    assert {row[0] for row in ALL} == {row.word for row in REASONS.values()}


@pytest.mark.parametrize(
    ("version", "count"),
    list(zip(VERSIONS, [195, 195, 195, 195, 196, 216, 216, 215, 216, 216, 216], strict=True)),
)
def test_the_list_has_as_many_reasons_as_each_version(version: str, count: int) -> None:
    """The list of words agrees with the number of different ones in each version's source."""
    at = VERSIONS.index(version)
    spans = [(VERSIONS.index(first), VERSIONS.index(last)) for _, _, first, last in ALL]
    assert count == sum(first <= at <= last for first, last in spans)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.pattern.pattern)
def test_a_family_reads_its_own_words_first(family: object) -> None:
    """Every listed word of a family is read by that family's expression and by none before it."""
    for word in family.words:  # type: ignore[attr-defined] # a family
        key = re.sub(r"[^a-z0-9]", "", word.lower())
        assert family is next(other for other in FAMILIES if other.pattern.fullmatch(key))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("(Resources)", ReasonClass.WAIT),
        ("Priority", ReasonClass.WAIT),
        ("QOS_Max_Jobs_Per_User_Limit", ReasonClass.QUOTA),
        ("launch_failed_requeued_held", ReasonClass.HELD),
        ("(launch failed requeued held)", ReasonClass.HELD),
        ("ReqNodeNotAvail,_May_be_reserved_for_other_job", ReasonClass.INFRASTRUCTURE),
        ("ReqNodeNotAvail, Reserved for maintenance", ReasonClass.INFRASTRUCTURE),
        ("ReqNodeNotAvail(Unavailable:n[1-4])", ReasonClass.INFRASTRUCTURE),
        (
            (
                "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
                "partitions"
            ),
            ReasonClass.INFRASTRUCTURE,
        ),
        ("QOSMaxNewThingPerUserLimit", ReasonClass.QUOTA),
        ("AssocGrpNewThingRunMinutes", ReasonClass.QUOTA),
        ("AssocGrpNewThingMinutes", ReasonClass.NEVER),
        ("QOSMaxNewThingPerJob", ReasonClass.NEVER),
        ("", ReasonClass.WAIT),
        ("SomethingNew", ReasonClass.UNKNOWN),
        ("\x00\n日本", ReasonClass.WAIT),
    ],
)
def test_a_reason_is_known_however_it_is_written(reason: str, expected: ReasonClass) -> None:
    """Brackets, underscores, free text and new members of a family are classed."""
    assert expected is reason_class(reason).cls


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: row[1].word[:40])
def test_free_text_is_read_by_its_own_row(row: object) -> None:
    """What Slurm writes in place of a word is classed, also with underscores for blanks."""
    _, reason = row  # type: ignore[misc] # a pattern and a reason
    for text in (reason.word, reason.word.replace(" ", "_"), f"({reason.word})"):
        assert reason.cls is reason_class(text).cls
    assert reason is next(r for pattern, r in TEXTS if pattern.fullmatch(_key(reason.word)))


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            "PartitionTimeLimit",
            (
                "the time limit 2-00:00:00 exceeds what the partition gpu allows; ask for less "
                "`time` (`sinfo -o '%P %l'`), or use another partition (`sinfo -s`)"
            ),
        ),
        (
            "InvalidQOS",
            (
                "Slurm does not know the QOS short for your account; set `qos` to one of "
                "`sacctmgr show qos`"
            ),
        ),
        (
            "AssocGrpGRES",
            (
                "the account p200981 has reached its limit of GPUs or other gres; it starts when "
                "other jobs there end; asking for less may help: `gres` or `gpus`"
            ),
        ),
        (
            "QOSMaxMemoryPerJob",
            (
                "it asks for more memory than the QOS short allows for one job; ask for less "
                "`mem` or `mem_per_cpu`, or use another `account` or `qos`"
            ),
        ),
        (
            "BadConstraints",
            (
                "no node has what it asks for gpu:a100:4; change `constraint`, `gres`, `nodelist` "
                "or the partition (`sinfo -o '%P %f %G %N'`)"
            ),
        ),
        (
            "ReqNodeNotAvail, UnavailableNodes:n[1-3,7],gpu-[01-02]",
            (
                "nodes it needs (n1, n2, n3 and 3 more) are down, or reserved for maintenance or "
                "others; `sinfo -R` says why"
            ),
        ),
    ],
)
def test_the_fix_names_what_was_asked_for(reason: str, expected: str) -> None:
    """The sentence of a reason carries the job's own values."""
    assert expected == reason_class(reason, ASKED).advice


def test_what_was_not_asked_for_is_left_out() -> None:
    """Without a value the sentence still reads."""
    said = reason_class("PartitionTimeLimit", Resources()).meaning
    assert "the time limit exceeds what the partition allows" == said


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("launch failed requeued held", True),
        ("launch_failed_requeued_held", True),
        ("user env retrieval failed requeued held", True),
        ("launch failure limit exceeded requeued held", True),
        ("JobHeldUser", False),
        ("job requeued in held state", False),
    ],
)
def test_a_failed_launch_is_told_from_other_holds(reason: str, *, expected: bool) -> None:
    """What a node could not start is not what a human held."""
    assert expected is is_launch_failure(reason)


def test_every_class_has_an_action_and_a_reason() -> None:
    """What benchd does is said for each class, and no class but UNKNOWN is empty."""
    assert set(ACTIONS) == set(ReasonClass)
    assert {row.cls for row in known_reasons()} == set(ReasonClass) - {ReasonClass.UNKNOWN}


@given(st.text(max_size=200))
def test_any_text_is_classed(reason: str) -> None:
    """No reason raises, whatever a site's plug-in writes there."""
    assert reason_class(reason, ASKED).advice
