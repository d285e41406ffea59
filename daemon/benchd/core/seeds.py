"""Recipes as other projects write them -> recipes in our words: what each part of them stands for.

It happens once, when a recipe is accepted: which kind a client is, whether its script is there or
one of our clients measures the same, which health check an endpoint means. What was decided is said
in remarks; what cannot be had is a mistake with its place. Later stages know our words only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchd.core import paths
from benchd.core.around import asked
from benchd.core.brought import ScriptFile
from benchd.core.spec import Client, Container, HealthCheck, Part, Recipe, Secret, Service
from benchd.core.sweep import paths_of, swept_paths
from benchd.errors import UserError
from benchd.fields import Scalar
from benchd.yamldoc import Path

# Directory and name below ``scripts_dir`` -> the text; ``UserError`` says where it was looked for.
Files = Callable[[str, str], str]
# Where in the recipe, and what is to be said about it.
Remark = tuple[Path, str]

_LIST = re.compile(r"\s*[^,\s]+(\s*,\s*[^,\s]+)+\s*")
_OPTION = re.compile(r"--(?P<name>[a-z][a-z0-9-]*)=(?P<value>.*)")
_SQL_FILE = re.compile(r"[A-Za-z0-9_./-]{1,200}\.sql")
# How those projects' recipes see the directory of their scripts in a container.
_MOUNTED = re.compile(r"/app/(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownScript:
    """A benchmark script of another project, and which of our clients measures the same."""

    service: str  # the kind of service it measures
    parameters: Mapping[str, str] = field(default_factory=dict)  # its own -> our client's
    meaningless: frozenset[str] = frozenset()  # parameters that our client has no need of
    options: Mapping[str, str] = field(
        default_factory=dict
    )  # parameter -> option it becomes, if any
    longest: str = ""  # what our client calls the longest it may take; else it has a duration too
    packages: tuple[str, ...] = ()  # Python packages that it imports
    outside: bool = False  # it starts containers itself, so it cannot run in one


class ParameterInfo(Protocol):
    """What is needed of a parameter of a kind."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def type(self) -> str:
        """What it takes: int, float, str or bool."""


