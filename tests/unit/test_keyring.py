"""The secrets of runs: where they come from, how they are kept, and who is told."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from benchd.catalog import CATALOG
from benchd.core.model import Binding, Job
from benchd.core.recipe import parse
from benchd.core.secrets import TICKET
from benchd.core.spec import Recipe, Secret
from benchd.edge.keyring import Keyring
from benchd.errors import StoreError, StoreFull, UserError
from support import builders
from support.bad_disk import no_room

pytestmark = pytest.mark.asyncio
RUN = "k5wz3tqa2f"
NOBODY = 65534  # a uid that is neither root's nor ours


def recipe(secrets: str, environment: str = "{}") -> Recipe:
    """Return a recipe of one service with these secrets, which are YAML."""
    text = f"service: {{name: redis, secrets: {secrets}, environment: {environment}}}\n"
    return parse(text.encode(), "web.yaml", CATALOG)


def service(**over: object) -> Job:
    """Return the job of such a service."""
    job = builders.service(run_id=RUN)
    spec = job.spec.model_copy(update={"name": "redis", **over})
    return builders.service(run_id=RUN, name="redis", spec=spec)


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """Return an empty keyring."""
    return Keyring(tmp_path / "secrets")


def private(path: Path, data: bytes) -> Path:
    """Write a file that only we can read."""
    path.write_bytes(data)
    path.chmod(0o600)
    return path


async def test_a_secret_is_made_for_the_run(keyring: Keyring) -> None:
    """Generate gives as many letters and digits as asked for, others each time, and a ticket."""
    found = [await keyring.resolve(recipe("{A_KEY: {generate: 24}}"), 0) for _ in range(2)]
    keys = [each["redis"]["A_KEY"] for each in found]
    assert [24, 24] == [len(key) for key in keys]
    assert all(key.isascii() and key.isalnum() for key in keys)
    assert keys[0] != keys[1]
    assert {"A_KEY", TICKET} == set(found[0]["redis"])


async def test_a_recipe_without_secrets_has_none(keyring: Keyring) -> None:
    """Nothing is made, written or remembered for a recipe that asks for nothing."""
    await keyring.keep(RUN, await keyring.resolve(recipe("{}"), 0))
    assert ({}, frozenset()) == (await keyring.of(service()), keyring.runs)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_a_secret_comes_from_a_private_file(
    keyring: Keyring, tmp_path: Path, end: bytes
) -> None:
    """The one line of a file of mode 0600 is the secret, without its end."""
    path = private(tmp_path / "pw", "hünter 2".encode() + end)
    found = await keyring.resolve(recipe(f'{{REDIS_PASSWORD: {{file: "{path}"}}}}'), 0)
    assert "hünter 2" == found["redis"]["REDIS_PASSWORD"]


@pytest.mark.parametrize(
    ("data", "mode", "expected"),
    [
        (b"hunter2", 0o640, "can be read by others: chmod 600"),
        (b"", 0o600, "is not one line of text"),
        (b"hunter2\nmore", 0o600, "is not one line of text"),
        (b"hunter2\0", 0o600, "is not one line of text"),
        (b"hunter2\xff", 0o600, "is not one line of text"),
        (b"hunter2" * 1000, 0o600, "is not one line of text"),
    ],
)
async def test_what_is_no_private_line_is_refused_unquoted(
    keyring: Keyring, tmp_path: Path, data: bytes, mode: int, expected: str
) -> None:
    """A file that others can read or that is no line is refused, and not a word of it is said."""
    path = private(tmp_path / "pw", data)
    path.chmod(mode)
    with pytest.raises(UserError) as caught:
        await keyring.resolve(recipe(f'{{REDIS_PASSWORD: {{file: "{path}"}}}}'), 0)
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("name", "what"), [("fifo", "is no file"), ("absent", "cannot read")])
async def test_what_is_no_file_does_not_block(
    keyring: Keyring, tmp_path: Path, name: str, what: str
) -> None:
    """A FIFO is not waited for."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(UserError, match=what):
        await keyring.resolve(recipe(f'{{A_KEY: {{file: "{tmp_path / name}"}}}}'), 0)


async def test_others_cannot_have_our_files_read_out(keyring: Keyring, tmp_path: Path) -> None:
    """A recipe of another user names no file of the user benchd runs as."""
    path = private(tmp_path / "id_ed25519", b"key")
    with pytest.raises(UserError, match=f"this recipe is of uid {NOBODY}"):
        await keyring.resolve(recipe(f'{{A_KEY: {{file: "{path}"}}}}'), NOBODY)


