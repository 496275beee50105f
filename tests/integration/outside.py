"""What tests do to Kafka and Elasticsearch from outside: start private ones, stop them, remove what was made."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal, Self
from urllib.error import URLError
from urllib.request import Request, urlopen

from flowtide.testing.servers import free_port

_SERVICES = Path(__file__).parents[2] / "deploy" / "services"


class Outside:
    """A private Kafka or Elasticsearch in a folder, started and stopped by the scripts of `deploy/services`."""

    def __init__(self, kind: Literal["kafka", "elasticsearch"], folder: Path) -> None:
        self.port = free_port(2)  # Kafka's controller takes the second one
        self._scripts = _SERVICES / kind
        self._folder = folder / kind

    def start(self) -> None:
        """Start it, or start it again with its data, and return when it answers."""
        self._run("start", str(self.port), str(self._folder))

    def stop(self) -> None:
        """Stop it in order; its data stay."""
        self._run("stop", str(self._folder))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, script: str, *arguments: str) -> None:
        # Through a file: the node inherits the streams, and a pipe would wait for its end.
        self._folder.mkdir(parents=True, exist_ok=True)
        said = self._folder / f"{script}.out"
        with said.open("wb") as output:
            done = subprocess.run(
                [str(self._scripts / script), *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=180,
            )
        assert done.returncode == 0, said.read_text(errors="replace")


def remove_topics_and_indices(kafka: str, elasticsearch: str, prefix: str) -> None:
    """Delete the topics, indices and templates of a test."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": kafka})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    for future in (admin.delete_topics(names) if names else {}).values():
        future.result(30)
    try:
        with urlopen(f"{elasticsearch}/_cat/indices/{prefix}*?h=index") as answer:
            indices = answer.read().decode().split()
        for path in [*indices, f"_index_template/{prefix}*"]:
            with urlopen(Request(f"{elasticsearch}/{path}", method="DELETE")):
                pass
    except URLError:
        return  # the test stopped it
