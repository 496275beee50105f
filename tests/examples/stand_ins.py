"""What the documentation's examples expect of the world: web hosts that answer, and a `requests` for their scripts.

In come requests to `/HOST/PATH`, as examples ask when their hosts are replaced; out go bodies of the same shape as the
real host's, small and always the same.  No state.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PRODUCTS = {
    "products": [
        {"id": 1, "title": "Essence Mascara", "brand": "Essence", "price": 9.99, "category": "beauty"},
        {"id": 2, "title": "Red Lipstick", "brand": "Glamour", "price": 12.99, "category": "beauty"},
    ],
    "total": 2,
    "skip": 0,
    "limit": 30,
}
ORDERS_CSV = (
    "order_id,customer_name,customer_email,product_id,price,quantity,total\n"
    "1,Kelly Olsen,jenniferschneider@example.com,20,166.89,7,1168.23\n"
    "2,Miguel Moore,billy19@example.com,14,171.63,4,686.52\n"
)
ORDERS_JSON = {
    "Account": {
        "Order": [
            {"OrderID": "order103", "Product": [{"Product Name": "Bowler Hat"}, {"Product Name": "Cloak"}]},
            {"OrderID": "order104", "Product": [{"Product Name": "Trilby hat"}]},
        ]
    }
}
EVENTS = [{"type": "error", "detail": json.dumps({"message": "disk full"})}]

KESTRA_MODULE = '''
"""The calls of the `kestra` package, in the protocol of scripts: a line of JSON between double colons."""
import json
import logging

class _Lines(logging.Handler):
    def emit(self, record):
        level = {"WARNING": "WARN", "CRITICAL": "ERROR"}.get(record.levelname, record.levelname)
        _tell({"logs": [{"level": level, "message": record.getMessage()}]})

def _tell(value):
    print("::" + json.dumps(value) + "::", flush=True)

class Kestra:
    """What scripts call."""
    @staticmethod
    def outputs(values):
        _tell({"outputs": values})
    @staticmethod
    def counter(name, value, tags=None):
        _tell({"metrics": [{"name": name, "type": "counter", "value": value, "tags": tags or {}}]})
    @staticmethod
    def timer(name, value, tags=None):
        _tell({"metrics": [{"name": name, "type": "timer", "value": value, "tags": tags or {}}]})
    @staticmethod
    def logger():
        logger = logging.getLogger("kestra")
        if not logger.handlers:
            logger.addHandler(_Lines())
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
        return logger
'''

REQUESTS_MODULE = '''
"""The calls of the `requests` package that the examples' scripts use."""
import json as _json
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

__version__ = "2.0"

class RequestException(Exception):
    """What `raise_for_status` raises."""

class Response:
    """An answer."""
    def __init__(self, status, content, headers):
        self.status_code, self.content, self.headers = status, content, headers
        self.ok = status < 400
    @property
    def text(self):
        return self.content.decode()
    def json(self):
        return _json.loads(self.content)
    def raise_for_status(self):
        if not self.ok:
            raise RequestException(str(self.status_code))

def request(method, url, params=None, headers=None, timeout=30, json=None, **rest):
    url += "?" + urlencode(params) if params else ""
    body = None if json is None else _json.dumps(json).encode()
    try:
        with urlopen(Request(url, method=method, headers=headers or {}, data=body), timeout=timeout) as answer:
            return Response(answer.status, answer.read(), dict(answer.headers))
    except HTTPError as error:
        return Response(error.code, error.read(), dict(error.headers))

def get(url, **rest):
    return request("GET", url, **rest)

def head(url, **rest):
    return request("HEAD", url, **rest)

def post(url, **rest):
    return request("POST", url, **rest)

class exceptions:
    RequestException = RequestException
'''


def _dummyjson(path: str, query: dict[str, str]) -> Any:
    if path == "/products/categories":
        return [{"slug": "beauty", "name": "Beauty"}, {"slug": "groceries", "name": "Groceries"}]
    if path.startswith(("/products/category/", "/products/search")) or path == "/products":
        skip, limit = int(query.get("skip", 0)), int(query.get("limit", 30))
        return {**PRODUCTS, "products": PRODUCTS["products"][skip : skip + limit]}  # type: ignore[index]  # a list
    if path.startswith(("/products/", "/todos/", "/carts")):
        return {"id": 1, "title": "Essence Mascara", "completed": True}
    return {"users": [{"id": 1, "firstName": "Emily"}], "quotes": [{"quote": "Be"}], "id": 1}


def _answer(method: str, host: str, path: str, query: dict[str, str], body: str) -> tuple[int, str]:
    """The status and the text that a host gives."""
    if host == "dummyjson.com":
        return 200, json.dumps(_dummyjson(path, query))
    if host == "huggingface.co":
        if path.endswith(".csv"):
            return 200, ORDERS_CSV
        return 200, json.dumps(EVENTS if "events" in path else ORDERS_JSON)
    if host == "kestra.io" and path == "/api/mock":
        sent: Any = body
        with suppress(ValueError):
            sent = json.loads(body)
        return 201 if method == "POST" else 200, json.dumps({"title": "mock", "params": query, "data": sent})
    if host == "hub.docker.com":
        return 200, json.dumps({"pull_count": 20, "name": "kestra"})
    if path.endswith("/missing"):
        return 404, "not here"
    return 200, json.dumps({"id": 1, "title": "an answer", "results": [], "total": 0})


class _Handler(BaseHTTPRequestHandler):
    def _reply(self) -> None:
        parts = urlsplit(self.path)
        _, host, *rest = parts.path.split("/", 2)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        status, text = _answer(self.command, host, "/" + "".join(rest), dict(parse_qsl(parts.query)), body)
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if text[:1] in "[{" else "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _reply  # noqa: N815 - the base's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Be silent."""


@contextmanager
def web() -> Iterator[str]:
    """The address of a server that stands in for all hosts: `https://HOST/PATH` is `ADDRESS/HOST/PATH`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
