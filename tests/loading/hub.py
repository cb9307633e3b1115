"""A small model hub on this machine, for the real hub client: it speaks the part of the protocol that a download uses.

- `Hub`  a server of folders as repositories, and of the errors a hub answers with
"""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"

# repository name -> status, X-Error-Code, X-Error-Message
ERRORS = {
    "org/gated": (403, "GatedRepo", "Access to model org/gated is restricted."),
    "org/bad-token": (401, "", "Invalid credentials in Authorization header"),
    "org/disabled": (403, "", "Access to this resource is disabled."),
    "org/limited": (429, "", "Too many requests"),
    "org/broken": (503, "", "Service unavailable"),
}


class Hub:
    """Serves `repositories` (name to folder) until it is closed; `requests` lists the paths that were asked for.

    What is asked of `org/silent` is never answered.
    """

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.requests: list[str] = []
        self.closed = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_GET  # noqa: N815 (http.server's name)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler) -> None:
        path = handler.path.split("?")[0].strip("/")
        self.requests.append(path)
        parts = path.removeprefix("api/models/").split("/")
        name, rest = "/".join(parts[:2]), parts[2:]
        if name == "org/silent":
            self.closed.wait()
            return
        if name in ERRORS:
            status, code, message = ERRORS[name]
            self.send(handler, status, b"", {"X-Error-Code": code, "X-Error-Message": message})
        elif name not in self.repositories:
            self.send(handler, 404, b"", {"X-Error-Code": "RepoNotFound"})
        elif len(rest) > 1 and rest[0] in ("revision", "resolve", "tree") and rest[1] not in ("main", COMMIT):
            self.send(handler, 404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif not path.startswith("api/"):
            self.send_file(handler, self.repositories[name] / "/".join(rest[2:]))
        elif rest[:1] == ["tree"]:
            listing = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": self.digest(path)}
                for path in self.files(name)
            ]
            self.send(handler, 200, json.dumps(listing).encode(), {"Content-Type": "application/json"})
        else:
            siblings = [{"rfilename": path.name, "size": path.stat().st_size} for path in self.files(name)]
            info = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "private": False}
            self.send(handler, 200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def files(self, name: str) -> list[Path]:
        return sorted(path for path in self.repositories[name].iterdir() if path.is_file())

    def digest(self, path: Path) -> str:
        return hashlib.sha1(path.read_bytes()).hexdigest()

    def send_file(self, handler, path: Path) -> None:
        if path.is_file():
            self.send(handler, 200, path.read_bytes(), {"ETag": f'"{self.digest(path)}"', "X-Repo-Commit": COMMIT})
        else:
            self.send(handler, 404, b"", {"X-Error-Code": "EntryNotFound"})

    def send(self, handler, status: int, body: bytes, headers: dict[str, str]) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            if value:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)
