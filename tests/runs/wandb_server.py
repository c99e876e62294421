"""A server on this machine that answers what wandb asks it for when a workspace and a report are written.

It keeps what it is sent. It shows that our requests are whole, and not that wandb's own server takes them.
"""

import gzip
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT = "somebody", "lora-jax"
_USER: dict[str, Any] = {
    "id": "u",
    "name": "u",
    "username": "u",
    "entity": ENTITY,
    "email": "u@example.org",
    "admin": False,
    "flags": "{}",
    "teams": {"edges": []},
    "apiKeys": {"edges": []},
    "deletedAt": None,
}
_PROJECT: dict[str, Any] = {
    "id": "p",
    "name": PROJECT,
    "entityName": ENTITY,
    "createdAt": "2026-01-01",
    "isBenchmark": False,
    "user": _USER,
    "internalId": "p1",
}


class Server(ThreadingHTTPServer):
    """saved: the variables of each view that was written. has_project: does it have the project?"""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.saved: list[dict[str, Any]] = []
        self.has_project = True

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertView" in query:
            self.saved.append(variables)
            view = variables | {
                "id": variables.get("id") or f"view{len(self.saved)}",
                "project": _PROJECT,
                "createdAt": "2026-01-01T00:00:00",
                "updatedAt": "2026-01-01T00:00:00",
            }
            return {"upsertView": {"view": view, "inserted": True}}
        if "viewer" in query:
            return {"viewer": _USER}
        if "models(" in query:
            page = {"endCursor": None, "hasNextPage": False}
            return {"models": {"edges": [{"node": _PROJECT, "cursor": "c"}], "pageInfo": page}}
        return {"project": _PROJECT if self.has_project else None}


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        asked = json.loads(body) if self.path == "/graphql" else {}
        found = self.server.answer(asked.get("query", ""), asked.get("variables") or {})
        content = json.dumps({"data": found}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Generator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
