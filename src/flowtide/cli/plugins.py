"""`flowtide plugins ...`: the types that flows can use here, what they are, and packages that bring more (CLI-22)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowtide.cli.options import Invocation, common_options
from flowtide.cli.tables import output_option, write

if TYPE_CHECKING:
    from flowtide.settings import Settings


@click.group()
def plugins() -> None:
    """Show the types that flows can use, and install packages that bring more.

    A plugin is a Python package with entry points of the groups flowtide.tasks, flowtide.triggers and so on.
    """


@plugins.command(name="list")
@click.option("--core", is_flag=True, help="Only the types that come with Flowtide.")
@output_option
@common_options
def list_(invocation: Invocation, core: bool, output: str) -> None:
    """Write every type of task, trigger, condition and task runner, with the package that it comes from."""
    from importlib.metadata import entry_points

    from flowtide.services.plugins import GROUPS, discover_plugins

    invocation.settings()  # puts the folder of plugins on the path
    discover_plugins()  # tells of two packages that offer the same type
    found = {
        (
            kind,
            point.name,
            point.dist.name if point.dist is not None else "?",
            point.dist.version if point.dist else "",
        )
        for group, kind in GROUPS.items()
        for point in entry_points(group=group)
        if not core or (point.dist is not None and point.dist.name == "flowtide")
    }
    names = ("kind", "type", "package", "version")
    rows = [dict(zip(names, row, strict=True)) for row in sorted(found)]
    write(rows, {each.upper(): each for each in names}, output, nothing="there are no plugins")


@plugins.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("docs"))
@click.option("--core", is_flag=True, help="Only the types that come with Flowtide.")
@click.option("--plugin", metavar="TYPE", help="Only the types whose name begins so.")
@click.option("--icons", is_flag=True, help="Also an icon of each type.")
@click.option("--schema", is_flag=True, help="Also the JSON Schema of each type, and that of a flow.")
@common_options
def doc(
    invocation: Invocation, folder: Path, core: bool, plugin: str | None, icons: bool, schema: bool
) -> None:
    """Write the documentation of every type to FOLDER, a Markdown file each."""
    from flowtide import __version__
    from flowtide.services.plugin_docs import PluginCatalogue, icon_svg, markdown
    from flowtide.services.plugins import discover_plugins

    invocation.settings()  # puts the folder of plugins on the path
    registry = discover_plugins()
    catalogue = PluginCatalogue(registry, __version__)
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for kind, name, found in registry:
        if (core and not name.startswith("io.kestra.plugin.core.")) or not name.startswith(plugin or ""):
            continue
        count += 1
        (folder / f"{name}.md").write_text(markdown(kind, name, found), encoding="utf-8")
        if icons:
            (folder / f"{name}.svg").write_text(icon_svg(name, kind), encoding="utf-8")
        if schema:
            known = catalogue.documentation(name)
            text = json.dumps(known["schema"] if known else {}, indent=2, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    if schema:
        text = json.dumps(catalogue.flow_schema, indent=2, ensure_ascii=False)
        (folder / "flow.json").write_text(text + "\n", encoding="utf-8")
    click.echo(f"{count} types are documented in {folder}")


@plugins.command()
@click.argument("term")
@output_option
@common_options
def search(invocation: Invocation, term: str, output: str) -> None:
    """Find TERM in the names and titles of the types that are installed here.

    There is no list of all plugins to ask: packages that others publish are found where packages are published.
    """
    from flowtide.services.plugins import discover_plugins

    invocation.settings()  # puts the folder of plugins on the path
    wanted = term.casefold()
    rows = [
        {"kind": kind, "type": name, "title": plugin.title}
        for kind, name, plugin in discover_plugins()
        if wanted in name.casefold() or wanted in plugin.title.casefold()
    ]
    columns = {"KIND": "kind", "TYPE": "type", "TITLE": "title"}
    write(rows, columns, output, nothing=f"no type that is installed here has `{term}` in its name or title")


@plugins.command()
@click.option(
    "--locally", type=click.BOOL, default=True, show_default=True,
    help="Install on this machine; there is no other way.",
)  # fmt: skip  # a table
@click.option("--all", "everything", is_flag=True, help="Without effect: what Flowtide has is there already.")
@click.option(
    "--repositories", multiple=True, metavar="URL", help="A further index of packages; may be given again."
)
@click.argument("packages", nargs=-1)
@common_options
def install(
    invocation: Invocation,
    packages: Sequence[str],
    locally: bool,
    everything: bool,
    repositories: Sequence[str],
) -> None:
    """Install PACKAGES, names of Python packages as pip takes them.

    They go to the folder of -p or `plugins.path`, else into the environment of this Python. A coordinate of Maven,
    such as io.kestra.plugin:plugin-scripts:LATEST, is fine where its types come with Flowtide, and refused elsewhere:
    a plugin of Java does not run here. Servers know new plugins after a restart.
    """
    from flowtide.cli.plugin_packages import install as install_packages

    if not locally:
        raise click.UsageError(
            "plugins are installed on each machine: mount a folder that all servers share and name it in "
            "`plugins.path`"
        )
    if not packages:
        if not everything:
            raise click.UsageError("Missing argument 'PACKAGES...'.")
        click.echo("all types of Flowtide are installed with it; `flowtide plugins list` shows them")
        return
    settings = invocation.settings()
    wanted = _packages(packages)
    if wanted:
        install_packages(wanted, _folder(invocation, settings), repositories)


@plugins.command()
@click.argument("packages", nargs=-1, required=True)
@common_options
def uninstall(invocation: Invocation, packages: Sequence[str]) -> None:
    """Remove PACKAGES from where `plugins install` put them."""
    from flowtide.cli.plugin_packages import uninstall as remove_packages

    settings = invocation.settings()
    wanted = _packages(packages)
    if wanted:
        remove_packages(wanted, _folder(invocation, settings))
        click.echo(f"{', '.join(wanted)} removed")


def _folder(invocation: Invocation, settings: Settings) -> Path | None:
    return invocation.plugins or settings.plugins.path


def _packages(names: Sequence[str]) -> list[str]:
    """The Python packages among the names.  Raises PluginNotInstalled for a plugin of Java that is not there."""
    from flowtide.cli.plugin_packages import PluginNotInstalled, comes_with_flowtide, coordinate
    from flowtide.services.plugins import GROUPS, discover_plugins

    wanted = []
    for name in names:
        plugin = coordinate(name)
        if plugin is None:
            wanted.append(name)
            continue
        registry = discover_plugins()
        types = [each for kind in GROUPS.values() for each in registry.names(kind)]
        if not comes_with_flowtide(plugin, types):
            raise PluginNotInstalled(
                f"{name} is a plugin of Java, which does not run here, and no type of Flowtide is of its name: name a "
                "Python package that offers its types, or use a script task in their place"
            )
        click.echo(f"{name}: its types come with Flowtide, there is nothing to do")
    return wanted