class ClientInfo(Protocol):
    """What is needed of a kind of client."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def parameters(self) -> Sequence[ParameterInfo]:
        """What it can be told."""

    @property
    def image(self) -> str | None:
        """Its usual image; None when python3 is all that it needs."""


class Book(Protocol):
    """What is needed of the catalogue."""

    def client(self, name: str) -> ClientInfo | None:
        """Return a kind of client."""

    def default_client(self, service: str) -> ClientInfo | None:
        """Return the usual client of a kind of service."""

    def known_script(self, name: str) -> KnownScript | None:
        """Return what is known of a script by its file name."""

    def usual_secrets(self, service: str) -> Mapping[str, Secret]:
        """Return the secrets that services of a kind have, unless a recipe says others."""

    def speaks_http(self, service: str) -> bool:
        """Tell whether a kind of service is spoken to by URLs."""

    def own_arguments(self, service: Service) -> tuple[str, ...]:
        """Return the arguments of a service without those that its kind says itself."""


@dataclass(slots=True)
class Adapted:
    """A recipe in our words, what was decided on the way, and what could not be."""

    recipe: Recipe
    remarks: list[Remark] = field(default_factory=list)
    mistakes: list[Remark] = field(default_factory=list)


def adapted(recipe: Recipe, book: Book, files: Files) -> Adapted:
    """Return the recipe in our words."""
    done = Adapted(recipe)
    kinds = {s.name: s.kind or s.name for _, s in paths.parts(recipe) if isinstance(s, Service)}
    told: dict[str, Any] = {"services": kinds, "book": book, "files": files, "done": done}
    for path, part in paths.parts(recipe):
        if isinstance(part, Service):
            _put(done, path, _service(path, part, book, files, done))
        elif isinstance(part, Client):
            _put(done, path, _Adapting(path, part, **told).client())
    return done


def _put(done: Adapted, path: Path, part: Part) -> None:
    """Put a part in the place of what stands there."""
    key = str(path[0])
    value: Any = part
    if len(path) > 1:
        several = list(getattr(done.recipe, key))
        several[int(path[1])] = part
        value = tuple(several)
    done.recipe = done.recipe.model_copy(update={key: value})


# --- services -----------------------------------------------------------------------------------


def _service(path: Path, part: Service, book: Book, files: Files, done: Adapted) -> Service:
    kind = part.kind or part.name
    changes: dict[str, object] = {}
    args = book.own_arguments(part)
    if args != part.args:
        left_out = [text for text in part.args if text not in args]
        what = f"kind {kind} says itself what {' '.join(left_out)} would say: left out"
        done.remarks.append(((*path, "args"), what))
        changes["args"] = args
    own = {n: s for n, s in book.usual_secrets(kind).items() if n not in part.environment}
    if own:
        changes["secrets"] = {**own, **part.secrets}
    is_off = "enable_cadvisor" in part.model_fields_set and not part.enable_cadvisor
    if is_off and part.cadvisor_port is not None:
        what = "is the port of nothing, since enable_cadvisor is false"
        done.remarks.append(((*path, "cadvisor_port"), what))
        changes["cadvisor_port"] = None
    if part.health_check is not None:
        changes["health_check"] = _health_check(part, part.health_check)
    script = part.init_script
    if script is not None and _SQL_FILE.fullmatch(script):
        folder, _, name = script.rpartition("/")
        try:
            changes["init_script"] = files(folder, name)
        except UserError as error:
            done.mistakes.append(((*path, "init_script"), str(error)))
    return part.model_copy(update=changes) if changes else part


def _health_check(part: Service, check: HealthCheck) -> HealthCheck:
    """Return the check with the type that its endpoint means."""
    endpoint = check.endpoint
    if endpoint is None or ("type" in check.model_fields_set and check.type != "http"):
        return check
    said: dict[str, Any] = check.model_dump(exclude_unset=True)
    if "://" in endpoint:
        try:
            found = asked(endpoint)
        except ValueError:
            return check  # whoever judges checks says what is wrong with it
        if found.host is not None or endpoint.startswith("https:"):
            return check
        said |= {"type": found.type, "endpoint": found.path or None}
        if found.type == "http" and found.port not in {None, *part.ports[:1]}:
            said["endpoint"] = endpoint  # another port than the first is meant
    return HealthCheck.model_validate(said)


# --- clients ------------------------------------------------------------------------------------


class _Adapting:
    """One client on its way into our words."""

    def __init__(
        self,
        path: Path,
        part: Client,
        *,
        services: Mapping[str, str],
        book: Book,
        files: Files,
        done: Adapted,
    ) -> None:
        self.path = path
        self.part = part
        self.services = services
        self.book = book
        self.files = files
        self.done = done
        target = next((target.name for _, target in paths.targets(part)), None)
        self.target = services.get(target, target) if target is not None else None

    def client(self) -> Client:
        """Return the client in our words."""
        self._asks()
        script = self.part.script or self._implied()
        if script is not None and self.part.kind in {None, "script"}:
            return self._with_script(script)
        if self.part.kind is not None or self.book.client(self.part.name) is not None:
            return self.part
        kind = "generic" if self.part.command else self._usual()
        return self.part.model_copy(update={"kind": kind}) if kind else self.part

    def _remark(self, place: Path, what: str) -> None:
        self.done.remarks.append(((*self.path, *place), what))

    def _asks(self) -> None:
        """Refuse endpoints that the job could not ask before its program starts."""
        for place, target in paths.targets(self.part):
            try:
                asked(target.health_check_endpoint or "/")
            except ValueError as error:
                where = (*self.path, *place, "health_check_endpoint")
                self.done.mistakes.append((where, f"{error}; or write a path such as /health"))

    def _usual(self) -> str | None:
        usual = self.book.default_client(self.target) if self.target is not None else None
        if usual is not None:
            self._remark(("name",), f"kind {usual.name}: the usual client of {self.target}")
        return usual.name if usual is not None else None

    def _implied(self) -> ScriptFile | None:
        """Return the script that a recipe means without naming it, as those projects find it."""
        for text in self.part.args:
            if match := _MOUNTED.fullmatch(text):
                return ScriptFile(name=match["name"], local_path="benchmark_scripts")
        name = f"{self.part.name.replace('-', '_')}.py"
        is_ours = self.book.client(self.part.name) is not None or self.part.command is not None
        if is_ours or self.book.known_script(name) is None:
            return None
        return ScriptFile(name=name, local_path="benchmark_scripts")

    # --- with a script ------------------------------------------------------------------------

    def _with_script(self, script: ScriptFile) -> Client:
        known = self.book.known_script(script.name)
        place: Path = ("script", "name") if self.part.script is not None else ("name",)
        text, missing = script.text, ""
        if text is None:
            try:
                text = self.files(script.local_path, script.name)
            except UserError as error:
                missing = str(error)
        if known is not None and self.part.kind is None:
            usual = self.book.default_client(known.service)
            inside = known.outside and self.part.container is not None
            if usual is not None and (text is None or inside):
                why = "starts containers itself, so it cannot run in one" if text else missing
                what = f"{why}; benchd's own client {usual.name} measures the same instead"
                self._remark(place, what)
                return self._ours(known, usual)
        if text is None:
            self.done.mistakes.append(((*self.path, *place), missing))
            text = ""  # so that the rest is judged as that of a script
        return self._passed(script, text, known)

    def _passed(self, script: ScriptFile, text: str, known: KnownScript | None) -> Client:
        """Return a client that runs the script itself."""
        update: dict[str, object] = {"text": text}
        if script.endpoint is None:
            kind = known.service if known is not None else self.target
            has_url = kind is None or self.book.speaks_http(kind)
            update["endpoint"] = "url" if has_url else "address"
        parameters = dict(self.part.parameters)
        if known is not None:
            update["packages"] = script.packages or known.packages
            named = [(known.options.get(name, name), value) for name, value in parameters.items()]
            parameters = {name: value for name, value in named if name}
            if self.part.output is None or self.part.output.file is None:
                # They all know this option, and write to /tmp, or not home, without it.
                parameters.setdefault("output_file", script.name.replace(".py", ".json"))
        changes = {"kind": "script", "script": script.model_copy(update=update)}
        return self.part.model_copy(update={**changes, "parameters": parameters})

    def _ours(self, known: KnownScript, usual: ClientInfo) -> Client:
        """Return a client of our own kind that measures what the script would have."""
        types = {parameter.name: parameter.type for parameter in usual.parameters}
        parameters: dict[str, Scalar] = {}
        said = {**self._from_args(), **self.part.parameters}
        for name, value in said.items():
            ours = known.parameters.get(name, name)
            if name == "wait_for_service":
                parameters[name] = value
            elif ours in types:
                self._tell(parameters, ours, value, types[ours])
            elif name not in known.meaningless:
                what = f"{usual.name} has nothing like it: left out"
                self._remark(("parameters", name), what)
        self._rename_sweeps(known)
        changes: dict[str, object] = {"kind": usual.name, "parameters": parameters}
        changes["container"] = self._box(known, usual)
        changes |= {"script": None, "command": None, "args": ()}
        if self.part.output is not None and self.part.output.file is not None:
            what = f"{usual.name} writes result files of its own: they are what is kept and copied"
            self._remark(("output", "file"), what)
            changes["output"] = self.part.output.model_copy(update={"file": None})
        if known.longest and self.part.duration is not None:
            parameters.setdefault(known.longest, self.part.duration)
            changes["duration"] = None
        return self.part.model_copy(update=changes)

    def _box(self, known: KnownScript, usual: ClientInfo) -> Container | None:
        """Return the image of our client: a script's own has Python, and our client's program not.

        What was to be installed for the script is not.
        """
        box = self.part.container
        if box is None:
            return None
        if usual.image is not None and not known.outside:
            self._remark(("container",), f"{usual.name} runs in {usual.image}, which has it")
            return Container(docker_source=usual.image)
        return box.model_copy(update={"build_commands": (), "force_rebuild": False})

    def _from_args(self) -> dict[str, Scalar]:
        """Return what the arguments of an explicit command line say, by the names of options."""
        matches = [_OPTION.fullmatch(text) for text in self.part.args]
        return {m["name"].replace("-", "_"): m["value"] for m in matches if m and "$" not in m[0]}

    def _tell(self, parameters: dict[str, Scalar], name: str, value: Scalar, wanted: str) -> None:
        """Set a parameter, or sweep it when there are several values in one text."""
        numbers = wanted in {"int", "float"}
        if isinstance(value, str) and numbers and _LIST.fullmatch(value):
            values = tuple(_number(each.strip()) for each in value.split(","))
            one = self.path == ("client",)
            key = f"client.parameters.{name}"
            key = key if one else f"clients.{self.part.name}.parameters.{name}"
            if key not in swept_paths(self.done.recipe):
                sweep = {**self.done.recipe.sweep, key: values}
                self.done.recipe = self.done.recipe.model_copy(update={"sweep": sweep})
                self._remark(("parameters",), f"{value} becomes a sweep of {name}")
        elif isinstance(value, str) and numbers:
            parameters[name] = _number(value)
        elif isinstance(value, str) and name == "tests":
            parameters[name] = value.lower()
        else:
            parameters[name] = value

    def _rename_sweeps(self, known: KnownScript) -> None:
        """Let what the recipe sweeps itself be about our parameters."""

        def ours(path: str) -> str:
            head, _, last = path.rpartition(".")
            mine = head in {"client.parameters", f"clients.{self.part.name}.parameters"}
            return f"{head}.{known.parameters.get(last, last)}" if mine else path

        recipe = self.done.recipe
        renamed = {
            "sweep": {
                ", ".join(map(ours, paths_of(key))): row for key, row in recipe.sweep.items()
            },
            "exclude": tuple(
                {ours(path): value for path, value in entry.items()} for entry in recipe.exclude
            ),
        }
        self.done.recipe = recipe.model_copy(update=renamed)


def _number(text: str) -> Scalar:
    """Return a number where the text is one; what is none is for the kind to refuse."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
