"""Reward servers for tests: real ones in a thread, and one that answers what it is told to."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor

from scoreward.rewards.base import Reward
from scoreward.rewards.batching import Batching
from scoreward.rewards.remote.server import create_app, listen, web_server
from scoreward.rewards.remote.service import Serving
from scoreward.rewards.remote.wire import FRAMED, packed

PATIENCE = 30  # seconds; only a server that hangs takes as long
QUICK = Serving(Batching(wait=0.002))


def brightness(media: Tensor, prompts: Sequence[str]) -> Tensor:
    return media.flatten(1).mean(1)


def number(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """Of the prompt, which is one, so that a mixed-up answer shows."""
    return media.new_tensor([float(p) for p in prompts])


@contextmanager
def running(rewards: Mapping[str, Reward], how: Serving = QUICK, port: int = 0) -> Iterator[str]:
    """The address of a server that runs in a thread and is stopped at the end."""
    bound = listen(port=port)
    server = web_server(create_app(rewards, how))
    thread = threading.Thread(target=lambda: server.run(sockets=[bound]), daemon=True)
    thread.start()
    try:
        end = time.monotonic() + PATIENCE
        while not server.started and thread.is_alive() and time.monotonic() < end:
            time.sleep(0.005)
        assert server.started
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        bound.close()
        assert not thread.is_alive()


def talk(
    url: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and answer of one request."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def score(
    url: str, pictures: Sequence[bytes], prompts: Sequence[str], **head: Any
) -> tuple[int, Any]:
    """Status and JSON of a framed request for the reward "brightness", unless `head` says more."""
    fields = {"rewards": ["brightness"], "prompts": list(prompts), "frames": None, **head}
    headers = {"Content-Type": FRAMED}
    status, answer = talk(url, "POST", "/score", packed(fields, pictures), headers)
    return status, json.loads(answer)


def metric(url: str, name: str) -> float:
    """One number of `/metrics`."""
    lines = talk(url, "GET", "/metrics")[1].decode().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


@dataclass
class Script:
    """What to answer, one after the other; the last goes on.  None breaks the connection off.

    `hold` closes a connection after its answer without saying so, `sleep` waits before it.
    """

    answers: Sequence[tuple[int, Any] | None]
    hold: bool = False
    sleep: float = 0.0
    seen: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, head: dict[str, Any]) -> tuple[int, Any] | None:
        with self.lock:
            self.seen.append(head)
            return self.answers[min(len(self.seen), len(self.answers)) - 1]


@contextmanager
def scripted(script: Script) -> Iterator[str]:
    """A server that follows a script."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            length = int.from_bytes(body[:4], "big")
            answer = script.next(json.loads(body[4 : 4 + length]))
            time.sleep(script.sleep)
            self.close_connection = answer is None or script.hold
            if answer is not None:
                self.say(*answer)

        def do_GET(self) -> None:
            self.say(200, {"status": "ok"})

        def say(self, status: int, answer: Any) -> None:
            text = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            with suppress(ConnectionError):  # the client may have gone
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)
