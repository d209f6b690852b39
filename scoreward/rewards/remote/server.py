"""Rewards on a port: FastAPI around `Service`, bound to this machine unless told otherwise.

POST /score     pictures and prompts in, numbers out: see wire.py
GET /health     {"status": "ok", "rewards": [...]}, 503 if a reward's thread has died; open
GET /metrics    Prometheus' text format
"""

import ipaddress
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from scoreward.rewards.base import Reward
from scoreward.rewards.remote.service import Service, Serving
from scoreward.rewards.remote.wire import Refusal

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Server

MISSING = (
    "a reward server needs the packages fastapi and uvicorn; install them with: "
    'pip install "scoreward[server]"'
)
CLOSE = {"Connection": "close"}  # where the rest of a request may never be read
HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    408: CLOSE,
    411: CLOSE,
    413: CLOSE,
    503: {"Retry-After": "1"},
}
KEEP_ALIVE = 300  # seconds that an idle connection is kept; a round of training may take as long
SWITCH = 0.0005  # seconds that reading a request may keep a reward's thread from going on


def create_app(rewards: Mapping[str, Reward], how: Serving = Serving()) -> "FastAPI":
    """The FastAPI application; its rewards' threads begin and end with it."""
    try:
        from fastapi import FastAPI, Request
        from fastapi.responses import JSONResponse, PlainTextResponse
        from starlette.exceptions import HTTPException
        from starlette.requests import ClientDisconnect
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(MISSING) from error
    service = Service(rewards, how)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/score")
    async def score(request: Request) -> JSONResponse:
        return JSONResponse(await service.answer(request.headers, request.stream()))

    @app.get("/health")
    async def health() -> JSONResponse:
        well, state = service.health()
        return JSONResponse(state, 200 if well else 503)

    @app.get("/metrics")
    async def metrics(request: Request) -> PlainTextResponse:
        service.authorised(request.headers)
        return PlainTextResponse(service.metrics(), media_type="text/plain; version=0.0.4")

    @app.exception_handler(Refusal)
    async def refused(_: object, error: Refusal) -> JSONResponse:
        headers = HEADERS.get(error.status)
        return JSONResponse({"error": str(error)}, error.status, headers)

    @app.exception_handler(ClientDisconnect)
    async def left(_: object, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the client has gone"}, 400)

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> JSONResponse:
        sentence = f"{request.method} {request.url.path}: {error.detail}; see /health, /score"
        return JSONResponse({"error": sentence}, error.status_code)

    @app.exception_handler(Exception)
    async def broken(_: object, error: Exception) -> JSONResponse:
        sentence = f"the server failed: {type(error).__name__}: {error}"
        return JSONResponse({"error": sentence}, 500)

    return app


def listen(host: str = "127.0.0.1", port: int = 8000) -> socket.socket:
    """A bound socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends answers without delay only on sockets that do.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise OSError(f"cannot listen on {host} port {port}: {error}; choose another") from error
    return bound


def is_loopback(host: str) -> bool:
    """Can only this machine reach it?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def web_server(app: "FastAPI") -> "Server":
    """A uvicorn server for the application; `run(sockets=[...])` starts it."""
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(MISSING) from error
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)


def serve(app: "FastAPI", bound: socket.socket) -> None:
    """Answers on this socket until the process is told to stop."""
    sys.setswitchinterval(SWITCH)
    web_server(app).run(sockets=[bound])
