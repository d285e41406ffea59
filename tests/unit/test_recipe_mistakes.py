"""Bad recipes: every mistake in one answer, each with its line, column and path."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.catalog import CATALOG
from benchd.core.recipe import MAX_JOBS, parse, split_override
from benchd.errors import RecipeError, UserError
from benchd.yamldoc import MAX_MISTAKES


def mistakes(text: str, overrides: Mapping[str, str] | None = None) -> list[str]:
    """Return the messages about a recipe, one per mistake."""
    with pytest.raises(RecipeError) as caught:
        parse(dedent(text).encode(), "web.yaml", CATALOG, overrides or {})
    return str(caught.value).splitlines()


def places(text: str) -> list[str]:
    """Return only where the mistakes are: ``line:column path``."""
    found = [line.split(":", 4) for line in mistakes(text)]
    return [f"{line}:{column}{path}" for _, line, column, path, _ in found]


GOOD = """\
service: {name: redis}
client:
  name: bench
  kind: redis-benchmark
  target_service: {name: redis}
"""


def test_five_mistakes_of_the_models_are_five_messages() -> None:
    """Unknown key, wrong type, bad value, missing key and bad choice are all told at once."""
    text = """\
        service:
          name: redis
          image: redis.sif
          resources:
            mem: 4 GB
          health_check:
            type: htp
        client:
          kind: redis-benchmark
          target_service: {name: redis}
        repeat: many
        """
    expected = [
        "web.yaml:3:3: service.image: unknown key; did you mean container?",
        (
            "web.yaml:5:10: service.resources.mem: "
            "must be an amount of memory such as 512M or 4G, not '4 GB'"
        ),
        (
            "web.yaml:7:11: service.health_check.type: must be one of tcp, http, command, log, "
            "redis, mysql, postgres, not 'htp'; did you mean http?"
        ),
        "web.yaml:9:3: client.name: missing key; it is required",
        "web.yaml:11:9: repeat: must be a whole number, not 'many'",
    ]
    assert expected == mistakes(text)


def test_five_mistakes_of_five_kinds_are_five_messages() -> None:
    """YAML, models, references, catalogue and sweep do not hide each other's mistakes."""
    text = """\
        service: &shared
          name: redis
          port: 6379
        client:
          name: redis
          kind: redis-benchmark
          target_service: {name: redis}
          parameters:
            cliens: 50
        sweep:
          client.parameter.pipeline: [1, 16]
        """
    expected = [
        "1:10 service",
        "3:3 service.port",
        "5:9 client.name",
        "9:5 client.parameters.cliens",
        "11:3 sweep['client.parameter.pipeline']",
    ]
    assert expected == places(text)


def test_five_mistakes_in_one_list_are_five_messages() -> None:
    """Items of lists are named by their index, and stand where they stand."""
    text = """\
        services:
          - {name: one, kind: redis}
          - name: two
            kind: rediss
            ports: [0, 6379, x]
          - name: one
            kind: redis
          - kind: redis
        """
    expected = [
        "4:11 services[1].kind",
        "5:13 services[1].ports[0]",
        "5:22 services[1].ports[2]",
        "6:11 services[2].name",
        "8:5 services[3].name",
    ]
    assert expected == places(text)


