"""Asks a running server for what dashboards and people ask, warm and cold, beside DuckDB, chDB and SQLite on the same records.

Called by run.sh. Prints a table: each figure, its aim, and how it stands to it.
"""
import argparse, glob, http.client, json, os, re, sqlite3, statistics, subprocess, sys, time, urllib.parse

NOW = None  # microseconds: the time of the last record


def say(text):
    print(text, file=sys.stderr, flush=True)


def median(times):
    return statistics.median(times) * 1000


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, value, unit, aim=None, least=False, note=""):
        ratio = None if aim is None else value / aim
        kept = None if ratio is None else (ratio >= 1 if least else ratio <= 1)
        self.rows.append(dict(what=what, value=value, unit=unit, aim=aim, least=least, ratio=ratio, met=kept, note=note))
        say(f"  {what}: {value:.4g} {unit}" + (f" (aim {aim:g})" if aim is not None else ""))

    def show(self):
        head = ("figure", "measured", "aim", "of the aim", "")
        lines = [head]
        for r in self.rows:
            aim = "" if r["aim"] is None else ("≥ " if r["least"] else "≤ ") + f"{r['aim']:g} {r['unit']}"
            ratio = "" if r["ratio"] is None else f"{r['ratio']:.2f}"
            met = "" if r["met"] is None else ("met" if r["met"] else "MISSED")
            lines.append((r["what"], f"{r['value']:.4g} {r['unit']}", aim, ratio, " ".join(filter(None, (met, r["note"])))))
        wide = [max(len(line[at]) for line in lines) for at in range(5)]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, wide)).rstrip())


