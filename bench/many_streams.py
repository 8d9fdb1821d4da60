#!/usr/bin/env python3
"""Many streams at once: memory and CPU of onrecord while each of them gets a token every two seconds.

    bench/many_streams.py [--streams 9500] [--binary target/release/onrecord]

Starts a stand-in for a model server, onrecord in front of it, and the clients, each in a process of its own. Every
stream takes two file descriptors of onrecord, so `ulimit -n` bounds how many there can be.
"""

import argparse
import asyncio
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

TOKENS = 8
PAUSE = 2.0
MODEL, GATEWAY, API = 19777, 19778, 19779
EVENT = b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


async def answer(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for number in range(TOKENS):
                writer.write(chunk(EVENT % (b'{"content":"word %d "}' % number, b"null")))
                await writer.drain()
                await asyncio.sleep(PAUSE)
            writer.write(chunk(EVENT % (b"{}", b'"stop"') + b"data: [DONE]\n\n") + b"0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve():
    server = await asyncio.start_server(answer, "127.0.0.1", MODEL, backlog=20000)
    await server.serve_forever()


async def ask(number):
    """True if the whole answer came."""
    await asyncio.sleep(number / 3000)
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"%s"}]}' % (b"x" * 500)
    reader, writer = await asyncio.open_connection("127.0.0.1", GATEWAY)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n" % len(body) + body
    )
    got = await reader.read(-1)
    writer.close()
    return b"[DONE]" in got and got.count(b"word") == TOKENS


async def clients(streams):
    whole = await asyncio.gather(*(ask(number) for number in range(streams)), return_exceptions=True)
    print(sum(one is True for one in whole))


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024


def cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=9500)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser.add_argument("--binary", default=f"{target}/release/onrecord")
    parser.add_argument("--role", choices=["model", "clients"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if args.role == "model":
        return asyncio.run(serve())
    if args.role == "clients":
        return asyncio.run(clients(args.streams))
    if hard < 2 * args.streams + 500:
        sys.exit(f"{args.streams} streams take {2 * args.streams} file descriptors; `ulimit -Hn` is {hard}")
    own = [sys.executable, __file__, "--streams", str(args.streams), "--role"]
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/onrecord.toml", "w") as config:
            config.write(
                f'data = "{folder}/data"\n[gateway]\nupstream = "http://127.0.0.1:{MODEL}"\n'
                f'listen = "127.0.0.1:{GATEWAY}"\nmax_in_flight = 65536\n[api]\nlisten = "127.0.0.1:{API}"\n'
                "[ingest]\notlp = false\n[probe]\nenabled = false\n"
            )
        command = [args.binary, "--config", f"{folder}/onrecord.toml"]
        model = subprocess.Popen(own + ["model"])
        server = subprocess.Popen(command + ["serve"], stdout=subprocess.DEVNULL)
        try:
            time.sleep(3)
            idle, begun, peak = resident(server.pid), cpu(server.pid), 0
            asking = subprocess.Popen(own + ["clients"], stdout=subprocess.PIPE, text=True)
            while asking.poll() is None:
                peak = max(peak, resident(server.pid))
                time.sleep(0.1)
            whole = int(asking.stdout.read())
            used = cpu(server.pid) - begun
            print(f"{whole} of {args.streams} streams came whole, {TOKENS} tokens each")
            print(f"memory: {idle >> 20} MiB before, {peak >> 20} MiB at most, {(peak - idle) // args.streams >> 10} KiB a stream")
            print(f"CPU: {used:.1f} s, {used / args.streams * 1e6:.0f} µs a stream")
            subprocess.run(command + ["verify"], check=True)
            sys.exit(0 if whole == args.streams else 1)
        finally:
            server.terminate()
            model.terminate()
            server.wait()


if __name__ == "__main__":
    main()
