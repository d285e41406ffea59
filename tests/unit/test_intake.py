"""From a dropped file to a recorded run: what is refused, and what is said about it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from benchd.access import Access
from benchd.catalog import CATALOG
from benchd.config import ClusterSettings, Settings
from benchd.core.model import Job, Run
from benchd.edge.archive import Archive
from benchd.edge.inbox import Drop, Inbox
from benchd.edge.keyring import Keyring
from benchd.errors import RecipeError, UserError
from benchd.intake import Intake
from benchd.metrics import Metrics

pytestmark = pytest.mark.asyncio
OWNER, FRIEND, GUEST, STRANGER = 0, 1001, 1002, 1003  # uids
NOW = 1_700_000_000.0  # seconds since the epoch; any moment will do
RECIPE = b"service: {name: redis}\ncluster: %b\n"


class Shelf:
    """A store that only remembers runs."""

    instance = "abcdef"

    def __init__(self) -> None:
        self.runs: list[Run] = []

    async def create_run(self, run: Run, jobs: tuple[Job, ...]) -> bool:
        """Keep a run."""
        assert jobs
        self.runs.append(run)
        return True


def intake(place: Path, store: Shelf) -> Intake:
    """Return an intake with two clusters, of which ``near`` is the default."""
    local = ClusterSettings(local=True)
    return Intake(
        inbox=Inbox(place / "inbox"),
        store=store,
        settings=Settings(clusters={"near": local, "meluxina": local}, default_cluster="near"),
        catalog=CATALOG,
        ship={},
        archive=Archive(place / "runs"),
        keyring=Keyring(place / "secrets"),
        access=Access(owner=OWNER, operators=frozenset({FRIEND}), readers=frozenset({GUEST})),
        metrics=Metrics(),
        clock=lambda: NOW,
    )


async def test_an_unknown_cluster_is_refused_where_it_stands(tmp_path: Path) -> None:
    """The message has line and column, and the name that was probably meant."""
    store = Shelf()
    with pytest.raises(RecipeError) as caught:
        await intake(tmp_path, store).submit("web.yaml", RECIPE % b"meluxna", 0, {})

    expected = "web.yaml:2:10: cluster: no cluster 'meluxna' in the configuration; did you mean "
    assert f"{expected}meluxina?" == str(caught.value)
    assert [] == store.runs


@pytest.mark.parametrize(("said", "expected"), [(b"meluxina", "meluxina"), (b"null", "near")])
async def test_a_run_goes_where_its_recipe_says(tmp_path: Path, said: bytes, expected: str) -> None:
    """A recipe that names no cluster goes to the default one."""
    store = Shelf()
    text = RECIPE % said if said != b"null" else RECIPE.partition(b"cluster")[0]
    await intake(tmp_path, store).submit("web.yaml", text, 0, {})

    assert [expected] == [run.cluster for run in store.runs]


async def test_whoever_submits_learns_how_it_was_understood(tmp_path: Path) -> None:
    """What is called otherwise in job names is told with the run, where it stands."""
    text = b"service: {name: my_store, kind: redis}\n"
    runs, remarks = await intake(tmp_path, Shelf()).submit("web.yaml", text, 0, {})

    expected = "web.yaml:1:17: service.name: is called my-store in job names and files"
    assert (1, [expected]) == (len(runs), remarks)


def holders(folder: Path, word: bytes) -> set[str]:
    """Return the files in which a word stands."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)) for path in files if word in path.read_bytes()}


async def dropped(inbox: Inbox, text: bytes, uid: int) -> Drop:
    """Return a file in the inbox as a scan would offer it, of this owner."""
    (inbox.directory / "web.yaml").write_bytes(text)
    await inbox.scan()
    (drop,) = await inbox.scan()
    return replace(drop, uid=uid)


