"""The words of the code: one verb means one thing (docs/glossary.md), and a docstring's first line stands by itself."""

import ast
import re
from collections.abc import Iterator

from tests.support.source_trees import trees

# Verbs that meant publish, build, reply, print, read and note at once; the field has a word for each.
VAGUE = re.compile(
    r"(^|_)(say|says|said|unsaid|tell|tells|told|untold|hear|heard|unheard|hush|attend|owe|owes|phantoms?|voice)(_|$)"
)
# A first line that begins like this cannot be read without the line above it.
LEANING = re.compile(r"^(Of|Likewise|Ditto|The same|As above|And|Also|So|Both|These|Those|Such|Here|Then)\b")


def definitions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield f"{path}:{node.lineno}", node


def names_in(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[str]:
    """What the definition names: itself, its parameters or fields, and the attributes that it sets."""
    yield node.name
    if not isinstance(node, ast.ClassDef):
        yield from (arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg))
    for inner in ast.walk(node):
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name) and isinstance(node, ast.ClassDef):
            yield inner.target.id
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            yield inner.attr


def vague(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    return {name for name in names_in(node) if VAGUE.search(name.lower())}


def leaning(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    """The first line of a public docstring that leans on what stands above it, "" where it does not."""
    first = (ast.get_docstring(node) or "").split("\n")[0]
    return first if not node.name.startswith("_") and LEANING.match(first) else ""


def test_no_name_has_a_vague_verb():
    found = {f"{place} {name}" for place, node in definitions() for name in vague(node)}
    assert not found, "say publish, append, build_…, reply, report, raise_alert, log_line or read:\n" + "\n".join(sorted(found))


def test_first_lines_of_docstrings_stand_by_themselves():
    found = [f"{place} {node.name}: {line}" for place, node in definitions() if (line := leaning(node))]
    assert not found, "say what it takes, gives and changes:\n" + "\n".join(found)


def test_what_these_tests_look_for_is_found():
    source = 'class A:\n    told: int\n    def say(self, heard):\n        """Of the streams."""\n        self.unsaid = heard\n'
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef) and isinstance(tree.body[1], ast.FunctionDef)
    assert vague(tree) == {"told", "unsaid"} and vague(tree.body[1]) == {"say", "heard", "unsaid"}
    assert leaning(tree.body[1]) == "Of the streams." and leaning(tree) == ""
