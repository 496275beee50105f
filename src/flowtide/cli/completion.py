"""`flowtide completion SHELL` and the same of `flowtidectl`: the name of a shell in, the script that it reads out."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Write the script by which SHELL completes commands, options and files.

    \b
    bash: write it to ~/.local/share/bash-completion/completions/, under the name of the program
    zsh:  write it to a folder of $fpath, as _ and the name of the program; then start zsh anew
    fish: write it to ~/.config/fish/completions/, as the name of the program and .fish

    For one session only: `source <(flowtide completion bash)`.
    """
    from click.shell_completion import get_completion_class

    program = context.find_root()
    name = program.info_name or "flowtide"
    variable = f"_{name.upper().replace('-', '_').replace('.', '_')}_COMPLETE"
    kind = get_completion_class(shell)
    assert kind is not None
    source = kind(program.command, {}, name, variable)
    # Not `source.source()`: that asks the bash of this machine for its version, which need not be where it is used.
    click.echo(source.source_template % source.source_vars())
