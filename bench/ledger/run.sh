#!/usr/bin/env bash
# The log in a process, beside PostgreSQL and SQLite storing records of the same size durably on the same disk.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

usage() {
    cat <<'USAGE'
bench/ledger/run.sh [--records N] [--seconds N] [--dir DIR]
  --records N  records that the log is filled with (default 1000000, which is 1 GiB)
  --seconds N  how long each rival inserts (default 10)
  --dir DIR    where everything is written (default: /var/tmp)
Needs PostgreSQL's programs and a user `postgres` to run them as (Debian: apt-get install -y postgresql), and Python.
USAGE
}

records=1000000 seconds=10 dir=/var/tmp
while (($#)); do
    case $1 in
        --records) records=${2:?} && shift 2 ;;
        --seconds) seconds=${2:?} && shift 2 ;;
        --dir) dir=${2:?} && shift 2 ;;
        --help | -h) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
done

postgres_bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[[ -n $postgres_bin ]] || die "PostgreSQL is missing; on Debian: apt-get install -y postgresql"
make_work "$dir/onrecord-bench"
chmod 755 "$dir/onrecord-bench" "$work"

as_postgres() {
    runuser -u postgres -- "$@"
}

sql() {
    as_postgres "$postgres_bin/psql" -h "$work/pg" -d postgres -qAt "$@"
}

# Records a second of 64 clients that insert one each, and of one COPY.
postgres() {
    install -d -o postgres "$work/pg"
    as_postgres "$postgres_bin/initdb" -D "$work/pg/data" -A trust >/dev/null
    launch "$work/postgres.log" runuser -u postgres -- "$postgres_bin/postgres" -D "$work/pg/data" -k "$work/pg" \
        -c listen_addresses= -c synchronous_commit=on -c fsync=on -c shared_buffers=1GB -c max_wal_size=4GB
    for _ in {1..100}; do
        sql -c 'select 1' >/dev/null 2>&1 && break
        sleep 0.1
    done
    sql -c 'create table record (id bigserial primary key, body bytea not null)'
    echo "insert into record (body) values (decode(repeat('ab', 1024), 'hex'));" >"$work/pg/insert.sql"
    as_postgres "$postgres_bin/pgbench" -h "$work/pg" -n -c 64 -j 2 -M prepared -T "$seconds" -f "$work/pg/insert.sql" postgres \
        2>/dev/null | awk '/^tps/ { printf "PostgreSQL, 64 clients\t%.1f\trecords/s\n", $3 }'
    python3 - >"$work/pg/rows" <<'PY'
for _ in range(200_000):
    print("\\\\x" + "ab" * 1024)
PY
    local start end
    start=$(date +%s%N)
    sql -c "copy record (body) from stdin" <"$work/pg/rows"
    end=$(date +%s%N)
    awk -v ns=$((end - start)) 'BEGIN { printf "PostgreSQL, COPY\t%.1f\trecords/s\n", 200000 / (ns / 1e9) }'
    stop "$launched" INT
}

# One writer, which is what SQLite has.
sqlite() {
    python3 - "$work/sqlite" "$seconds" <<'PY'
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma journal_mode = wal")
db.execute("pragma synchronous = full")
db.execute("create table record (id integer primary key, body blob not null)")
body, count, start = b"\xab" * 1024, 0, time.monotonic()
while time.monotonic() - start < float(sys.argv[2]):
    db.execute("insert into record (body) values (?)", (body,))
    count += 1
print(f"SQLite, WAL\t{count / (time.monotonic() - start):.1f}\trecords/s")
PY
}

cargo build --quiet --release --locked -p onrecord-ledger --example bench
say "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
{
    "$target/release/examples/bench" "$work/ledger" "$records"
    postgres
    sqlite
} | tee "$work/results" | column -t -s $'\t'
awk -F'\t' '{ rate[$1] = $2 } END {
    for (name in rate) if (name ~ /^(PostgreSQL|SQLite)/) printf "append is %.1f times %s\n", rate["append"] / rate[name], name
}' "$work/results"