def test_a_misspelt_required_key_is_one_mistake() -> None:
    """The key that was meant is not also called missing."""
    assert ["web.yaml:1:11: service.nam: unknown key; did you mean name?"] == mistakes(
        "service: {nam: x, kind: redis}\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the document is empty; it must be a mapping of keys and values"),
        ("- a\n", "1:1: the document is a list; it must be a mapping of keys and values"),
        ("name: x\n", "1:1: nothing to run; add a service: or a client:"),
        (
            "service: {name: redis}\nservices: [{name: r2, kind: redis}]\n",
            "2:1: services: write either service or services, not both",
        ),
        ("service: redis\n", "1:10: service: must be a mapping of keys and values, not 'redis'"),
        (
            "service: {name: redis, args: --x}\n",
            "1:30: service.args: must be a list, not '--x'; write ['--x']",
        ),
        (
            "service: {name: redis, environment: {A: 1.10}}\n",
            (
                "1:41: service.environment.A: must be text, not 1.1; "
                "put it in quotes if it is meant as text"
            ),
        ),
        (
            "service: {name: redis, environment: {1A: x}}\n",
            (
                "1:38: service.environment.1A: the key must be the name of an environment "
                "variable (letters, digits, underscores)"
            ),
        ),
        (
            "service: {name: Redis, kind: redis}\n",
            (
                "1:17: service.name: must be a name of up to 32 lower-case letters, digits "
                "and inner dashes, not 'Redis'"
            ),
        ),
        (
            "service: {name: redis, health_check: {interval: soon}}\n",
            (
                "1:49: service.health_check.interval: 'soon' is not a duration; "
                "write for example 30s, 5m or 24h"
            ),
        ),
        (
            "service: {name: redis, replicas: }\n",
            "1:34: service.replicas: is empty; give it a value or remove the key",
        ),
        (
            "service: {name: redis, parameters: {maxmemory: [1]}}\n",
            "1:48: service.parameters.maxmemory: must be a single value, not a list",
        ),
        (
            "service: {name: redis}\ncluster: [a, b]\n",
            (
                "2:10: cluster: several clusters are not supported yet; "
                "name one, or drop one recipe each"
            ),
        ),
        (
            "service: {name: redis, secrets: {A: hunter2}}\n",
            (
                "1:37: service.secrets.A: a recipe says where a secret comes from, never the "
                "secret itself; write one of {generate: 24}, {file: PATH} or {credential: NAME}"
            ),
        ),
    ],
)
def test_one_mistake_is_one_sentence(text: str, expected: str) -> None:
    """What is wrong is said in plain words, with the value and what to do."""
    assert [f"web.yaml:{expected}"] == mistakes(text)


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("parameters.pipeline: [1]", "a swept path starts with service., services.NAME., "),
        ("client.target_service: [a]", "cannot be swept; what can be: parameters.KEY, "),
        ("client.resources.men: [1G]", "'men' is no resource; did you mean mem?"),
        ("clients.bensh.duration: [1]", "there is no client called 'bensh'; did you mean bench?"),
        ("client.parameters.pipeline: []", "needs at least one value"),
        ("client.parameters.pipeline: [1, 1]", "1 stands here twice; use repeat: "),
        ("client.resources.mem: [1 G]", "must be an amount of memory such as 512M or 4G, not "),
        ("client.duration: [1.5]", "must be a whole number, not 1.5"),
        ("service.replicas: [0]", "must be at least 1, not 0"),
    ],
)
def test_swept_paths_and_values_are_checked(sweep: str, expected: str) -> None:
    """A sweep is refused before anything is queued when a path or value in it cannot be."""
    (message,) = mistakes(f"{GOOD}sweep:\n  {sweep}\n")

    assert message.startswith("web.yaml:7:")
    assert f": {expected}" in message


def test_a_swept_value_is_judged_by_its_kind() -> None:
    """The catalogue sees every swept value, and its complaint stands at that value."""
    assert ["7:36 sweep['client.parameters.pipeline'][1]"] == places(
        f"{GOOD}sweep:\n  client.parameters.pipeline: [16, many]\n"
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("redi", "this recipe has no service 'redi'; did you mean redis?"),
        ("reddis", "this recipe has no service 'reddis'; did you mean redis?"),
        ("monitro", "this recipe has no service 'monitro'; did you mean monitor?"),
    ],
)
def test_a_slip_in_a_target_is_a_mistake(target: str, expected: str) -> None:
    """A target that is almost a service of the recipe would be waited for without end."""
    text = f"""\
        services:
          - {{name: redis}}
          - {{name: monitor, kind: generic, command: monitor}}
        client:
          name: bench
          kind: redis-benchmark
          target_service: {{name: {target}}}
        """
    assert [f"web.yaml:7:26: client.target_service.name: {expected}"] == mistakes(text)


def test_a_target_near_a_service_without_a_name_is_not_blamed() -> None:
    """While a service's own name is wrong, nobody can say what its clients meant."""
    text = """\
        services:
          - {name: Redis-Two, kind: redis}
          - {name: redis-one, kind: redis}
        client: {name: bench, kind: redis-benchmark, target_service: {name: redis-two}}
        """
    assert ["2:12 services[0].name"] == places(text)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, "web.yaml:6:10: cluster: no cluster 'melxuina' in the configuration; "),
        ({"cluster": "melxuina"}, "web.yaml: --set cluster: no cluster 'melxuina' in the "),
    ],
)
def test_a_cluster_that_is_not_configured_is_a_mistake(
    overrides: Mapping[str, str], expected: str
) -> None:
    """Where a configuration is known, its clusters are what a recipe can name."""
    text = f"{GOOD}cluster: {'melxuina' if not overrides else 'meluxina'}\n"
    with pytest.raises(RecipeError) as caught:
        parse(text.encode(), "web.yaml", CATALOG, overrides, clusters=["meluxina", "local"])

    assert str(caught.value).startswith(expected)
    assert str(caught.value).endswith("; did you mean meluxina?")


