#!/usr/bin/env bash
# Queries over many records, through the API of a running server, warm and cold, beside DuckDB, chDB and SQLite; and what
# the records take at rest, and how fast they came in.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/../lib.sh"

usage() {
    cat <<'USAGE'
Usage: bench/queries/run.sh [OPTIONS]

  --records N      records to fill the log with, of 2 KB of text each [default: 10000000, some 20 GB]
  --index-later    build the search index when all is filled, not meanwhile: quicker, and no figure for ingest then
  --without-rivals measure this program alone
  --python FILE    a Python with duckdb, and chdb if that is to be measured [default: python3]
  --onrecord FILE  the program to measure [default: ONRECORD_BIN, else it is built]
  --fill FILE      what fills the log [default: it is built]
  --dir DIR        where the log is written: on the disk to measure [default: ~/.cache/onrecord/bench]
  --data DIR       a folder that an earlier run has kept; it is not filled again
  --json FILE      write the results there as well
  --keep           keep the data folder
USAGE
}

records=10000000 python=python3 later=no rivals=yes fill_bin="" data=""
onrecord_bin=${ONRECORD_BIN:-} dir=${HOME}/.cache/onrecord/bench json="" keep=no
while (($#)); do
    case $1 in
        --records) records=${2:?} && shift ;;
        --index-later) later=yes ;;
        --without-rivals) rivals=no ;;
        --python) python=${2:?} && shift ;;
        --onrecord) onrecord_bin=${2:?} && shift ;;
        --fill) fill_bin=${2:?} && shift ;;
        --dir) dir=${2:?} && shift ;;
        --data) data=${2:?} && shift ;;
        --json) json=${2:?} && shift ;;
        --keep) keep=yes ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && die "unknown option $1" ;;
    esac
    shift
done

need zstd zstd
need python3 python3
make_work "$dir"
if [[ -z $onrecord_bin || -z $fill_bin ]]; then
    say "building the program and what fills the log"
    # The whole workspace, so that DataFusion is built with one set of features.
    cargo build --release --locked --workspace --manifest-path "$root/Cargo.toml"
    onrecord_bin=${onrecord_bin:-$target/release/onrecord} fill_bin=${fill_bin:-$target/release/bench-fill}
fi
cp "$onrecord_bin" "$work/onrecord"
cp "$fill_bin" "$work/bench-fill"
say "load before: $(cut -d' ' -f1-3 /proc/loadavg)"

if [[ -z $data ]]; then
    data=$work/data
    options=()
    [[ $later == no ]] || options=(--index-later)
    say "filling the log with $records records"
    "$work/bench-fill" --data "$data" --records "$records" "${options[@]}" >"$work/samples.json"
    mv "$work/samples.json" "$data/samples.json"
fi
say "filling a log with 1000 conversations of 30 turns"
"$work/bench-fill" --data "$work/talks" --records 30000 --conversations >/dev/null

read -r upstream_port gateway_port api_port <<<"$(free_ports 3)"
: >"$work/onrecord.toml"
launch "$work/onrecord.log" "$work/onrecord" serve --config "$work/onrecord.toml" --data "$data" \
    --upstream "http://127.0.0.1:$upstream_port" --listen "127.0.0.1:$gateway_port" --api "127.0.0.1:$api_port"
server=$launched
for ((i = 0; i < 1200; i++)); do
    "$python" - "$api_port" 2>/dev/null <<'PY' && break
import sys, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health").read()
PY
    kill -0 "$server" 2>/dev/null || {
        tail -n 20 "$work/onrecord.log" >&2
        die "the server did not start"
    }
    sleep 0.5
done
options=()
[[ -z $json ]] || options=(--json "$json")
echo "$("$work/onrecord" --version), $(nproc) cores, load before the queries $(cut -d' ' -f1-3 /proc/loadavg)"
"$python" "$root/bench/queries/measure.py" --api "127.0.0.1:$api_port" --pid "$server" --data "$data" \
    --samples "$data/samples.json" --fill "$work/bench-fill" --work "$work" --talks "$work/talks" --rivals "$rivals" "${options[@]}"
