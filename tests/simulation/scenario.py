"""What one seed means: recipes, what their users do, what the machine and the site suffer."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from simulation.batch import Plan
from simulation.faults import Faults

_SERVICE = """\
service:
  name: server
  kind: generic
  command: serve
  ports: [auto]
  resources: {{cpus_per_task: 1, time: "{time}"}}
  health_check: {{type: tcp, interval: {interval}, retries: 40}}
  restart: {{policy: {policy}, max_attempts: {attempts}, requeue: {requeue}}}
{service}"""
_CLIENT = """\
client:
  name: load
  kind: generic
  command: measure
  resources: {{cpus_per_task: 1, time: "00:20:00"}}
  restart: {{policy: {policy}, max_attempts: {attempts}, requeue: {requeue}}}
{target}{client}"""
_TARGET = "  target_service: {name: server}\n"


# More that a recipe may say of its service and of its client.
REPLICAS_MAX = 3
_SCALED = (
    f"  replicas: {{min: 1, max: {REPLICAS_MAX}, scale_up_after: 5, scale_down_after: 20}}\n",
    "repeat: 3\n",
)
_PLACED = ("", "  placement: other-node\n")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One seed's story. All times are seconds after its beginning."""

    seed: str
    recipes: tuple[tuple[float, str, str], ...]  # when, file name, text
    cancels: tuple[tuple[float, str], ...]  # when, the recipe whose run its user wants ended
    clock_steps: tuple[tuple[float, float], ...]  # when, by how many seconds
    suspensions: tuple[tuple[float, float], ...]  # when, for how many seconds
    faults: Faults
    calm_at: float  # from here on nothing goes wrong any more
    over_at: float  # and by then every run has ended
    is_brisk: bool = True  # jobs wait and run for seconds rather than minutes


# Seconds in which things go wrong: mostly about as long as a run takes, sometimes much longer.
_TROUBLED = ((60.0, 600.0), (60.0, 600.0), (60.0, 600.0), (600.0, 3600.0))
# Seconds that the daemon has after that to bring all to an end: the longest pauses of its own are
# five minutes, an unknown try takes four, a lost job ten, a service that was requeued starts anew,
# and a run is a few of these in a row.
_AFTERWARDS = 3 * 3600.0
# A clock step of an hour and a suspension of eight, as a laptop or a broken time server makes them.
_STEP = 3600.0
_SUSPENSION = 8 * 3600.0


def draw(seed: str) -> Scenario:
    """Return the story of a seed."""
    rng = Random(f"{seed} scenario")
    calm_at = rng.uniform(*rng.choice(_TROUBLED))
    recipes = _recipes(rng, Random(f"{seed} topology"))
    names = [name for _, name, _ in recipes]
    cancels = [(rng.uniform(5, 400), name) for name in names if rng.random() < 0.2]
    steps = [(rng.uniform(1, calm_at), rng.choice((-_STEP, _STEP)))] if rng.random() < 0.15 else []
    sleeps = [(rng.uniform(1, calm_at), _SUSPENSION)] if rng.random() < 0.1 else []
    asleep = sum(seconds for _, seconds in sleeps)
    return Scenario(
        seed=seed,
        recipes=tuple(recipes),
        cancels=tuple(cancels),
        clock_steps=tuple(steps),
        suspensions=tuple(sleeps),
        faults=Faults.draw(rng, chance=rng.choice((0.0, 0.15, 0.3))),
        calm_at=calm_at + asleep,
        over_at=calm_at + asleep + _AFTERWARDS,
        is_brisk=rng.random() < 0.8,
    )


def _recipes(rng: Random, topology: Random) -> list[tuple[float, str, str]]:
    shape = rng.choice(("client", "client", "client", "both", "both", "service", "two"))
    shapes = {"two": ("client", "client")}.get(shape, (shape,))
    return [
        (rng.uniform(0.5, 30.0), f"r{i}-{each}.yaml", _recipe(rng, each, topology))
        for i, each in enumerate(shapes)
    ]


def _recipe(rng: Random, shape: str, topology: Random) -> str:
    plain = ("", "")
    service, client = topology.choice((_SCALED, _PLACED, plain)) if shape == "both" else plain
    words = {
        "policy": rng.choice(("never", "on-failure")),
        "attempts": rng.randint(1, 3),
        "requeue": rng.choice(("true", "false")),
        "time": rng.choice(("00:02:00", "00:10:00")) if shape == "service" else "01:00:00",
        "interval": rng.choice((10, 20)),
        "service": service,
        "client": client,
    }
    parts = [f"name: {shape}\n"]
    if shape != "client":
        parts.append(_SERVICE.format(**words))
    if shape != "service":
        parts.append(_CLIENT.format(**words, target=_TARGET if shape == "both" else ""))
    return "".join(parts)


def brisk(_token: str, is_service: bool, rng: Random) -> Plan:
    """Plan programs that answer and end soon: a history without long waits is played sooner."""
    if is_service:
        return Plan(start_up=rng.uniform(0.5, 8.0), seconds=None)
    return Plan(start_up=0.1, seconds=rng.uniform(1.0, 15.0), files={"out.txt": b"42\n"})