class Api:
    def __init__(self, address):
        self.address = address
        self.connection = http.client.HTTPConnection(address, timeout=300)

    def ask(self, path, body=None, **query):
        if query:
            path += "?" + urllib.parse.urlencode(query)
        headers = {"content-type": "application/json"} if body is not None else {}
        self.connection.request("POST" if body is not None else "GET", path, body and json.dumps(body), headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status not in (200, 201):
            raise SystemExit(f"{path}: {answer.status} {data[:500].decode(errors='replace')}")
        return data

    def timed(self, *args, **kw):
        begin = time.perf_counter()
        data = self.ask(*args, **kw)
        return time.perf_counter() - begin, data


def dashboard(unit, since):
    return (
        f"SELECT date_trunc('{unit}', time) AS at, model, count(*) AS calls, "
        "count(*) FILTER (WHERE error_type IS NOT NULL OR status >= 400) AS errors, "
        "approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50, "
        "approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95, "
        "approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99, "
        "sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens "
        f"FROM interactions WHERE time >= to_timestamp_micros({since}) GROUP BY 1, 2 ORDER BY 1, 2"
    )


def questions(samples):
    """Name, aim in ms, and a call that asks for it: each time something else, so that no answer is at hand."""
    calls = samples["calls"]
    some = iter(lambda: next(turn), None)
    turn = (calls[(at * 7919 + 13) % len(calls)] for at in range(10**9))
    hour, month = NOW - 3_600_000_000, NOW - 30 * 86_400_000_000
    query = lambda sql: lambda api: api.timed("/api/v1/query", body={"sql": sql})
    models = ["qwen3-1b", "llama-3.2-1b", "phi-4-mini-3b", "gemma-3-8b", "mistral-3b", "olmo-2-4b", "granite-7b"]
    model = (models[at % len(models)] for at in range(10**9))
    rare, common = samples["rare_phrase"], samples["common_word"]
    return [
        ("look-up by id", 10, lambda api: api.timed("/api/v1/calls/" + next(some)["id"])),
        ("look-up by request id", 10, lambda api: api.timed("/api/v1/calls", request_id=next(some)["request_id"])),
        ("session with its calls", 30, lambda api: api.timed("/api/v1/sessions/" + next(some)["session"])),
        ("search, rare phrase, 50 hits", 50, lambda api: api.timed("/api/v1/search", q=f'"{rare}"', limit=50)),
        ("search, common word, 50 hits", 200, lambda api: api.timed("/api/v1/search", q=common, limit=50)),
        ("last hour, by minute and model", 100, query(dashboard("minute", hour))),
        ("30 days, by hour and model", 2000, query(dashboard("hour", month))),
        ("newest 100", 20, lambda api: api.timed("/api/v1/calls", limit=100)),
        ("newest 100 of a model", 20, lambda api: api.timed("/api/v1/calls", limit=100, model=next(model))),
        ("newest 100 that failed", 20, lambda api: api.timed("/api/v1/calls", limit=100, outcome="upstream_error")),
        ("newest 100 with a tag", 20, lambda api: api.timed("/api/v1/calls", limit=100, tag="team=legal")),
    ]


def check(api, samples):
    """The answers are those that were asked for."""
    one = samples["calls"][len(samples["calls"]) // 2]
    shown = json.loads(api.ask("/api/v1/calls/" + one["id"]))
    assert shown["leaf_index"] == one["leaf_index"], shown["leaf_index"]
    listed = json.loads(api.ask("/api/v1/calls", request_id=one["request_id"]))
    assert [call["id"] for call in listed] == [one["id"]], listed
    session = json.loads(api.ask("/api/v1/sessions/" + one["session"]))
    assert len(session["turns"]) == samples["turns"] and one["id"] in [turn["id"] for turn in session["turns"]]
    for q in [f'"{samples["rare_phrase"]}"', samples["common_word"]]:
        found = json.loads(api.ask("/api/v1/search", q=q, limit=50))
        marked = ["".join(p["text"] for p in hit["snippet"] if p.get("found")) for hit in found["hits"]]
        assert found["hits"] and all(marked), q
        say(f"  {q}: {found['total']} hits")


def forget(data):
    """Drops what the page cache has of the data folder. The server's own memory stays."""
    os.sync()
    for folder, _, files in os.walk(data):
        for name in files:
            try:
                fd = os.open(os.path.join(folder, name), os.O_RDONLY)
            except OSError:
                continue
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def repeat(ask, most, seconds, before=lambda: None):
    """Times of so many questions, fewer if they take long."""
    times, begin = [], time.monotonic()
    while len(times) < 3 or (len(times) < most and time.monotonic() - begin < seconds):
        before()
        times.append(ask())
    return times


def measure_api(api, samples, data, table):
    ours = {}
    for name, aim, ask in questions(samples):
        ask(api)
        warm = median(repeat(lambda: ask(api)[0], 60, 8))
        ours[name] = warm
        table.add(name, warm, "ms", aim)
        cold = median(repeat(lambda: ask(api)[0], 7, 20, lambda: forget(data)))
        table.add(f"{name}, cold", cold, "ms", aim)
    return ours


def visible(api, table):
    """From the acknowledgement of a record to a list that has it."""
    times = []
    for number in range(20):
        request = f"visible-{os.getpid()}-{number}"
        record = {"kind": "interaction", "request_id": request, "model": "m", "input": "a question", "output": "an answer"}
        api.ask("/api/v1/records", body=[record])
        begin = time.perf_counter()
        while not json.loads(api.ask("/api/v1/calls", request_id=request)):
            pass
        times.append(time.perf_counter() - begin)
    table.add("visible after its acknowledgement, median", median(times), "ms", 50)
    table.add("visible after its acknowledgement, longest of 20", max(times) * 1000, "ms", 50)


def size(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def at_rest(data, jsonl_bytes, records, table, what=""):
    base = jsonl_bytes * records
    rows, index, tree = size(f"{data}/lake"), size(f"{data}/index"), size(f"{data}/ledger/tree")
    table.add(f"{what}rows / JSONL under zstd -3", rows / base, "×", 0.2 if what else 1.0)
    if not what:
        table.add("rows, index and tree / JSONL under zstd -3", (rows + index + tree) / base, "×", 1.5)
        table.add("rows", rows / records, "bytes a record")
        table.add("index", index / records, "bytes a record")
    table.add(f"{what}JSONL under zstd -3", jsonl_bytes, "bytes a record")


def rival_queries(samples, epoch, trunc, quantile, count_if, table):
    one = samples["calls"]
    pick = iter([one[(at * 7919 + 13) % len(one)] for at in range(1000)])
    hour, month = NOW - 3_600_000_000, NOW - 30 * 86_400_000_000
    phrase, word = samples["rare_phrase"], samples["common_word"]
    turn = "id, leaf_index, captured_at, gen_ai_request_model, onrecord_input_text, onrecord_output_text, gen_ai_usage_output_tokens"
    line = "leaf_index, id, captured_at, gen_ai_conversation_id, onrecord_request_id, gen_ai_request_model, onrecord_outcome, onrecord_duration_us"

    def board(unit, since):
        return (
            f"SELECT {trunc(unit)} AS at, gen_ai_request_model, count(*), {count_if('error_type IS NOT NULL OR http_response_status_code >= 400')}, "
            f"{quantile(0.5)}, {quantile(0.95)}, {quantile(0.99)}, sum(gen_ai_usage_input_tokens), sum(gen_ai_usage_output_tokens) "
            f"FROM {table} WHERE kind = 'interaction' AND captured_at >= {epoch(since)} GROUP BY 1, 2 ORDER BY 1, 2"
        )

    def search(text):
        texts = " OR ".join(f"lower({c}) LIKE '%{text}%'" for c in ("onrecord_input_text", "onrecord_output_text"))
        return f"SELECT {turn} FROM {table} WHERE {texts} LIMIT 50"

    newest = lambda where: f"SELECT {line} FROM {table} WHERE kind = 'interaction' AND {where} ORDER BY leaf_index DESC LIMIT 100"
    return {
        "look-up by id": lambda: f"SELECT * FROM {table} WHERE id = '{next(pick)['id']}'",
        "look-up by request id": lambda: f"SELECT {line} FROM {table} WHERE onrecord_request_id = '{next(pick)['request_id']}'",
        "session with its calls": lambda: f"SELECT {turn} FROM {table} WHERE gen_ai_conversation_id = '{next(pick)['session']}' ORDER BY captured_at",
        "search, rare phrase, 50 hits": lambda: search(phrase),
        "search, common word, 50 hits": lambda: search(word),
        "last hour, by minute and model": lambda: board("minute", hour),
        "30 days, by hour and model": lambda: board("hour", month),
        "newest 100": lambda: newest("true"),
        "newest 100 of a model": lambda: newest("gen_ai_request_model = 'gemma-3-8b'"),
        "newest 100 that failed": lambda: newest("onrecord_outcome = 'upstream_error'"),
    }


def rivals(data, samples, ours, table, threads):
    files = sorted(glob.glob(f"{data}/lake/records/commit_date=*/*.parquet"))
    try:
        import duckdb

        db = duckdb.connect(config={"threads": threads})
        listed = ", ".join(f"'{f}'" for f in files)
        asked = rival_queries(
            samples, lambda us: f"make_timestamptz({us})", lambda unit: f"date_trunc('{unit}', captured_at)",
            lambda q: f"approx_quantile(onrecord_duration_us, {q})", lambda c: f"count(*) FILTER (WHERE {c})",
            f"read_parquet([{listed}], hive_partitioning = false)",
        )
        against("DuckDB " + duckdb.__version__, asked, lambda sql: db.execute(sql).fetchall(), ours, table)
    except ImportError as error:
        say(f"without DuckDB: {error}")
    try:
        from chdb import session

        chdb = session.Session()
        asked = rival_queries(
            samples, lambda us: f"fromUnixTimestamp64Micro({us})", lambda unit: f"date_trunc('{unit}', captured_at)",
            lambda q: f"quantileTDigest({q})(onrecord_duration_us)", lambda c: f"countIf({c})",
            f"file('{data}/lake/records/commit_date=*/*.parquet', Parquet)",
        )
        against("chDB", asked, lambda sql: chdb.query(sql + f" SETTINGS max_threads = {threads}", "JSONCompact").bytes(), ours, table)
    except ImportError as error:
        say(f"without chDB: {error}")


def against(name, asked, run, ours, table):
    for what, sql in asked.items():
        run(sql())
        took = median(repeat(lambda: timed(lambda: run(sql())), 9, 12))
        scan = what.startswith("search")
        table.add(f"{name}: {what}", took, "ms", note=f"{took / ours[what]:.2f} × ours")
        if scan and name.startswith("DuckDB"):
            table.add(f"{what}: times faster than {name}'s scan", took / ours[what], "×", 20, least=True)


def timed(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def sqlite(lines, samples, ours, table, work):
    """FTS5 over the same texts of fewer records."""
    place = f"{work}/fts.db"
    db = sqlite3.connect(place)
    db.execute("pragma journal_mode = off")
    db.execute("create table record (leaf integer primary key, id text, session text, model text, time int)")
    db.execute("create virtual table texts using fts5(input, output)")
    count = 0
    for line in lines:
        r = json.loads(line)
        row = (r["leaf_index"], r["id"], r.get("gen_ai.conversation.id"), r.get("gen_ai.request.model"), r["captured_at"])
        db.execute("insert into record values (?, ?, ?, ?, ?)", row)
        sent = "\n".join(m["content"] for m in json.loads(r["onrecord.input.body"])["messages"])
        db.execute("insert into texts (rowid, input, output) values (?, ?, ?)", (r["leaf_index"], sent, r.get("onrecord.output.text")))
        count += 1
    db.execute("create index by_id on record (id)")
    db.commit()
    say(f"  SQLite has {count} records")
    sql = (
        "select leaf, id, session, model, time, score, snip from (select rowid as leaf_index, bm25(texts) as score, "
        "snippet(texts, -1, '«', '»', '…', 24) as snip from texts where texts match ? order by rank limit 50) join record on leaf = leaf_index"
    )
    total = "select count(*) from texts where texts match ?"
    for name, q in [("search, rare phrase, 50 hits", f'"{samples["rare_phrase"]}"'), ("search, common word, 50 hits", samples["common_word"])]:
        run = lambda: (db.execute(sql, (q,)).fetchall(), db.execute(total, (q,)).fetchall())
        run()
        took = median(repeat(lambda: timed(run), 20, 10))
        table.add(f"SQLite FTS5 on {count} records: {name}", took, "ms", note=f"{took / ours[name]:.2f} × ours on all")
    table.add(f"SQLite FTS5 on {count} records", os.path.getsize(place) / max(count, 1), "bytes a record")


def compressed(fill, count, *more):
    """Bytes a record of the first `count` records as JSON lines under zstd -3."""
    lines = subprocess.Popen([fill, "--jsonl", str(count), *more], stdout=subprocess.PIPE)
    squeezed = subprocess.Popen(["zstd", "-3", "-q", "-c"], stdin=lines.stdout, stdout=subprocess.PIPE)
    total = 0
    while piece := squeezed.stdout.read(1 << 20):
        total += len(piece)
    if lines.wait() or squeezed.wait():
        raise SystemExit("the records could not be written as JSON lines")
    return total / count


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", status.read(), re.M))
    return {key: int(fields[key]) / 1024 for key in ("VmRSS", "VmHWM", "RssAnon")}


def main():
    global NOW
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--fill", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--talks", help="data folder of the conversations")
    parser.add_argument("--jsonl", type=int, default=200_000)
    parser.add_argument("--json")
    parser.add_argument("--rivals", choices=["yes", "no"], default="yes")
    args = parser.parse_args()
    with open(args.samples) as file:
        samples = json.load(file)
    NOW = samples["times"][1]
    filled, table, api = samples["fill"], Table(), Api(args.api)
    records, until = filled["records"], str(NOW // 1_000_000)
    table.add("records", records, "")
    table.add("durable ingest while sealing and indexing go on", filled["appended_per_second"], "records/s", 25_000, least=True)
    table.add("the same until all is sealed, put together and indexed", filled["settled_per_second"], "records/s")
    table.add("most memory meanwhile", filled["resident_peak_kb"] / 1024, "MiB", 1024)
    say("the answers are looked at")
    check(api, samples)
    table.add("memory of the server after its first queries", resident(args.pid)["VmRSS"], "MiB")
    say("the server is asked, warm and cold")
    ours = measure_api(api, samples, args.data, table)
    visible(api, table)
    memory = resident(args.pid)
    table.add("memory of the server after all queries", memory["VmRSS"], "MiB", 1024)
    table.add("the most it was", memory["VmHWM"], "MiB", 1024)
    say("bytes at rest")
    at_rest(args.data, compressed(args.fill, min(args.jsonl, records), "--records", str(records), "--until", until), records, table)
    if args.talks:
        talks = 30_000
        at_rest(args.talks, compressed(args.fill, talks, "--records", str(talks), "--conversations"), talks, table, "conversations: ")
    if args.rivals == "yes":
        say("others on the same files")
        rivals(args.data, samples, ours, table, os.cpu_count())
        tenth = subprocess.Popen(
            [args.fill, "--jsonl", str(max(records // 10, 1)), "--records", str(records), "--until", until], stdout=subprocess.PIPE, text=True
        )
        sqlite(tenth.stdout, samples, ours, table, args.work)
    table.show()
    if args.json:
        with open(args.json, "w") as out:
            json.dump(table.rows, out, indent=1)


if __name__ == "__main__":
    main()
