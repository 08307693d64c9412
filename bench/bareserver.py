"""What the ingest bench compares with: FastAPI and aiokafka, nobody asked for a key and nothing checked.

It runs in the environment of the alternatives. The body is decoded for the key, and answered with 202 when the brokers have acknowledged it.
"""

import contextlib
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

ADDRESS, TOPIC = sys.argv[1:]


@contextlib.asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[None]:
    app.state.producer = AIOKafkaProducer(bootstrap_servers=ADDRESS, acks="all")
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


app = FastAPI(lifespan=started)


@app.post("/v1/events")
async def push(request: Request) -> JSONResponse:
    event = await request.json()
    key = f"{event['source']}/{event['subject']}".encode()
    await app.state.producer.send_and_wait(TOPIC, await request.body(), key=key)
    return JSONResponse({"id": event["id"], "status": "accepted"}, status_code=202)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1/events lyk_none", flush=True)
    uvicorn.Server(uvicorn.Config(app, loop="uvloop", http="httptools", log_config=None, access_log=False)).run(
        [listener]
    )


if __name__ == "__main__":
    main()
