"""Recipes and defaults that name a published source have its numbers, or say why not."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from scoreward import published
from scoreward.published import PublishedNumber, rows, tables, unlisted
from scoreward.recipes import recipe
from scoreward.settings.row import row
from tests.structure.source import ROOT
from tests.support.recipes import BUILT_IN, PRETRAINED
from tools.published_page import PAGE, page
from tools.published_settings import fault, ours

NAMED = re.compile(r"\b(codes?|paper|launchers?|scripts?|release|released|published)\b")
SETTINGS = re.compile(
    r"\b(settings|defaults) of (the|those)\b.*\b(code|codes|implementations?)\b", re.I
)


none = row("", "", "")

# The rows


def test_every_row_holds() -> None:
    """Equal where it says so, different where it gives a reason."""
    faults = [said for row in rows() if (said := fault(row, published.published(row), ours(row)))]
    assert not faults, "\n".join(faults)
    assert len(rows()) > 600


def test_an_equal_pair_that_drifts_apart_is_a_fault() -> None:
    row = PublishedNumber("sd35_flow_grpo", "flow_grpo.sd35.pickscore", "kl", "objective.kl")
    assert fault(row, 0.01, 0.01) is None
    assert fault(row, 0.01, 0.0100001) == (
        "sd35_flow_grpo: objective.kl is 0.0100001, but kl of flow_grpo.sd35.pickscore is 0.01; "
        "use it, or give the reason in rows.toml"
    )


def test_a_reason_for_a_difference_that_is_gone_is_a_fault() -> None:
    row = PublishedNumber(
        "sd35_flow_grpo", "flow_grpo.sd35.pickscore", "precision", "x", "Because of this."
    )
    assert fault(row, "fp16", "bf16") is None
    assert fault(row, "fp16", "fp16") == (
        "sd35_flow_grpo: x has become the published precision of flow_grpo.sd35.pickscore, 'fp16'; "
        "list it under `same` in rows.toml"
    )


def test_every_row_of_settings_on_a_pretrained_model_is_compared_or_ours() -> None:
    listed = {row.ours for row in rows()}
    names = {name: recipe(name) for name in PRETRAINED}
    bare = [n for n, r in names.items() if n not in listed and not (r.row or none).ours]
    assert not bare


def test_settings_that_name_their_source_have_rows() -> None:
    """Also those on built-in models, and the constants of which pretrained ones are made."""
    listed = {row.ours for row in rows()}
    said = {name: (recipe(name).row or none).about for name in BUILT_IN}
    named = [n for n, words in said.items() if NAMED.search(words) and "ours" not in words]
    assert not [name for name in named if name not in listed]


def test_a_recipe_is_built_without_weights() -> None:
    """From the run: what the rollout does, not what an option is called."""
    row = PublishedNumber(
        "flux_flow_grpo", "flow_grpo.flux.pickscore", "trained_steps", "facts.trained"
    )
    assert ours(row) == 5
    assert ours(replace(row, attribute="run.optimizer.ema_steps")) == 6


# The tables


def test_every_table_says_where_it_was_read_and_how() -> None:
    for name, table in tables().items():
        assert table["tag"] in ("C", "T", "S", "U"), name
        assert table["seen"], name
        assert table["repository"], name


def test_the_data_names_no_machine() -> None:
    for path in published.FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(work|home|root|tmp|mnt)/|https?://|localhost", text), path.name


# The comments


@dataclass(frozen=True)
class Field:
    """A default of a class and the comment beside it."""

    owner: str
    name: str
    comment: str


def classes() -> Iterator[tuple[str, ast.ClassDef, list[str]]]:
    for path in sorted((ROOT / "scoreward").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                yield f"{module}:{node.name}", node, text.splitlines()


@cache
def sourced() -> list[Field]:
    """Defaults whose comment names a code or a paper."""
    found = []
    for owner, node, lines in classes():
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and line.value and isinstance(line.target, ast.Name):
                comment = comment_of(lines, line.end_lineno or line.lineno)
                if NAMED.search(re.sub(r'"[^"]*"', "", comment)):
                    found.append(Field(owner, line.target.id, comment))
    return found


def comment_of(lines: list[str], number: int) -> str:
    """What follows the mark on a line, and on the lines below that are nothing but comments."""
    said = lines[number - 1].partition("  # ")[2]
    for line in lines[number:]:
        if not said or not line.strip().startswith("# "):
            return said
        said += " " + line.strip()[2:]
    return said


def test_every_default_that_names_its_source_has_a_row() -> None:
    covered = {(row.ours, row.attribute.partition(".")[0]) for row in rows()} | set(unlisted())
    bare = [
        f"{f.owner}.{f.name}: {f.comment}" for f in sourced() if (f.owner, f.name) not in covered
    ]
    assert not bare, "\n".join(bare)
    assert len(sourced()) > 80


def test_every_class_with_the_settings_of_a_code_has_a_row() -> None:
    listed = {row.ours for row in rows()}
    named = [
        owner for owner, node, _ in classes() if SETTINGS.search(ast.get_docstring(node) or "")
    ]
    assert not [owner for owner in named if owner not in listed]
    assert len(named) > 8


def test_nothing_is_listed_whose_comment_names_no_source() -> None:
    """A stale line would hide the next one."""
    fields = {(f.owner, f.name) for f in sourced()}
    assert not [place for place in unlisted() if place not in fields]


def test_a_comment_may_go_on_below() -> None:
    lines = ["    a: int = 1  # of the", "    # code", "    b: int = 2"]
    assert comment_of(lines, 1) == "of the code"
    assert comment_of(lines, 3) == ""


# The page


def test_the_page_is_up_to_date() -> None:
    assert Path(PAGE).read_text(encoding="utf-8") == page(), "run make pages"
