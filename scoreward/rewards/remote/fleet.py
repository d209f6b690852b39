"""Reward servers as a client sees them: connections, rests, and which one to ask next.

A server that fails is rested, longer each time, and then tried with one request before it gets
more. That is the only back-off: while another server is ready, nothing waits.
"""

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from math import isfinite
from urllib.parse import urlsplit

from scoreward.rewards.encodings import Encoding
from scoreward.rewards.remote.wire import FRAMED, LONGEST, Secret, packed

LATER = {408, 429, 502, 503, 504}  # statuses of a server that may well answer later
ANSWER = 64 << 20  # bytes of the longest answer read


class RemoteError(RuntimeError):
    """No server answered; the sentence says what happened with which."""


class Unavailable(Exception):
    """A server did not answer; another one, or the same later, may."""


class Wrong(Exception):
    """A server answered, but not with the rewards."""


@dataclass(frozen=True)
class Asking:
    """How servers are asked; seconds."""

    encoding: Encoding = "uint8"  # 8 bits; webp: the same, fewer bytes; float32: exactly
    deadline: float = 300.0  # for a whole batch; then an error
    timeout: float = 60.0  # for one try; raise it for rewards that take longer to load or score
    connect: float = 5.0  # for a connection
    tries: int = 3  # of samples that a server answers with a failure
    rest: float = 0.2  # after the first failure of a server, doubled by each that follows
    longest_rest: float = 10.0
    piece: int = 16  # samples in a request, at most
    token: Secret | None = None

    def __post_init__(self) -> None:
        waits = (self.deadline, self.timeout, self.connect, self.rest, self.longest_rest)
        if not all(0 < wait <= LONGEST for wait in waits):
            raise ValueError(f"times of `Asking` must be in (0, {LONGEST:g}] seconds, got {waits}")
        if self.tries < 1 or self.piece < 1:
            raise ValueError(
                f"`tries` and `piece` must be at least 1, got {self.tries}, {self.piece}"
            )


