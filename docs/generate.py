#!/usr/bin/env python3
"""Write the generated parts of the documentation, or say which are stale.

Between ``<!-- generated: NAME -->`` and ``<!-- end -->`` stands what NAME's function below makes
from the code: tables, models, parsers. Everything else in the pages is written by hand.

    docs/generate.py            write
    docs/generate.py --check    change nothing; exit 1 and name the pages that are stale
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "daemon"), str(DOCS)]

import result_page  # noqa: E402 - the path is set above
import slurm_words  # noqa: E402 - as above
from markdown_tables import code, first_line, model_tables, table  # noqa: E402 - as above

from benchd import config  # noqa: E402 - the path is set above
from benchd.catalog import CATALOG, own  # noqa: E402 - as above
from benchd.catalog.kinds import Kind, Parameter  # noqa: E402 - as above
from benchd.cli import ctl, daemon  # noqa: E402 - as above
from benchd.core import lifecycle, readiness, spec  # noqa: E402 - as above
from benchd.core.model import LIVE, TERMINAL, JobState  # noqa: E402 - as above
from benchd.fields import Resources  # noqa: E402 - as above
from benchd.metrics import Metrics  # noqa: E402 - as above
from benchd.ship.load import cli as load  # noqa: E402 - as above
from benchd.sim.faults import KINDS  # noqa: E402 - as above

_SECTION = re.compile(
    r"(?P<open><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL
)
EVERYWHERE = frozenset({"help", "socket", "json"})  # options that a page explains once


# --- models -----------------------------------------------------------------------------------


def recipe() -> str:
    """Return the keys of recipes."""
    return model_tables(
        {
            "Top level": spec.Recipe,
            "`service`": spec.Service,
            "`client`": spec.Client,
            "`target_service`": spec.TargetRef,
            "`container`": spec.Container,
            "`resources`": Resources,
            "`health_check`": spec.HealthCheck,
            "`restart`": spec.RestartPolicy,
            "`secrets`": spec.Secret,
            "`limits`": spec.Limits,
        }
    )


def result_keys() -> str:
    """Return the keys of results."""
    return "\n".join(
        f"## {title}\n\n{first_line(model)}\n\n"
        + table(("key", "value", "meaning"), result_page.keys(model))
        for title, model in result_page.MODELS.items()
    )


def flags() -> str:
    """Return every flag of results."""
    head = ("flag", "severity", "limit", "says", "what to do")
    return "\n".join(f"## {title}\n\n{table(head, rows)}" for title, rows in result_page.flags())


def settings() -> str:
    """Return the keys of the configuration."""
    return model_tables(
        {
            "Top level": config.Settings,
            "`clusters.NAME`": config.ClusterSettings,
            "`ssh`": config.SSHSettings,
            "`rest`": config.RestSettings,
            "`runtime`": config.RuntimeSettings,
            "`poll`": config.PollSettings,
            "`budget`": config.Budget,
            "`http`": config.HttpSettings,
            "`backup`": config.BackupSettings,
            "`access`": config.AccessSettings,
        }
    )


# --- the catalogue ------------------------------------------------------------------------------


def kinds() -> str:
    """Return every kind of the catalogue with its parameters."""
    parts = ["## Services\n"]
    for service in CATALOG.services.values():
        check = service.check
        usual = f"{check.type} {check.endpoint or ''}".strip()
        ports = ", ".join(str(port) for port in service.ports)
        facts = [f"ports: `{ports}`", f"health check: `{usual}`"]
        parts.append(_kind(service, [*facts, *_words("speaks", service.speaks)]))
    parts.append("## Clients\n")
    for client in CATALOG.clients.values():
        facts = _words("usual for", client.default_for)
        facts += _words("measures what speaks", client.asks(spec.Client(name=client.name)))
        parts.append(_kind(client, [*facts, *_words("no `duration`", (client.untimed,))]))
    return "\n".join(parts)


def _words(title: str, words: Sequence[str]) -> list[str]:
    """Return a fact of a kind, where there is one."""
    return [f"{title}: {', '.join(words)}"] if any(words) else []


def own_kind() -> str:
    """Return the keys of a file with a kind of one's own."""
    return model_tables(
        {
            "The file": own.OwnKind,
            "`parameters`": own.OwnParameter,
            "`metrics`": own.OwnMetrics,
            "`health_check`": spec.HealthCheck,
        }
    )


