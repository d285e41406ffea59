"""What runs leave on this machine, on real file systems that refuse some of it."""

from __future__ import annotations

import multiprocessing
import resource
import signal
from pathlib import Path

import pytest

from benchd.edge.archive import Archive
from support.builders import client, run


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Return an empty archive."""
    return Archive(tmp_path / "runs")


def tighten() -> None:
    """Let no file of this process grow beyond 4 KiB: a quota without a file system for it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_everything_has_its_place(archive: Archive) -> None:
    """Recipe, scripts, logs, raw files, results and reports lie where people look for them."""
    job = client()
    complaints = [
        archive.keep_recipe(run(), (job,)),
        *archive.keep_files(job, {"out": b"o", "err": b"e", "result/a/b": b"x", "exit.json": b""}),
        archive.keep_result(job, "{}"),
        archive.keep_report(run(), "<p>", "#"),
    ]
    assert [None, None, None] == complaints
    assert names(archive.folder(run().id)) == {
        *("recipe.yaml", "report.md", "report.html", f"scripts/{job.token}.sh"),
        *(f"logs/{job.token}.out", f"logs/{job.token}.err", f"results/{job.token}.json"),
        *(f"raw/{job.token}/result/a/b", f"raw/{job.token}/exit.json"),
    }


@pytest.mark.parametrize("length", [252, 255])
def test_the_longest_name_is_kept(archive: Archive, length: int) -> None:
    """A file name as long as a directory allows is written, nothing lies beside it."""
    job = client()
    assert [] == archive.keep_files(job, {"result/" + "a" * length: b"x"})
    folder = archive.folder(job.run_id) / "raw" / job.token
    assert {"result/" + "a" * length} == names(folder)


def test_what_cannot_be_written_is_said_and_the_rest_is_kept(archive: Archive) -> None:
    """A name that is too long, or taken by a file, costs only that file."""
    job = client()
    files = {"result/" + "\u2028" * 255: b"x", "result/a": b"a", "result/a/b": b"b"}
    files |= {"result/\0": b"", "out": b"o"}
    long, taken, null = archive.keep_files(job, files)
    assert ("File name too long", "File exists", "embedded null byte") == (
        long.rpartition(": ")[2],
        taken.rpartition(": ")[2],
        null.rpartition(": ")[2],
    )
    kept = {f"raw/{job.token}/result/a", f"logs/{job.token}.out"}
    assert kept == names(archive.folder(job.run_id))


def fill(archive: Archive) -> list[str | None]:
    """Write more than fits; return what was said about it."""
    job, big = client(), "x" * 5000
    return [
        archive.keep_files(job, {"result/big": big.encode(), "out": b"o"})[0],
        archive.keep_recipe(run(recipe=big), (job,)),
        archive.keep_result(job, big),
        archive.keep_report(run(), big, big),
    ]


def test_a_full_disk_leaves_no_halves(archive: Archive) -> None:
    """What does not fit is said, what was there stays, and what fits is kept."""
    assert archive.keep_report(run(), "old", "old") is None
    # In a process of its own: the limit would also hold for what this one prints into a file.
    with multiprocessing.get_context("fork").Pool(1, initializer=tighten) as pool:
        complaints = pool.apply(fill, (archive,))
    folder = archive.folder(run().id)
    assert [True] * 4 == [bool(said and "File too large" in said) for said in complaints]
    assert f"cannot write '{folder}/report.md': File too large (and 1 more files)" == complaints[3]
    kept = {
        "report.md",
        "report.html",
        f"scripts/{client().token}.sh",
        f"logs/{client().token}.out",
    }
    assert (kept, "old") == (names(folder), (folder / "report.html").read_text())


def test_a_folder_that_is_a_file_raises_nothing(archive: Archive) -> None:
    """Where the archive cannot be at all, every write says so."""
    archive.root.write_text("not a directory")
    said = [archive.keep_recipe(run(), ()), archive.keep_result(client(), "{}")]
    assert [True, True] == [bool(each and each.startswith("cannot write ")) for each in said]


def test_names_do_not_lead_out_of_the_archive(archive: Archive) -> None:
    """A name with steps upwards, or from the root, stays below the job's folder."""
    job = client()
    assert [] == archive.keep_files(job, {"/etc/x": b"1", "../../y": b"2", "..": b"3"})
    folder = archive.folder(job.run_id) / "raw" / job.token
    assert {"etc/x", "y", "unnamed"} == names(folder)
