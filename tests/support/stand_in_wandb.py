"""A wandb server on the loopback interface that keeps what it is sent; and servers that misbehave.

It answers the few GraphQL operations, file streams and uploads that `wandb sync` makes for a run
with history, tables, images and an artifact, and those of a report that is saved.
"""

import contextlib
import gzip
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0" * 40
"""wandb takes any 40 characters for an API key until a server refuses it."""


class StandIn(ThreadingHTTPServer):
    """The server.

    Attributes:
        url: for WANDB_BASE_URL.
        runs: the variables of `upsertBucket`, by the run's name.
        history: the rows that were streamed, by the run's name.
        summary: the last streamed summary, by the run's name.
        artifacts: the variables of each `createArtifact`.
        reports: the variables of each `upsertView`.
        uploads: the bytes that were put, by name.
        operations: the GraphQL operations, in their order.
    """

    daemon_threads = True

    def __init__(
        self, *, status: int = 200, silent: bool = False, dies_at: str = "", refuses: str = ""
    ):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status, self.silent, self.dies_at, self.refuses = status, silent, dies_at, refuses
        self.released = threading.Event()
        self.runs: dict[str, dict] = {}
        self.history: dict[str, list[dict]] = {}
        self.summary: dict[str, dict] = {}
        self.artifacts: list[dict] = []
        self.reports: list[dict] = []
        self.uploads: dict[str, bytes] = {}
        self.operations: list[str] = []

    def handle_error(self, request, client_address) -> None:
        """A client that was killed is no news."""

    def answer(self, asked: dict) -> dict:
        """To a GraphQL operation; what is not known here is answered with nothing."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
        operation = found.group(1) if found else ""
        self.operations.append(operation)
        if self.dies_at == operation:
            self.silent = True
        if self.status != 200 or self.refuses == operation:
            return {"errors": [{"message": "not for you"}]}
        return {
            "data": _ANSWERS.get(operation, lambda server, given: {})(
                self, asked.get("variables") or {}
            )
        }

    def keep(self, run: str, sent: dict) -> None:
        """Notes the lines of a file stream."""
        files = sent.get("files") or {}
        for line in files.get("wandb-history.jsonl", {}).get("content", []):
            self.history.setdefault(run, []).append(json.loads(line))
        for line in files.get("wandb-summary.json", {}).get("content", []):
            self.summary[run] = json.loads(line)


def _upsert_bucket(server: StandIn, given: dict) -> dict:
    server.runs.setdefault(given["name"], {}).update(
        {key: value for key, value in given.items() if value is not None}
    )
    project = {
        "id": "p",
        "name": given["project"],
        "entity": {"id": "e", "name": given.get("entity") or "somebody"},
    }
    bucket = {
        "id": "UnVuOg==",
        "name": given["name"],
        "displayName": given.get("displayName"),
        "description": None,
    }
    bucket |= {
        "config": given.get("config"),
        "sweepName": None,
        "historyLineCount": 0,
        "project": project,
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": True}}


def _create_run_files(server: StandIn, given: dict) -> dict:
    files = [{"name": name, "uploadUrl": f"{server.url}/up/{name}"} for name in given["files"]]
    return {"createRunFiles": {"runID": "UnVuOg==", "uploadHeaders": [], "files": files}}


def _create_artifact(server: StandIn, given: dict) -> dict:
    server.artifacts.append(given["input"])
    sequence = {"id": "s", "latestArtifact": None}
    artifact = {"id": f"a{len(server.artifacts)}", "state": "PENDING", "artifactSequence": sequence}
    return {"createArtifact": {"artifact": artifact}}


def _create_manifest(server: StandIn, given: dict) -> dict:
    file = {"id": "f", "uploadUrl": f"{server.url}/up/manifest", "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}


def _update_manifest(server: StandIn, given: dict) -> dict:
    made = _create_manifest(server, given)["createArtifactManifest"]
    return {"updateArtifactManifest": made}


def _create_artifact_files(server: StandIn, given: dict) -> dict:
    files = [
        {
            "uploadUrl": f"{server.url}/up/artifact/{spec['name']}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "storagePath": f"artifact/{spec['name']}",
            "artifact": {"id": spec["artifactID"]},
        }
        for spec in given["input"]["artifactFiles"]
    ]
    return {"createArtifactFiles": {"files": {"edges": [{"node": file} for file in files]}}}


def _create_project(server: StandIn, given: dict) -> dict:
    project = {
        "id": "p",
        "name": given["input"]["name"],
        "entityName": given["input"]["entityName"],
    }
    return {"result": {"project": project, "model": project, "inserted": True}}


def _upsert_view(server: StandIn, given: dict) -> dict:
    server.reports.append(given)
    project = {"id": "p", "name": given["projectName"], "entityName": given["entityName"]}
    same = {key: given[key] for key in ("type", "name", "displayName", "description", "spec")}
    view = same | {
        "id": f"view{len(server.reports)}",
        "project": project,
        "updatedAt": "2026-11-21T10:00:00",
    }
    return {"upsertView": {"view": view, "inserted": True}}


_ANSWERS = {
    "Viewer": lambda server, given: {
        "viewer": {"id": "v", "entity": "somebody", "username": "somebody", "flags": "{}"}
    },
    "UpsertBucket": _upsert_bucket,
    "CreateRunFiles": _create_run_files,
    "ArtifactType": lambda server, given: {"project": {"artifact": None}},
    "CreateArtifact": _create_artifact,
    "CreateArtifactManifest": _create_manifest,
    "UpdateArtifactManifest": _update_manifest,
    "CreateArtifactFiles": _create_artifact_files,
    "ServerFeaturesQuery": lambda server, given: {"serverInfo": {"features": []}},
    "ProjectInternalId": lambda server, given: {"project": {"id": "p", "internalId": "7"}},
    "GetProjects": lambda server, given: {
        "models": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}
    },
    "CreateProject": _create_project,
    "upsertView": _upsert_view,
    "CommitArtifact": lambda server, given: {
        "commitArtifact": {"artifact": {"id": "a", "digest": "d"}}
    },
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):  # noqa: A002 - the library's name
        """Nothing on the test's standard error."""

    def do_HEAD(self):
        self._respond({})

    def do_PUT(self):
        name = self.path.removeprefix("/up/")
        body = self._body()
        if not self.server.silent:
            self.server.uploads[name] = body
        self._respond({}, status=403 if self.server.refuses == "PUT" else None)

    def do_POST(self):
        body = self._body()
        answer = {}
        if self.path.endswith("/graphql") and not self.server.silent:
            answer = self.server.answer(json.loads(body))
        elif self.path.endswith("/file_stream") and not self.server.silent:
            self.server.keep(self.path.split("/")[-2], json.loads(body or b"{}"))
        self._respond(answer)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _chunk(self) -> bytes:
        body = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return body

    def _respond(self, answer: dict, *, status: int | None = None) -> None:
        if self.server.silent:
            self.server.released.wait()
            self.close_connection = True
            return
        text = json.dumps(answer).encode()
        self.send_response(status or self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


@contextlib.contextmanager
def serving(**behaviour) -> Iterator[StandIn]:
    """Run a server; `behaviour` makes it fail: `status=401`, `silent=True`, `dies_at="Viewer"`."""
    server = StandIn(**behaviour)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
