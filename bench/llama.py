#!/usr/bin/env python3
"""What recording costs beside a real model: CPU time a call of onrecord and of llama.cpp's server with the demo's model.

    bench/llama.py [--calls 400] [--clients 4] [--tokens 64] [--binary target/release/onrecord] [--llama-server FILE]

Streamed chat completions of 1 KB in and so many tokens out, first as they are, then with `decisions = 5`. The server is
what `.ci/llama-server.sh` builds; its model has 1.9 M parameters, so a call costs it some hundredth of what one of a model
that people use does. CPU time is that of the processes, all their threads, in the kernel and outside, without what seals and
indexes the records a minute later. Beside it nginx as a plain proxy, if it is there
(Debian: apt-get install -y nginx-light): each token is an event that comes alone and is passed on alone, and that costs any
proxy more than events that come together.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.path.expanduser("~"), ".cache/onrecord")


def main():
    args = arguments()
    for program in (args.binary, args.llama_server):
        if not os.access(program, os.X_OK):
            sys.exit(f"error: there is no program at {program}")
    print(f"load before: {os.getloadavg()[0]:.2f}; {args.calls} calls of {args.tokens} tokens from {args.clients} clients")
    with Llama(args.llama_server) as llama:
        ask_all(llama.port, args, calls=20)
        base = measure(args, llama)
        print(f"{'':24} {'proxy':>16} {'llama-server':>16} {'share':>8} {'tokens':>7} {'median':>9}")
        show("llama-server alone", base)
        if nginx := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
            with Nginx(nginx, llama.port) as proxy:
                ask_all(proxy.port, args, calls=20)
                show("behind nginx", measure(args, llama, proxy))
        for name, decisions in (("recorded", 0), ("with decisions = 5", 5)):
            with Gateway(args.binary, llama.port, decisions) as gateway:
                ask_all(gateway.port, args, calls=20)
                show(name, measure(args, llama, gateway))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--binary", default=os.path.join(target, "release/onrecord"))
    parser.add_argument("--llama-server", default=os.path.join(CACHE, "llama/llama-server"))
    return parser.parse_args()


def show(name, measured):
    own, model, tokens, median = measured
    share = f"{100 * own / model:.2f} %" if own else "–"
    recorded = f"{own * 1e6:,.0f} µs" if own else "–"
    print(f"{name:24} {recorded:>16} {model * 1e6:>13,.0f} µs {share:>8} {tokens:>7.1f} {median * 1e3:>6.1f} ms")


def measure(args, llama, gateway=None):
    """CPU seconds a call of the gateway and of the model's server, tokens a call, median duration."""
    front = gateway or llama
    before = [cpu(server) for server in (gateway, llama)]
    tokens, durations = ask_all(front.port, args, args.calls)
    own, model = [(cpu(server) - start) / args.calls for server, start in zip((gateway, llama), before)]
    return own, model, tokens / args.calls, statistics.median(durations)


def cpu(server):
    """CPU seconds of a process and those that it has started, so far."""
    if server is None:
        return 0.0
    pid, ticks = server.process.pid, 0
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        pids = [pid, *map(int, children.read().split())]
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def ask_all(port, args, calls):
    """Tokens of all calls, and how long each took."""
    tokens, durations, failed, turn = [], [], [], iter(range(calls))
    lock = threading.Lock()

    def client():
        while True:
            with lock:
                number = next(turn, None)
            if number is None:
                return
            try:
                begun = time.perf_counter()
                came = ask(port, number, args.tokens)
                durations.append(time.perf_counter() - begun)
                tokens.append(came)
            except Exception as problem:
                failed.append(problem)
                return

    clients = [threading.Thread(target=client) for _ in range(args.clients)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    if failed:
        sys.exit(f"error: a call has failed: {failed[0]!r}")
    return sum(tokens), durations


def ask(port, number, most):
    """How many tokens an answer has, by the server's own count."""
    # Another one each time, or the server has it in its cache.
    text = f"{number}: def read_file(path): " + "return the lines of the file in order. " * 24
    body = json.dumps({
        "model": "tiny-pydoc", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": most,
        "temperature": 0.7, "seed": number, "ignore_eos": True, "messages": [{"role": "user", "content": text[:900]}],
    })
    # One connection each: the model's server ends those that are kept when it likes.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.status != 200 or "[DONE]" not in text:
        raise RuntimeError(f"{answer.status}: {text[:300]}")
    return int(re.findall(r'"completion_tokens":(\d+)', text)[-1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server that is healthy once it is entered."""

    def __init__(self, command, port, health):
        self.port = port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit(f"error: {command[0]} has ended with {self.process.returncode}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", health, timeout=1)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"error: {command[0]} does not answer")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Llama(Server):
    def __init__(self, program):
        port = free_port()
        model = os.path.join(ROOT, "crates/demo-model/model/tiny-pydoc.gguf")
        options = "--alias tiny-pydoc --host 127.0.0.1 -c 8192 -np 4 -t 1 --offline --no-ui --metrics --props --slots"
        super().__init__([program, "-m", model, "--port", str(port), *options.split()], port, port)


class Nginx(Server):
    def __init__(self, program, upstream):
        self.folder = tempfile.TemporaryDirectory()
        port, folder = free_port(), self.folder.name
        paths = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w") as file:
            file.write(
                f"{'user root; ' if os.geteuid() == 0 else ''}worker_processes 2; daemon off; pid {folder}/pid; error_log {folder}/log;\n"
                f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/body; {paths}proxy_http_version 1.1;\n"
                f"proxy_buffering off; server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }} }}\n"
            )
        super().__init__([program, "-e", f"{folder}/log", "-c", config], port, port)

    def __exit__(self, *exit):
        super().__exit__(*exit)
        self.folder.cleanup()


class Gateway(Server):
    def __init__(self, program, upstream, decisions):
        self.folder = tempfile.TemporaryDirectory()
        port, api = free_port(), free_port()
        config = os.path.join(self.folder.name, "onrecord.toml")
        with open(config, "w") as file:
            file.write(f'[[upstream]]\nname = "llama"\nurl = "http://127.0.0.1:{upstream}"\ndecisions = {decisions}\n')
        data = os.path.join(self.folder.name, "data")
        listen = ["--listen", f"127.0.0.1:{port}", "--api", f"127.0.0.1:{api}"]
        super().__init__([program, "serve", "--config", config, "--data", data, *listen], port, api)

    def __exit__(self, *exit):
        super().__exit__(*exit)
        self.folder.cleanup()


main()
