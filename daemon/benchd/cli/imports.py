"""``benchd import``: recipes out of the files of other projects, with what stayed behind."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from benchd.catalog import Catalog
from benchd.core.import_forms import FORMS
from benchd.core.imports import convert
from benchd.core.recipe import understand
from benchd.errors import RecipeError, UserError
from benchd.yamldoc import MAX_BYTES

OK, NO = 0, 1


def import_file(file: str, out: Path | None, catalog: Catalog) -> int:
    """Print or write the recipes that a file stands for; 1 if one of them needs a hand."""
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    found = convert(data, file, catalog, FORMS)
    for remark in found.remarks:
        print(f"note: {remark.render(file)}", file=sys.stderr)
    if not found.recipes:
        raise UserError(f"{file}: nothing in it could be carried over; see the notes above")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    status = OK
    for name, recipe in found.recipes.items():
        text = f"# Converted from {Path(file).name}: {found.form}.\n"
        text += yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
        try:
            understand(text.encode(), f"{name}.yaml", catalog)
        except RecipeError as error:
            print(f"warning: {name}.yaml needs your hand:\n{error}", file=sys.stderr)
            status = NO
        if out is None:
            sys.stdout.write(f"---\n{text}" if len(found.recipes) > 1 else text)
            continue
        target = out / f"{name}.yaml"
        try:
            with target.open("x", encoding="utf-8") as stream_out:
                stream_out.write(text)
        except FileExistsError:
            raise UserError(f"{target} is there already: remove it, or name another -o") from None
        print(target)
    return status
