"""A stand-in of the hub's HTTP interface: repositories of models in memory, their commits and files."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Repository:
    def __init__(self, private):
        self.private = private
        self.commits = {}  # sha → files
        self.head = self.commit({".gitattributes": b""})

    def commit(self, files):
        sha = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.head = sha
        return sha

    @property
    def files(self):
        return self.commits[self.head]

    def at(self, revision):
        return self.head if revision in ("main", None) else revision


class Hub:
    """Its `repositories` by ``OWNER/NAME``, and `said`, the requests that came; `token` is the one that may write."""

    token = "hf_" + "a" * 34

    def __init__(self):
        self.repositories = {}
        self.said = []
        self.broken = None  # file whose bytes are changed on the way
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                hub.answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def do_GET(self):
                hub.answer(self, b"")

            do_HEAD = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request, body):
        path = unquote(urlsplit(request.path).path)
        self.said.append((request.command, path))
        known = request.headers.get("Authorization") == f"Bearer {self.token}"
        for pattern, work in (
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", lambda *_: (200, {"errors": [], "warnings": []})),
            (r"/api/models/([^/]+/[^/]+)/preupload/main", self._preupload),
            (r"/api/models/([^/]+/[^/]+)/commit/main", self._commit),
            (r"/api/models/([^/]+/[^/]+)/tree/main", self._tree),
            (r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", self._info),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._file),
        ):
            if match := re.fullmatch(pattern, path):
                if request.command == "POST" and not known:
                    return self._send(request, 401, {"error": "Invalid username or password."})
                repository = self.repositories.get(match[1]) if match.groups() else None
                if match.groups() and (repository is None or (repository.private and not known)):
                    headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
                    return self._send(request, 404 if known else 401, {"error": "Repository not found"}, headers)
                return self._send(request, *work(body, *match.groups()))
        return self._send(request, 404, {"error": f"nothing at {path}"})

    def _send(self, request, status, content, headers=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def _create(self, body):
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        private = asked.get("private", False) or asked.get("visibility") == "private"
        if name in self.repositories:
            return 409, {"error": "exists", "url": f"{self.url}/{name}"}
        self.repositories[name] = Repository(private)
        return 200, {"url": f"{self.url}/{name}", "name": name}

    def _preupload(self, body, name):
        files = json.loads(body)["files"]
        return 200, {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]}

    def _commit(self, body, name):
        repository = self.repositories[name]
        files = dict(repository.files)
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        sha = repository.commit(files)
        return 200, {"success": True, "commitOid": sha, "commitUrl": f"{self.url}/{name}/commit/{sha}"}

    def _tree(self, body, name):
        return 200, [
            {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for path, content in self.repositories[name].files.items()
        ]

    def _info(self, body, name, revision=None):
        repository = self.repositories[name]
        sha = repository.at(revision)
        if sha not in repository.commits:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        return 200, {"id": name, "sha": sha, "siblings": [{"rfilename": path} for path in repository.commits[sha]]}

    def _file(self, body, name, revision, path):
        content = self.repositories[name].commits[revision][path]
        if path == self.broken:
            content = content[:-1] + bytes([content[-1] ^ 1])
        etag = hashlib.sha256(content).hexdigest()
        return 200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": revision}
