"""`scripts.php.Commands` and `scripts.php.Script` (C S02, S04)."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_TAG: Final = re.compile(r"<\?(php|=)")
_IMAGE = "php"


class Commands(CommandsTask):
    """Run commands, such as `php main.php`, in one shell."""

    title: ClassVar[str] = "Run PHP programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: php_commands
namespace: company.team
tasks:
  - id: php
    type: io.kestra.plugin.scripts.php.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.php: |
        <?php echo 'Hello from a file';
    commands:
      - php main.php
"""


class Script(InlineScript):
    """Run a PHP script that stands in the flow."""

    title: ClassVar[str] = "Run a PHP script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "php"
    file_name: ClassVar[str] = ".script.php"
    example: ClassVar[str] = """\
id: php_script
namespace: company.team
tasks:
  - id: php
    type: io.kestra.plugin.scripts.php.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      echo '::' . json_encode(['outputs' => ['answer' => 6 * 7]]) . '::';
"""

    def source(self, text: str) -> str:
        """The rendered script; page 356 writes it without the tag, outside of which PHP only copies text."""
        return text if _TAG.search(text) else f"<?php\n{text}"
