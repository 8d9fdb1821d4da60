"""A WebSocket server and its client, of the `websockets` package:

python with_websocket.py serve          prints the port it listens on; then, for each connection that ends, how it went
python with_websocket.py talk URL       says things of every kind, and prints what it was answered
python with_websocket.py vanish URL     goes away in the middle of a conversation
"""

import asyncio
import json
import os
import socket
import struct
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


def told(message):
    print(json.dumps(message), flush=True)


async def answer(connection):
    got = []
    await connection.send(f"hello at {connection.request.path}")
    try:
        async for message in connection:
            got.append(message if isinstance(message, str) else len(message))
            if message == "count":
                for number in range(3):
                    await connection.send(str(number))
            elif message != "silence":
                await connection.send(message.upper() if isinstance(message, str) else message[::-1])
        # The client has closed: what it said last is answered in the closing handshake alone.
    except websockets.ConnectionClosedError:
        pass
    told({"got": got, "code": connection.close_code, "reason": connection.close_reason})


async def listen():
    async with serve(answer, "127.0.0.1", 0, subprotocols=["chat.v1"]) as server:
        told({"port": server.sockets[0].getsockname()[1]})
        await asyncio.to_thread(sys.stdin.read)


async def talk(url):
    async with connect(url, subprotocols=["chat.v1"]) as connection:
        seen = {"subprotocol": connection.subprotocol, "path": await connection.recv()}
        seen["record"] = connection.response.headers.get("x-onrecord-id")
        await connection.send("one")
        seen["text"] = await connection.recv()
        picture = bytes(range(256)) * 400
        await connection.send(picture)
        seen["binary"] = await connection.recv() == picture[::-1]
        await connection.send(["in ", "several ", "frames"])
        seen["fragments"] = await connection.recv()
        seen["ping"] = await (await connection.ping(b"are you there?")) >= 0
        # Nobody waits for the other: the server sends on its own.
        await connection.send("silence")
        await connection.send("count")
        seen["count"] = [await connection.recv() for _ in range(3)]
        await connection.close(4001, "enough")
        seen["closed"] = [connection.close_code, connection.close_reason]
        told(seen)


async def vanish(url):
    connection = await connect(url, subprotocols=["chat.v1"])
    await connection.recv()
    await connection.send("one")
    await connection.recv()
    plain = connection.transport.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os._exit(0)


asyncio.run({"serve": listen, "talk": talk, "vanish": vanish}[sys.argv[1]](*sys.argv[2:]))
