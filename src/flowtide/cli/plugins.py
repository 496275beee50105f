"""`flowtide plugins list` and `plugins doc`: the types that flows can use here, and what they are (CLI-22)."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flowtide.cli.options import Invocation, common_options


@click.group()
def plugins() -> None:
    """Show the types that flows can use."""


@plugins.command(name="list")
@click.option("--core", is_flag=True, help="Only the types that come with Flowtide.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@common_options
def list_(invocation: Invocation, core: bool, output: str) -> None:
    """Write every type of task, trigger, condition and task runner, with the package that it comes from."""
    from importlib.metadata import entry_points

    from flowtide.services.plugins import GROUPS, discover_plugins

    invocation.settings()  # puts the folder of plugins on the path
    discover_plugins()  # tells of two packages that offer the same type
    rows = [
        (
            kind,
            point.name,
            point.dist.name if point.dist is not None else "?",
            point.dist.version if point.dist else "",
        )
        for group, kind in GROUPS.items()
        for point in entry_points(group=group)
        if not core or (point.dist is not None and point.dist.name == "flowtide")
    ]
    if output == "json":
        names = ("kind", "type", "package", "version")
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in sorted(set(rows))], indent=2))
        return
    for kind, name, package, version in sorted(set(rows)):
        click.echo(f"{kind:<10} {name:<60} {package} {version}".rstrip())


@plugins.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("docs"))
@click.option("--core", is_flag=True, help="Only the types that come with Flowtide.")
@click.option("--icons", is_flag=True, help="Also an icon of each type.")
@click.option("--schema", is_flag=True, help="Also the JSON Schema of each type, and that of a flow.")
@common_options
def doc(invocation: Invocation, folder: Path, core: bool, icons: bool, schema: bool) -> None:
    """Write the documentation of every type to FOLDER, a Markdown file each."""
    from flowtide import __version__
    from flowtide.services.plugin_docs import PluginCatalogue, icon_svg, markdown
    from flowtide.services.plugins import discover_plugins

    invocation.settings()  # puts the folder of plugins on the path
    registry = discover_plugins()
    catalogue = PluginCatalogue(registry, __version__)
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for kind, name, plugin in registry:
        if core and not name.startswith("io.kestra.plugin.core."):
            continue
        count += 1
        (folder / f"{name}.md").write_text(markdown(kind, name, plugin), encoding="utf-8")
        if icons:
            (folder / f"{name}.svg").write_text(icon_svg(name, kind), encoding="utf-8")
        if schema:
            found = catalogue.documentation(name)
            text = json.dumps(found["schema"] if found else {}, indent=2, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    if schema:
        text = json.dumps(catalogue.flow_schema, indent=2, ensure_ascii=False)
        (folder / "flow.json").write_text(text + "\n", encoding="utf-8")
    click.echo(f"{count} types are documented in {folder}")
