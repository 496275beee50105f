"""Imports point inwards: a package imports only what stands before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.repository import PACKAGE, modules, shown

#: From the inside out. Packages of one row: settings and telemetry may see each other, ports may not.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("model",),
    ("expressions",),
    ("engine",),
    ("settings", "telemetry"),
    ("log", "index", "storage", "secrets"),
    ("processors",),
    ("services",),
    ("analytics",),  # a service that stands on Faust; what servers share with it is in services
    ("api",),
    ("ui",),
    ("cli",),
    ("plugins",),
    ("testing",),
)
#: Found by entry point only, so that the built-in types use the door that everybody uses.
BY_ENTRY_POINT = "plugins"
TOGETHER = frozenset({"settings", "telemetry"})


def _rank(layer: str) -> int:
    return next(number for number, row in enumerate(LAYERS) if layer in row)


def _imports(file: Path) -> Iterator[tuple[int, str]]:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    package = parts[:-1]  # for a package's own __init__ as well: its folder
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(part for part in (base, node.module or "") if part)
            if name == "flowtide":
                yield from ((node.lineno, f"flowtide.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, name


def wrong_imports(file: Path, layer: str) -> list[str]:
    """The imports of a module of that layer that point outwards, or between ports."""
    wrong = []
    for line, name in _imports(file):
        if not name.startswith("flowtide."):
            continue
        target = name.split(".")[1]
        if target.startswith("__") or target == layer:
            continue
        known = any(target in row for row in LAYERS)
        inwards = known and _rank(target) < _rank(layer)
        beside = {target, layer} <= TOGETHER
        if layer == "testing" or (target != BY_ENTRY_POINT and (inwards or beside)):
            continue
        wrong.append(f"{file.name}:{line} in {layer} imports {name}")
    return wrong


def test_imports_point_inwards() -> None:
    """No module imports from its own row or from further out (design: the order of the layers)."""
    wrong = []
    for file in modules("src"):
        inner = file.relative_to(PACKAGE)
        layer = inner.parts[0].removesuffix(".py")
        if layer.startswith("__"):
            continue
        assert any(layer in row for row in LAYERS), f"{shown(file)}: the layer of {layer} is not in LAYERS"
        wrong += wrong_imports(file, layer)
    assert wrong == []


def test_the_check_finds_what_it_looks_for(tmp_path: Path) -> None:
    """The check above sees absolute, relative and hidden imports, and lets good ones pass."""
    file = PACKAGE / "log" / "made_up.py"
    source = (
        "import flowtide.model.states\nfrom flowtide import index\ndef f():\n    from flowtide.api import x\n"
    )
    parsed = tmp_path / "made_up.py"
    parsed.write_text(source)

    class Written(type(file)):  # type: ignore[misc]  # the class of paths depends on the system
        def read_text(self, *_: object, **__: object) -> str:
            return parsed.read_text()

    assert wrong_imports(Written(file), "log") == [
        "made_up.py:2 in log imports flowtide.index",
        "made_up.py:4 in log imports flowtide.api",
    ]