@pytest.mark.parametrize(("uid", "may"), [(0, True), (FRIEND, True), (GUEST, False), (1003, False)])
async def test_a_file_is_its_owners_wish(tmp_path: Path, uid: int, may: bool) -> None:
    """A dropped file is taken in from whoever may act on the socket; others find out why not."""
    store = Shelf()
    made = intake(tmp_path, store)
    await made.inbox.scan()
    drop = await dropped(made.inbox, b"service: {name: redis}\n", uid)
    if may:
        await made.take(drop)
        assert [uid] == [run.owner_uid for run in store.runs]
        return
    with pytest.raises(UserError, match=f"belongs to uid {uid}, who may not submit here"):
        await made.take(drop)
    assert ([], True) == (store.runs, (tmp_path / "inbox" / "rejected" / "web.yaml").exists())


async def test_a_file_of_nobody_in_particular_is_refused(tmp_path: Path) -> None:
    """Where a uid stands for many users, its files are refused with what to do about it."""
    made = intake(tmp_path, Shelf())
    made.access = replace(made.access, shared=FRIEND)
    await made.inbox.scan()
    drop = await dropped(made.inbox, b"service: {name: redis}\n", FRIEND)
    with pytest.raises(UserError, match=r"does not tell .* without PrivateUsers="):
        await made.take(drop)


async def test_a_password_is_taken_out_of_all_that_is_kept(tmp_path: Path) -> None:
    """Store, archive and the accepted file say [redacted]; the keyring alone has the value."""
    store = Shelf()
    made = intake(tmp_path, store)
    await made.inbox.scan()
    text = b"service: {name: redis, environment: {REDIS_PASSWORD: hunter2}}\n"
    await made.take(await dropped(made.inbox, text, 0))
    assert {f"secrets/{store.runs[0].id}.json"} == holders(tmp_path, b"hunter2")
    assert "[redacted]" in store.runs[0].recipe
    (accepted,) = (tmp_path / "inbox" / "accepted").iterdir()
    assert accepted.read_text() == store.runs[0].recipe
    assert hashlib.sha256(accepted.read_bytes()).hexdigest() == store.runs[0].recipe_sha256


async def test_the_same_drop_after_a_crash_is_the_same_run(tmp_path: Path) -> None:
    """Also with a password in it: taking it out does not depend on when it is done."""
    store = Shelf()
    made = intake(tmp_path, store)
    await made.inbox.scan()
    text = b"service: {name: redis, environment: {REDIS_PASSWORD: hunter2}}\n"
    drop = await dropped(made.inbox, text, 0)
    first = await made.take(drop)
    assert first == await made.take(drop)


async def test_a_secret_that_cannot_be_had_is_refused_beside_the_file(tmp_path: Path) -> None:
    """A recipe whose password file is missing is rejected with the path; nothing is sent."""
    store = Shelf()
    made = intake(tmp_path, store)
    await made.inbox.scan()
    text = b"service: {name: redis, secrets: {A_KEY: {file: /nowhere/at/all}}}\n"
    with pytest.raises(UserError, match="cannot read /nowhere/at/all"):
        await made.take(await dropped(made.inbox, text, 0))
    assert [] == store.runs


async def test_a_recipe_waits_until_its_secrets_can_be_written(tmp_path: Path) -> None:
    """Where the keyring cannot be written the file stays in the inbox, and is taken in later."""
    store = Shelf()
    made = intake(tmp_path, store)
    await made.inbox.scan()
    recipe = made.inbox.directory / "web.yaml"
    recipe.write_text("service: {name: redis, secrets: {A_KEY: {generate: 24}}}\n")
    in_the_way = tmp_path / "secrets"
    in_the_way.touch()
    assert [0, 0, 0] == [await made.scan() for _ in range(3)]
    assert ([], True) == (store.runs, recipe.exists())
    in_the_way.unlink()
    assert (1, False) == (await made.scan(), recipe.exists())
    assert [store.runs[0].id] == list(made.keyring.runs)