def _kind(kind: Kind, facts: list[str]) -> str:
    facts += [f"usual image: `{kind.image}`"] if kind.image else []
    text = f"### `{kind.name}`\n\n{kind.summary[0].upper()}{kind.summary[1:]}.\n"
    if facts:
        text += "\n" + "; ".join(facts) + ".\n"
    if not kind.parameters:
        return text + "\nNo parameters; `command` and `args` say what to run.\n"
    rows = [
        [f"`{p.name}`", _parameter_type(p), code(p.default), _with_unit(p)] for p in kind.parameters
    ]
    return text + "\n" + table(["parameter", "type", "default", "meaning"], rows)


def _with_unit(parameter: Parameter) -> str:
    return parameter.doc + (f" ({parameter.unit})" if parameter.unit else "")


def _parameter_type(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(f"`{choice}`" for choice in parameter.choices)
    words = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
    low = parameter.minimum
    return words[parameter.type] + (f", from {low:g}" if low is not None else "")


# --- states -------------------------------------------------------------------------------------


def state_diagram() -> str:
    """Return the state diagram, drawn from the lifecycle's table."""
    edges: dict[tuple[str, str], list[lifecycle.Row]] = {}
    for row in lifecycle.TABLE:
        for source in _sources(row):
            if row.target is not None and source != row.target.value:
                edges.setdefault((source, row.target.value), []).append(row)
    lines = ["stateDiagram-v2", f"    [*] --> {JobState.CREATED}", "    state LIVE {"]
    live = [state.value for state in JobState if state in LIVE]
    inner = {pair: rows for pair, rows in edges.items() if pair[0] in live and pair[1] in live}
    lines += [f"        {_edge(pair, rows)}" for pair, rows in inner.items()]
    lines.append("    }")
    lines += [f"    {_edge(pair, rows)}" for pair, rows in edges.items() if pair not in inner]
    lines += [f"    {state} --> [*]" for state in JobState if state in TERMINAL]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def _sources(row: lifecycle.Row) -> Iterator[str]:
    """Yield where a row starts; leaving LIVE from anywhere in it is drawn as one arrow."""
    rest = set(row.sources)
    if rest >= LIVE and row.target not in LIVE:
        yield "LIVE"
        rest -= LIVE
    yield from (state.value for state in JobState if state in rest)


def _edge(pair: tuple[str, str], rows: Sequence[lifecycle.Row]) -> str:
    numbers = ", ".join(dict.fromkeys(row.number for row in rows))
    rows_of = "rows" if "," in numbers else "row"
    triggers = dict.fromkeys(row.trigger.value for row in rows)
    label = f"{numbers} {next(iter(triggers))}" if len(triggers) == 1 else f"{rows_of} {numbers}"
    return f"{pair[0]} --> {pair[1]} : {label}"


def lifecycle_table() -> str:
    """Return the rows of the lifecycle, in the order in which they are tried."""
    rows = []
    for row in lifecycle.TABLE:
        rest = [state.value for state in row.sources]
        if set(row.sources) >= LIVE:
            rest = [*(s.value for s in row.sources if s not in LIVE), "LIVE"]
        target = row.target.value if row.target else "same"
        rows.append([row.number, f"`{row.trigger.value}`", ", ".join(rest), target, row.text])
    return table(["#", "what was learned", "from", "to", "when"], rows)


def readiness_diagram() -> str:
    """Return the diagram of a service's health."""
    lines = ["stateDiagram-v2", "    [*] --> UNKNOWN", "    UNKNOWN --> STARTING : job is RUNNING"]
    lines += [f"    {row.source} --> {row.target} : {row.text}" for row in readiness.TABLE]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


# --- metrics and commands -----------------------------------------------------------------------


def metrics() -> str:
    """Return every metric of ``/metrics``."""
    rows = []
    for metric in vars(Metrics()).values():
        if not hasattr(metric, "describe"):
            continue
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - no other way
        for family in metric.describe():
            suffix = "_total" if family.type == "counter" else ""
            name = f"`{family.name}{suffix}`"
            rows.append([name, family.type, labels, family.documentation])
    return table(["metric", "type", "labels", "meaning"], sorted(rows))


def benchd_commands() -> str:
    """Return the commands of ``benchd``."""
    return "\n".join(_commands(daemon.parser(), "benchd"))


def faults() -> str:
    """Return what can go wrong on purpose on the embedded cluster."""
    rows = [[f"`{kind.name}`", kind.takes, kind.doc] for kind in KINDS.values()]
    return table(["fault", "ARG", "what happens"], rows)


def benchctl_commands() -> str:
    """Return the commands of ``benchctl``."""
    return "\n".join(_commands(ctl.parser(), "benchctl"))


def load_workloads() -> str:
    """Return the workloads of ``benchd load`` that there are."""
    return "\n".join(_commands(load.parser(), "benchd load", hidden=frozenset({"help"})))


def _commands(
    parser: argparse.ArgumentParser, name: str, hidden: frozenset[str] = EVERYWHERE
) -> Iterator[str]:
    """Yield a section for each command. argparse's own usage text differs between versions."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            continue
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001 - as above
        for command, sub in action.choices.items():
            if sub.add_help:  # without: announced, and refused for now
                yield _command(f"{name} {command}", helps.get(command, ""), sub, hidden)
                yield from _commands(sub, f"{name} {command}", hidden)


def _command(name: str, text: str, parser: argparse.ArgumentParser, hidden: frozenset[str]) -> str:
    options = []
    usage = [name]
    for action in parser._actions:  # noqa: SLF001 - as above
        if action.dest in hidden or action.help == argparse.SUPPRESS:
            continue
        value = action.metavar or action.dest.upper()
        shown = value if isinstance(value, str) else " ".join(value)
        if action.choices and not isinstance(action.choices, Mapping):
            shown = "|".join(str(choice) for choice in action.choices)
        if action.option_strings:
            shown = ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {shown}")
            usage.append(shown if action.required else f"[{shown}]")
        else:
            many = "..." if action.nargs in {"+", "*"} else ""
            usage.append(f"[{shown}]{many}" if action.nargs in {"?", "*"} else f"{shown}{many}")
        if meaning := action.help or _default_of(action):
            options.append([f"`{shown}`", meaning])
    sentence = text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
    section = f"### `{name}`\n\n{sentence}\n\n    {' '.join(usage)}\n"
    return section + ("\n" + table(["argument", "meaning"], options) if options else "")


def _default_of(action: argparse.Action) -> str:
    """Return what is to be said of an option whose name says what it means."""
    return f"default: `{action.default}`" if action.default and action.option_strings else ""


# --- pages --------------------------------------------------------------------------------------

PARTS: Mapping[str, Callable[[], str]] = {
    "recipe": recipe,
    "config": settings,
    "kinds": kinds,
    "own-kind": own_kind,
    "state-diagram": state_diagram,
    "lifecycle-table": lifecycle_table,
    "readiness-diagram": readiness_diagram,
    "metrics": metrics,
    "benchd-commands": benchd_commands,
    "faults": faults,
    "benchctl-commands": benchctl_commands,
    "load-workloads": load_workloads,
    "result-keys": result_keys,
    "flags": flags,
    "result-formulas": lambda: table(("id", "unit", "better", "is"), result_page.formulas()),
    "slurm-versions": lambda: table(*slurm_words.versions()),
    "slurm-states": lambda: table(*slurm_words.states()),
    "slurm-classes": lambda: table(*slurm_words.classes()),
    "slurm-reasons": lambda: table(*slurm_words.reasons()),
    "slurm-texts": lambda: table(*slurm_words.texts()),
    "slurm-complaints": lambda: table(*slurm_words.complaints()),
    "slurm-errors": lambda: table(*slurm_words.errors()),
}


def filled(text: str) -> str:
    """Return a page with its generated parts written anew."""
    return _SECTION.sub(lambda m: f"{m['open']}\n{PARTS[m['name']]()}\n{m['close']}", text)


def stale() -> list[Path]:
    """Return the pages whose generated parts are not what the code says."""
    pages = sorted(DOCS.rglob("*.md"))
    return [page for page in pages if page.read_text() != filled(page.read_text())]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    check = parser.parse_args(argv).check
    pages = stale()
    for page in pages:
        if not check:
            page.write_text(filled(page.read_text()))
        state = "stale: run docs/generate.py" if check else "written"
        sys.stdout.write(f"{page.relative_to(DOCS.parent)}: {state}\n")
    return 1 if check and pages else 0


if __name__ == "__main__":
    sys.exit(main())
