#!/usr/bin/env python3
"""The real program under faults of the kernel: system calls fail or kill it, one after the other, under load.

bench/torture.py [--short] [--seconds S] [--only CALL] [--binary PATH]

For each system call that the log and the lake write with, each fault and several of its occurrences: serve under
`strace -e inject`, call it from 8 clients, kill it, start again, stop, `onrecord fsck`. Every answer that a client got in full
must be on record, once. Prints each case and how many faults were injected; exit code 1 if anything was lost, twice or damaged.
--short is what CI runs: a few cases, under a minute on an idle machine. Needs strace; the model server is its own.
"""
import argparse, collections, http.client, http.server, json, os, pathlib, re, shutil, signal, subprocess, sys, tempfile
import threading, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.expanduser("~/.cache/onrecord/target"))
CALLS = ["pwrite64", "fdatasync", "fsync", "fallocate", "ftruncate", "rename", "unlink"]
# `write` also goes to sockets and to the event loop, where an error is none of the disk: it is only a place to be killed at.
KILL_ONLY = ["write"]
FAULTS = ["error=EIO", "error=ENOSPC", "signal=KILL"]
ANSWER = json.dumps({
    "id": "c-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}).encode()
CONFIG = """data = "data"
[log]
segment_size = "1 MiB"
checkpoint_interval = "100ms"
[lake]
seal_after = "1s"
[probe]
enabled = false
"""


class Model(http.server.BaseHTTPRequestHandler):
    """A model server that answers at once."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        pass


class Server:
    """`onrecord serve`, alone or under strace."""

    def __init__(self, binary, folder, upstream, inject=None):
        self.trace = folder / "trace"
        serve = [binary, "serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream", upstream]
        under = []
        if inject:
            call = inject.split(":")[0]
            # A signal is not delivered where strace looks at the chosen calls alone.
            quick = [] if "signal=" in inject else ["--seccomp-bpf"]
            under = ["strace", "-f", *quick, "-q", "-o", self.trace, "-e", f"trace={call}", "-e", f"inject={inject}"]
        self.messages = open(folder / "messages", "w+")
        self.process = subprocess.Popen(
            under + serve, cwd=folder, stdout=subprocess.DEVNULL, stderr=self.messages, start_new_session=True)
        self.gateway = None

    def wait(self, patience=60):
        """True if it listens; False if the fault came first and ended it."""
        until = time.monotonic() + patience
        while time.monotonic() < until and self.process.poll() is None:
            text = self.text()
            if "Stop with Ctrl-C" in text:
                self.gateway = re.search(r"gateway +\S*?(127\.0\.0\.1:\d+)", text).group(1)
                return True
            time.sleep(0.02)
        return False

    def text(self):
        return pathlib.Path(self.messages.name).read_text(errors="replace")

    def end(self, how):
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        # strace ends before what it traces does.
        while self.is_there():
            time.sleep(0.02)
        self.messages.close()

    def is_there(self):
        try:
            os.killpg(self.process.pid, 0)
            return True
        except ProcessLookupError:
            return False

    def injected(self):
        if not self.trace.exists():
            return 0
        text = self.trace.read_text(errors="replace")
        # A process that is killed ends with all its threads, each with a line.
        return text.count("(INJECTED)") + ("killed by SIGKILL" in text)


def load(gateway, seconds, whole):
    """Calls from 8 clients; the ids of answers that came in full go to `whole`."""
    until, lock = time.monotonic() + seconds, threading.Lock()

    def client():
        connection = http.client.HTTPConnection(gateway, timeout=10)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Is it there? " + "x" * 900}]})
        while time.monotonic() < until:
            try:
                connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == 200 and text == ANSWER:
                    with lock:
                        whole.append(answer.headers["x-onrecord-id"])
                elif answer.status == 503:
                    time.sleep(0.05)
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.05)
                if not alive():
                    return

    def alive():
        try:
            http.client.HTTPConnection(gateway, timeout=1).connect()
            return True
        except OSError:
            return False

    clients = [threading.Thread(target=client) for _ in range(8)]
    [thread.start() for thread in clients]
    [thread.join() for thread in clients]


def run(binary, folder, *arguments):
    return subprocess.run([binary, *arguments], cwd=folder, capture_output=True, text=True)


def lost(binary, folder, whole):
    """What is wrong after the restart, in words; empty if nothing is."""
    checked = run(binary, folder, "fsck", "--json")
    if checked.returncode != 0:
        return f"fsck: {checked.stdout}{checked.stderr}"
    sql = "SELECT id, count(*) AS n, min(outcome) AS outcome FROM interactions GROUP BY id"
    asked = run(binary, folder, "query", sql, "--format", "jsonl")
    if asked.returncode != 0:
        return f"query: {asked.stderr}"
    rows = {row["id"]: row for row in map(json.loads, asked.stdout.splitlines())}
    twice = [id for id, row in rows.items() if row["n"] != 1]
    gone = [id for id in whole if rows.get(id, {}).get("outcome") != "completed"]
    return f"{len(gone)} lost, {len(twice)} twice: {gone[:3]} {twice[:3]}" if gone or twice else ""


def case(binary, upstream, inject, seconds, totals):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="torture-", dir="/var/tmp"))
    (folder / "onrecord.toml").write_text(CONFIG)
    whole, problem = [], ""
    # Something is there before the fault, so that it also meets a start.
    server = Server(binary, folder, upstream)
    if server.wait():
        load(server.gateway, 0.2, whole)
    server.end(signal.SIGKILL)
    server = Server(binary, folder, upstream, inject)
    if server.wait():
        load(server.gateway, seconds, whole)
    server.end(signal.SIGKILL)
    injected = server.injected()
    # The start that recovers, in order to its end.
    server = Server(binary, folder, upstream)
    problem = "" if server.wait() else f"no start: {server.text()}"
    server.end(signal.SIGTERM)
    problem = problem or ("panicked" in server.text() and server.text()) or lost(binary, folder, whole)
    totals["faults"] += injected
    totals["answers"] += len(whole)
    totals["cases"] += 1
    print(f"{inject:34} {injected:6} faults {len(whole):6} answers  {'FAILED ' + problem if problem else 'good'}", flush=True)
    if problem:
        totals["failed"] += 1
        print(f"  kept: {folder}")
    else:
        shutil.rmtree(folder)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--short", action="store_true")
    arguments.add_argument("--seconds", type=float, default=1.5)
    arguments.add_argument("--only")
    arguments.add_argument("--binary", default=f"{TARGET}/debug/onrecord")
    asked = arguments.parse_args()
    model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    # The server that is killed leaves its connections behind.
    model.handle_error = lambda *_: None
    threading.Thread(target=model.serve_forever, daemon=True).start()
    upstream = f"http://127.0.0.1:{model.server_address[1]}"
    pairs = [(call, fault) for call in CALLS for fault in FAULTS] + [(call, FAULTS[2]) for call in KILL_ONLY]
    # For each thread its own count: the first is the start's, later ones are under load, `+` is from there on for a while.
    moments = ["1", "2", "5", "20", "100", "30+"]
    cases = [f"{call}:{fault}:when={moment}" for call, fault in pairs for moment in moments]
    if asked.short:
        cases = ["pwrite64:error=EIO:when=20", "fdatasync:error=EIO:when=20", "fdatasync:signal=KILL:when=15",
                 "fallocate:error=ENOSPC:when=1", "rename:signal=KILL:when=1", "pwrite64:error=ENOSPC:when=5..40"]
    totals = collections.Counter()
    for inject in cases:
        if not asked.only or inject.startswith(asked.only + ":"):
            case(asked.binary, upstream, inject, 0.7 if asked.short else asked.seconds, totals)
    print(f"{totals['cases']} cases, {totals['faults']} faults injected, {totals['answers']} answers that had to be on record, "
          f"{totals['failed']} cases failed")
    sys.exit(1 if totals["failed"] or not totals["faults"] else 0)


main()