async def test_a_credential_is_what_systemd_hands_over(
    keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only credentials called secret.NAME can be named, so the SSH key cannot."""
    wanted = recipe("{A_KEY: {credential: ssh-key}}")
    with pytest.raises(UserError, match=r"add LoadCredential=secret\.ssh-key:/path"):
        await keyring.resolve(wanted, 0)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    private(tmp_path / "ssh-key", b"PRIVATE")
    with pytest.raises(UserError, match=r"secret\.ssh-key: No such file"):
        await keyring.resolve(wanted, 0)
    private(tmp_path / "secret.ssh-key", b"hunter2")
    assert "hunter2" == (await keyring.resolve(wanted, 0))["redis"]["A_KEY"]


async def test_secrets_survive_the_daemon_in_a_file_of_their_owner(
    keyring: Keyring, tmp_path: Path
) -> None:
    """Another process finds the same values, its owner's alone; a second look is harmless."""
    wanted = recipe("{A_KEY: {generate: 24}}", "{REDIS_PASSWORD: hunter2}")
    values = await keyring.resolve(wanted, 0)
    await keyring.keep(RUN, values)
    await keyring.keep(RUN, await keyring.resolve(wanted, 0))
    again = Keyring(tmp_path / "secrets")
    job = service(secrets={"A_KEY": Secret(generate=24), "REDIS_PASSWORD": None})
    assert values["redis"] == await again.of(job)
    assert "hunter2" == values["redis"]["REDIS_PASSWORD"]
    places = [tmp_path / "secrets", tmp_path / "secrets" / f"{RUN}.json"]
    assert ["drwx------", "-rw-------"] == [stat.filemode(p.stat().st_mode) for p in places]


async def test_a_client_is_told_what_its_services_are_told(keyring: Keyring) -> None:
    """Also by a service of another run; the client's own secrets and the first service win."""
    await keyring.keep(RUN, {"redis": {"A_KEY": "a", "B_KEY": "b"}, "bench": {"A_KEY": "own"}})
    other = "aaaaaaaaaa"
    await keyring.keep(other, {"mysql": {"B_KEY": "no", "C_KEY": "c"}})
    bindings = tuple(
        Binding(
            name=name, token=f"abcdef-{run}-s-{name}-p0r0-0-a1", generation=0, host="n", ports=()
        )
        for run, name in ((RUN, "redis"), (other, "mysql"))
    )
    job = builders.client(run_id=RUN, name="bench", bindings=bindings)
    assert {"A_KEY": "own", "B_KEY": "b", "C_KEY": "c"} == await keyring.of(job)


async def test_a_client_of_another_run_owes_a_removal(keyring: Keyring) -> None:
    """Whoever was told something is remembered, so that it is removed again."""
    await keyring.keep(RUN, {"redis": {"A_KEY": "a"}})
    bound = Binding(
        name="redis", token=f"abcdef-{RUN}-s-redis-p0r0-0-a1", generation=0, host="n", ports=()
    )
    await keyring.of(builders.client(run_id="aaaaaaaaaa", bindings=(bound,)))
    assert {RUN, "aaaaaaaaaa"} == keyring.runs


async def test_an_attempt_after_the_end_has_its_sources_asked_again(keyring: Keyring) -> None:
    """What can be had again is; what stood in the recipe is left out; both stay the same then."""
    job = service(secrets={"A_KEY": Secret(generate=24), "REDIS_PASSWORD": None})
    only = service(secrets={"A_KEY": Secret(generate=24)})
    assert {} == await keyring.of(job)
    first = await keyring.of(only)
    assert ({"A_KEY", TICKET}, first) == (set(first), await keyring.of(only))


async def test_an_attempt_that_nobody_has_the_password_for_is_refused(keyring: Keyring) -> None:
    """What can be made again is no obstacle, nor what is still kept; nothing is made by asking."""
    await keyring.check(service(secrets={"A_KEY": Secret(generate=24)}))
    assert frozenset() == keyring.runs
    job = service(secrets={"REDIS_PASSWORD": None})
    with pytest.raises(UserError, match="REDIS_PASSWORD stood in the recipe"):
        await keyring.check(job)
    await keyring.keep(RUN, {"redis": {"REDIS_PASSWORD": "known"}})
    await keyring.check(job)


@pytest.mark.parametrize("out", [True, False])
async def test_a_lost_secret_is_made_again_only_when_nobody_has_it(
    tmp_path: Path, out: bool
) -> None:
    """While a service that has it is up, what can be read again is, and nothing is made."""

    async def is_out(_job: Job) -> bool:
        return out

    keyring = Keyring(tmp_path / "secrets", is_out=is_out)
    file = private(tmp_path / "b", b"from the file\n")
    job = service(secrets={"A_KEY": Secret(generate=24), "B_KEY": Secret(file=str(file))})
    found = await keyring.of(job)
    assert "from the file" == found["B_KEY"]
    assert (set() if out else {"A_KEY", TICKET}) == set(found) - {"B_KEY"}
    assert found == await keyring.of(job)


async def test_what_is_dropped_is_gone(keyring: Keyring, tmp_path: Path) -> None:
    """After the run nothing is left, and dropping twice is harmless."""
    await keyring.keep(RUN, {"redis": {"A_KEY": "a"}})
    await keyring.drop(RUN)
    await keyring.drop(RUN)
    assert (frozenset(), []) == (keyring.runs, [*(tmp_path / "secrets").iterdir()])


async def test_on_a_full_disk_nothing_is_kept_and_later_all(
    keyring: Keyring, tmp_path: Path
) -> None:
    """Without room the caller is told so and no half of a secret stays; with room it is kept."""
    with no_room(), pytest.raises(StoreFull, match="no room for the secrets"):
        await keyring.keep(RUN, {"redis": {"A_KEY": "a"}})
    assert ([], frozenset()) == (list((tmp_path / "secrets").iterdir()), keyring.runs)
    await keyring.keep(RUN, {"redis": {"A_KEY": "a"}})
    assert {"A_KEY": "a"} == await keyring.of(service(secrets={"A_KEY": Secret(generate=24)}))


@pytest.mark.parametrize("act", ["keep", "of"])
async def test_what_cannot_be_written_or_read_is_said_with_its_path(
    tmp_path: Path, act: str
) -> None:
    """A file where the directory should be, or the other way round, is told as what it is."""
    keyring = Keyring(tmp_path / "secrets")
    if act == "keep":
        (tmp_path / "secrets").touch()
        asked = keyring.keep(RUN, {"redis": {"A_KEY": "a"}})
    else:
        (tmp_path / "secrets" / f"{RUN}.json").mkdir(parents=True)
        asked = Keyring(tmp_path / "secrets").of(service(secrets={"A_KEY": Secret(generate=24)}))
    with pytest.raises(StoreError, match=f"cannot (read|write) .*{tmp_path}/secrets"):
        await asked
