"""The two servers of the push bench: ours, and a bare Litestar handler that decodes the same body, under the same uvicorn settings."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, Request, Response, post

from services.compose.clock import SystemClock
from services.compose.people import everybody
from services.compose.server import bind, serve
from services.ingest.keys import create_key
from services.standalone.app import create_app, metrics_registry
from services.standalone.database import open_database
from services.standalone.engine import Engine
from shared.deployment import load_ruleset
from shared.events import Event

decode = msgspec.json.Decoder(Event).decode


@post("/v1/events", status_code=202)
async def bare(request: Request[Any, Any, Any]) -> Response[bytes]:
    found = decode(await request.body())
    return Response(msgspec.json.encode({"id": found.id}), media_type="application/json", status_code=202)


def main() -> None:
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/events"
    if sys.argv[1] == "bare":
        listener.listen()
        print(url, "lyk_none", flush=True)
        config = uvicorn.Config(
            Litestar([bare], openapi_config=None), log_config=None, access_log=False, lifespan="off"
        )
        uvicorn.Server(config).run([listener])
        return
    database, rules = open_database(Path(sys.argv[2]), create=True), load_ruleset()
    clock = SystemClock()
    with database.writing() as connection:
        _, key = create_key(connection, "zhenkang", clock.now())
    engine = Engine(database, rules, clock)
    registry, _ = metrics_registry(database, engine, rules)
    serve(
        create_app(engine, registry, everybody(database, rules)), engine, listener, lambda: print(url, key, flush=True)
    )


if __name__ == "__main__":
    main()