def test_a_control_character_is_told_once() -> None:
    """Neither the models nor the catalogue repeat what the reader has said about a value."""
    text = """\
        service: {name: redis}
        client:
          name: bench
          kind: redis-benchmark
          target_service: {name: redis}
          environment: {HOW: "x\\ey"}
        "odd\\ekey": 1
        sweep:
          client.parameters.tests: [set, "a\\eb"]
        """
    expected = [
        "6:22 client.environment.HOW",
        "7:1 ['odd\\x1bkey']",
        "9:34 sweep['client.parameters.tests'][1]",
    ]
    assert expected == places(text)


def test_a_sweep_of_too_many_jobs_is_refused() -> None:
    """The number of jobs is bounded, and the message shows how it came about."""
    values = ", ".join(str(number) for number in range(1, 12))
    text = f"{GOOD}sweep: {{client.parameters.pipeline: [{values}]}}\nrepeat: 1000\n"
    what = f"points x repeats x clients = 11 x 1000 x 1 = 11000 jobs; at most {MAX_JOBS}"

    assert [f"web.yaml:6:1: sweep: {what}"] == mistakes(text)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("repeat", "x", "--set repeat: must be a whole number, not 'x'"),
        ("repaet", "1", "--set repaet: unknown key; did you mean repeat?"),
        ("client.parameters.cliens", "5", "--set client.parameters.cliens: "),
        ("clients.x.duration", "5", "--set clients.x.duration: there is no client called 'x'"),
        ("client.args", "[1, 2", "--set client.args: YAML: did not find expected"),
        ("client..x", "1", "--set client..x: a part of the path is empty; "),
        ("client.name.x", "1", "--set client.name.x: 'bench' is not a mapping, "),
    ],
)
def test_mistakes_in_overrides_name_the_option(key: str, value: str, expected: str) -> None:
    """What was given by --set is not blamed on a line of the file."""
    (message,) = mistakes(GOOD, {key: value})

    assert message.startswith(f"web.yaml: {expected}")


def test_a_flood_of_mistakes_is_cut() -> None:
    """The first fifty are told, in the order of the lines, and that there are more."""
    text = GOOD + "".join(f"key{number}: 1\n" for number in range(700))
    found = mistakes(text)

    assert MAX_MISTAKES + 1 == len(found)
    assert found[0].startswith("web.yaml:6:1: key0: unknown key")
    assert found[-1].endswith(": there are more mistakes; mend these first")


def test_an_override_without_a_value_is_refused() -> None:
    """A --set without an equals sign says how it is written."""
    with pytest.raises(UserError, match="write key=value, for example --set repeat=3"):
        split_override("repeat")


@given(st.binary(max_size=200))
def test_only_recipe_errors_leave_the_parser(data: bytes) -> None:
    """No recipe is so bad that it raises anything but RecipeError."""
    with pytest.raises(RecipeError):
        parse(data, "web.yaml", CATALOG)


_WORDS = ["name", "kind", "redis", "service", "client", "sweep", "parameters", "repeat", "generic"]
_WORDS += ["1", "x", "true", "[]", "{}", "~", "1.5"]
_LINES = st.lists(
    st.builds(
        "{}{}{}: {}".format,
        st.sampled_from(["", "  ", "    "]),
        st.sampled_from(["", "- "]),
        st.sampled_from(_WORDS),
        st.sampled_from(["", *_WORDS]),
    ),
    max_size=12,
).map("\n".join)


@given(_LINES)
def test_only_recipe_errors_leave_the_parser_for_almost_recipes(text: str) -> None:
    """Text made of a recipe's own words is a recipe or a RecipeError."""
    try:
        recipe = parse(text.encode(), "web.yaml", CATALOG)
    except RecipeError:
        return
    assert recipe.service or recipe.services or recipe.client or recipe.clients


@pytest.mark.parametrize(
    ("policy", "reason"),
    [("on-failure", "set restart.max_attempts to 2 or more"), ("never", "restart.policy is never")],
)
def test_nothing_is_said_about_attempts_that_there_are_not(policy: str, reason: str) -> None:
    """What would have no effect is a mistake, at its key."""
    text = f"service: {{name: redis, restart: {{policy: {policy}, more_memory: 2, on: [node]}}}}\n"
    what = f"is about further attempts, and there are none: {reason}"
    found = [line.split(": ", 2)[1:] for line in mistakes(text)]
    assert [
        ["service.restart.more_memory", f"more_memory {what}"],
        ["service.restart.on", f"on {what}"],
    ] == sorted(found)


def test_causes_of_further_attempts_are_those_that_there_are() -> None:
    """Memory and time are not among them: they need to know how much more."""
    text = "service: {name: redis, restart: {max_attempts: 2, on: [node, memory], more_time: 0.5}}"
    places_ = [line.split(": ")[1] for line in mistakes(text)]
    assert ["service.restart.on[1]", "service.restart.more_time"] == places_
