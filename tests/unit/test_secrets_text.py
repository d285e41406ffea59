"""Which secrets a recipe has, and its text without them."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchd.catalog import CATALOG
from benchd.config import RuntimeSettings
from benchd.core import paths, secrets
from benchd.core.expand import expand
from benchd.core.recipe import parse
from benchd.errors import RecipeError
from benchd.fields import Resources

HEAD = "name: web\n"
NOTE = "# benchd took the value of {} out of this copy; better name a source under secrets:\n"


def service(environment: str) -> str:
    """Return a recipe with this environment, which is YAML."""
    return f"{HEAD}service:\n  name: redis\n  environment: {environment}\n"


@pytest.mark.parametrize(
    ("written", "kept", "names"),
    [
        ("{REDIS_PASSWORD: hunter2}", '{REDIS_PASSWORD: "[redacted]"}', "REDIS_PASSWORD"),
        ("{A: é, B_SECRET: 'ü, x'} # c", '{A: é, B_SECRET: "[redacted]"} # c', "B_SECRET"),
        (
            "\n    X_TOKEN: two\n      lines\n    MY_API_KEY: |-\n      block\n    Z: 1",
            '\n    X_TOKEN: "[redacted]"\n    MY_API_KEY: "[redacted]"\n    Z: 1',
            "X_TOKEN, MY_API_KEY",
        ),
    ],
)
def test_a_value_is_taken_out_and_the_rest_stays(written: str, kept: str, names: str) -> None:
    """Only the secrets change, wherever and however they are written; a comment says so."""
    text = service(written).encode()
    found = secrets.redacted(text, parse(text, "web.yaml", CATALOG)).decode()
    assert NOTE.format(names) + service(kept) == found


@pytest.mark.parametrize(
    "environment",
    ["{A: b}", "{MYSQL_ALLOW_EMPTY_PASSWORD: 'yes', MYSQL_RANDOM_ROOT_PASSWORD: '1'}", "{}"],
)
def test_a_recipe_without_secrets_is_kept_as_it_is(environment: str) -> None:
    """Switches and variables of other names are no secrets."""
    text = service(environment).encode()
    assert text == secrets.redacted(text, parse(text, "web.yaml", CATALOG))


LINES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)


@given(values=st.lists(LINES, min_size=1, max_size=3), style=st.sampled_from([None, '"', "'", ">"]))
def test_whatever_the_value_is_none_of_it_stays(values: list[str], style: str | None) -> None:
    """In every style that YAML has, the kept text says the same but for the secrets."""
    data = {
        "name": "web",
        "services": [
            {
                "name": f"redis-{i}",
                "kind": "redis",
                "environment": {"A": value, "B_PASSWORD": value},
            }
            for i, value in enumerate(values)
        ],
    }
    text = yaml.safe_dump(data, default_style=style, allow_unicode=True).encode()
    try:
        recipe = parse(text, "web.yaml", CATALOG)
    except RecipeError:
        return  # ">" writes some texts with a line end, which no variable may have
    hidden = {
        name: value
        for _, part in paths.parts(recipe)
        for name, value in secrets.literals(part).items()
    }
    found = yaml.safe_load(secrets.redacted(text, recipe))
    for was, now in zip(data["services"], found["services"], strict=True):
        is_switch = was["environment"]["B_PASSWORD"].lower() in secrets._SWITCHES
        expected = was["environment"]["B_PASSWORD"] if is_switch else "[redacted]"
        assert was["environment"] | {"B_PASSWORD": expected} == now["environment"]
    assert bool(hidden) == (b"[redacted]" in secrets.redacted(text, recipe))


def test_jobs_know_names_and_sources_only() -> None:
    """Neither spec nor script of a job has the value; the spec says where to have it from."""
    text = service("{REDIS_PASSWORD: hunter2}") + "  secrets: {A_KEY: {generate: 24}}\n"
    (job,) = expand(
        parse(text.encode(), "web.yaml", CATALOG),
        run_id="aaaaaaaaaa",
        instance="bbbbbb",
        cluster="here",
        defaults=Resources(),
        runtime=RuntimeSettings(),
        catalog=CATALOG,
        ship={},
        now=0.0,
    )
    assert {"REDIS_PASSWORD", "A_KEY"} == set(job.spec.secrets)
    assert "hunter2" not in job.spec.model_dump_json() + job.script


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            "secrets: {A: {generate: 24}}, environment: {A: b}",
            "secrets.A: stands under environment",
        ),
        ("environment: {A_PASSWORD: '[redacted]'}", "environment.A_PASSWORD: the secret was taken"),
        ("secrets: {BENCHD_X: {generate: 24}}", "secrets.BENCHD_X: BENCHD_X cannot be a secret's"),
        ("secrets: {PATH: {generate: 24}}", "secrets.PATH: PATH cannot be a secret's name"),
        ("secrets: {A: {generate: 24, file: /x}}", "secrets.A: a recipe says where"),
        ("secrets: {A: {generate: hunter2}}", "secrets.A.generate: must be a whole number"),
        ("secrets: {A: [hunter2]}", "secrets.A: a recipe says where"),
        ('environment: {A_PASSWORD: "hunter2\\t"}', "environment.A_PASSWORD: must be one line"),
        ("environment: {A_PASSWORD: {b: hunter2}}", "environment.A_PASSWORD: must be text"),
    ],
)
def test_a_mistake_about_a_secret_does_not_quote_it(part: str, expected: str) -> None:
    """What is wrong is said with its place, and without the value that may be a password."""
    text = f"service: {{name: redis, {part}}}\n"
    with pytest.raises(RecipeError) as caught:
        parse(text.encode(), "web.yaml", CATALOG)
    assert f"service.{expected}" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_cannot_be_swept() -> None:
    """What is swept stands in every result, so no password is."""
    text = "service: {name: redis}\nsweep: {service.environment.A_PASSWORD: [a, b]}\n"
    with pytest.raises(RecipeError, match=r"web\.yaml:2:9: .*: a secret cannot be swept"):
        parse(text.encode(), "web.yaml", CATALOG)