class Server:
    """One server: idle connections, and its recent failures.  `Fleet` guards the latter."""

    def __init__(self, url: str, how: Asking) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(f"a reward server is written like http://127.0.0.1:8000, got {url!r}")
        self.url, self.how, self._parts = url.rstrip("/"), how, parts
        self._idle: list[HTTPConnection] = []
        self.busy, self.failures, self.ready, self.failed_at = 0, 0, 0.0, 0.0
        self.trouble = ""

    def post(self, body: bytes, seconds: float) -> tuple[int, bytes]:
        """Status and answer to `/score`.  Raises Unavailable."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._post(self._connected(), body, seconds)
        try:
            return self._post(connection, body, seconds)
        except Unavailable as error:  # closed by the server while it was idle: the only way to know
            if isinstance(error.__cause__, TimeoutError):
                raise
            return self._post(self._connected(), body, seconds)

    def check(self) -> list[str]:
        """Whether a server is well, before it gets samples; the rewards that it says it has."""
        connection = self._connected()
        try:
            connection.request("GET", self._path("health"))
            response = connection.getresponse()
            status, answer = response.status, response.read(ANSWER)
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable(f"broke off ({_cause(error)})") from error
        finally:
            connection.close()
        if status != 200:
            raise Unavailable(f"answered {status} when asked for its health")
        try:
            return list(json.loads(answer)["rewards"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return []

    def _path(self, word: str) -> str:
        return f"{self._parts.path.rstrip('/')}/{word}"

    def _connected(self) -> HTTPConnection:
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self.how.connect)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise Unavailable(f"could not be connected to ({_cause(error)})") from error
        return connection

    def _post(self, connection: HTTPConnection, body: bytes, seconds: float) -> tuple[int, bytes]:
        """One exchange; the connection is kept if it went well, else closed."""
        end, headers = time.monotonic() + seconds, {"Content-Type": FRAMED}
        if self.how.token is not None:
            headers["Authorization"] = f"Bearer {self.how.token.word()}"
        try:
            connection.sock.settimeout(seconds)
            connection.request("POST", self._path("score"), body, headers)
            connection.sock.settimeout(max(0.001, end - time.monotonic()))
            response = connection.getresponse()
            answer = response.read(ANSWER)
            if response.length:
                raise HTTPException("its answer is cut off")
        except TimeoutError as error:
            connection.close()
            raise Unavailable(f"did not answer within {seconds:.3g} s") from error
        except (OSError, HTTPException, ValueError) as error:
            connection.close()
            raise Unavailable(f"broke off ({_cause(error)})") from error
        except BaseException:
            connection.close()
            raise
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            self._idle.append(connection)
        return response.status, answer

    def close(self) -> None:
        """Closes idle connections."""
        while self._idle:
            self._idle.pop().close()


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__


@dataclass(frozen=True)
class Piece:
    """Some samples of a batch, ready to be sent."""

    rewards: tuple[str, ...]
    prompts: Sequence[str]
    pictures: Sequence[bytes]
    frames: int | None

    def body(self, seconds: float) -> bytes:
        head = {"rewards": self.rewards, "prompts": list(self.prompts), "frames": self.frames}
        rows = [getattr(prompt, "fields", {}) for prompt in self.prompts]
        head |= {"metadata": rows} if any(rows) else {}
        return packed({**head, "seconds": seconds}, self.pictures)

    def understood(self, status: int, answer: bytes) -> dict[str, list[float]]:
        """The numbers.  Raises Unavailable, Wrong, or RemoteError for what no retry will mend."""
        try:
            reply = json.loads(answer)
        except (ValueError, RecursionError):
            reply = {}
        reply = reply if isinstance(reply, dict) else {}
        if status != 200:
            sentence = f"answered {status}: {reply.get('error') or 'no reason given'}"
            # another server, or the same later, may answer; a retry mends nothing the client did
            raise (Unavailable if status in LATER else Wrong if status >= 500 else RemoteError)(
                sentence
            )
        numbers = reply.get("rewards")
        if not isinstance(numbers, dict):
            raise Wrong("answered without rewards; is it a reward server?")
        return {name: self._numbers(name, numbers.get(name)) for name in self.rewards}

    def _numbers(self, name: str, values: object) -> list[float]:
        count = len(self.prompts)
        if not isinstance(values, list) or len(values) != count:
            got = f"{len(values)} numbers" if isinstance(values, list) else "no list"
            raise Wrong(f"answered {got} for {count} samples of reward {name!r}")
        if not all(type(v) in (int, float) and isfinite(v) for v in values):
            raise Wrong(f"answered something that is not a finite number for reward {name!r}")
        return [float(v) for v in values]


class Fleet:
    """Several servers; each piece goes to the ready one with the fewest samples in work."""

    def __init__(self, urls: Sequence[str], how: Asking) -> None:
        if not urls:
            raise ValueError("a remote reward needs at least one server")
        self.how, self.servers = how, [Server(url, how) for url in dict.fromkeys(urls)]
        self._change = threading.Condition()
        self._dice = random.Random()  # its own: jitter must not move the seeds of training

    def ask(self, piece: Piece, until: float, stop: threading.Event) -> Mapping[str, list[float]]:
        """The numbers of a piece.  Raises RemoteError, at the latest at `until`."""
        wrong = 0
        while (server := self._next(len(piece.prompts), until, stop)) is not None:
            begun = time.monotonic()
            seconds = max(0.001, min(self.how.timeout, until - begun))
            try:
                if server.failures:
                    server.check()
                answer = piece.understood(*server.post(piece.body(seconds), seconds))
            except (Unavailable, Wrong) as error:
                self._failed(server, piece, begun, str(error))
                wrong += isinstance(error, Wrong)
                if wrong >= self.how.tries:
                    raise RemoteError(f"{server.url} {error} (try {wrong})") from error
            except BaseException as error:
                self._failed(server, piece, 0.0, "")
                if isinstance(error, RemoteError):
                    raise RemoteError(f"{server.url} {error}") from error
                raise
            else:
                with self._change:
                    server.busy -= len(piece.prompts)
                    server.failures, server.ready, server.trouble = 0, 0.0, ""
                    self._change.notify_all()
                return answer
        troubles = [
            f"{s.url} {s.trouble}" + (f", {s.failures} times in a row" if s.failures > 1 else "")
            for s in self.servers
            if s.trouble
        ]
        story = "; ".join(troubles) or "the time passed before any server failed"
        raise RemoteError(f"no answer within {self.how.deadline:g} s: {story}")

    def meet(self, name: str) -> None:
        """Every server is there and has the reward.  Raises RemoteError."""
        for server in self.servers:
            try:
                names = server.check()
            except Unavailable as error:
                raise RemoteError(
                    f"the reward server {server.url} {error}; start it: scoreward serve-reward "
                    f"{name}, or give the address of one that runs"
                ) from error
            if name not in names:
                served = ", ".join(map(str, names)) or "none: is it a reward server?"
                raise RemoteError(
                    f"the reward server {server.url} has no reward {name!r}; it has {served}"
                )

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def _next(self, samples: int, until: float, stop: threading.Event) -> Server | None:
        """Waits for a server that is ready and takes it; None at the deadline, or when stopped."""
        with self._change:
            while (left := until - time.monotonic()) > 0 and not stop.is_set():
                now = time.monotonic()
                ready = [s for s in self.servers if s.ready <= now and not (s.failures and s.busy)]
                if ready:
                    server = min(ready, key=lambda s: (s.busy, s.failures))
                    server.busy += samples
                    return server
                resting = [s.ready - now for s in self.servers if s.ready > now]
                self._change.wait(max(0.001, min([left, 0.5, *resting])))
        return None

    def _failed(self, server: Server, piece: Piece, begun: float, trouble: str) -> None:
        """Rests the server; requests that were under way together count as one failure."""
        with self._change:
            server.busy -= len(piece.prompts)
            if begun:
                server.trouble = trouble
            if begun > server.failed_at:
                server.failures += 1
                server.failed_at = time.monotonic()
                rest = self.how.rest * 2 ** min(server.failures - 1, 30)
                share = 0.5 + self._dice.random() / 2
                server.ready = server.failed_at + share * min(rest, self.how.longest_rest)
            self._change.notify_all()
