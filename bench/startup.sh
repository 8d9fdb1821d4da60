#!/usr/bin/env bash
# How long `onrecord serve` takes from its start until it serves, on a log of a million records: after an orderly stop,
# and after a kill -9 under load. The log is filled through the gateway, as it would be in use.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

usage() {
    cat <<'EOF'
Usage: bench/startup.sh [OPTIONS]

  --records N      records to fill the log with [default: 1000000]
  --starts N       starts of each kind; the median counts [default: 5]
  --onrecord FILE  the program to measure [default: ONRECORD_BIN, else it is built]
  --dir DIR        where the log is written: on the disk to measure [default: ~/.cache/onrecord/bench]
  --json FILE      write the results there as well
  --check          exit with 1 if a start takes longer than 2 s
  --keep           keep the data folder
EOF
}

records=1000000 starts=5 limit_ms=2000 check=no
onrecord_bin=${ONRECORD_BIN:-} dir=${HOME}/.cache/onrecord/bench json="" keep=no
while (($#)); do
    case $1 in
        --records) records=${2:?} && shift ;;
        --starts) starts=${2:?} && shift ;;
        --onrecord) onrecord_bin=${2:?} && shift ;;
        --dir) dir=${2:?} && shift ;;
        --json) json=${2:?} && shift ;;
        --check) check=yes ;;
        --keep) keep=yes ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && die "unknown option $1" ;;
    esac
    shift
done

need wrk wrk
need python3 python3
need pgrep procps
make_work "$dir"
build with
read -r upstream_port gateway_port api_port <<<"$(free_ports 3)"
data=$work/data
: >"$work/onrecord.toml"

# Sets `took_ms`: from the start of the process to the first 200 of /health.
start_onrecord() {
    local before=${EPOCHREALTIME/./}
    launch "$work/onrecord.log" "$onrecord_bin" serve --config "$work/onrecord.toml" --data "$data" \
        --upstream "http://127.0.0.1:$upstream_port" --listen "127.0.0.1:$gateway_port" --api "127.0.0.1:$api_port"
    onrecord=$launched
    await "$work/onrecord.log" "127.0.0.1:$api_port" /health
    took_ms=$(((${EPOCHREALTIME/./} - before) / 1000))
}

fill() {
    local total=0 begin=$SECONDS i
    for ((i = 0; i < 2000 && total < records; i++)); do
        load "$onrecord" "http://127.0.0.1:$gateway_port/v1/chat/completions" "$work/request.json" 64 5
        total=$((total + requests))
        say "  $total of $records"
    done
    ((total >= records)) || die "the log did not fill"
    fill_seconds=$((SECONDS - begin))
}

# Calls that are cut off by a kill -9.
kill_under_load() {
    BENCH_BODY=$work/request.json wrk -t 1 -c 16 -d 3s -s "$root/bench/wrk.lua" \
        "http://127.0.0.1:$gateway_port/v1/chat/completions" >/dev/null 2>&1 &
    local wrk=$!
    sleep 1
    stop "$onrecord" KILL
    wait "$wrk" || true
}

median() {
    printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

launch "$work/upstream.log" "$upstream_bin" --listen "127.0.0.1:$upstream_port"
await "$work/upstream.log" "127.0.0.1:$upstream_port" /
"$client_bin" request >"$work/request.json"
start_onrecord
empty_ms=$took_ms
say "filling the log with $records records"
fill
counted=$("$onrecord_bin" stats --json --config "$work/onrecord.toml" --data "$data" | python3 -c 'import json, sys
print(json.load(sys.stdin)["records"])')
((counted >= records)) || die "the log holds $counted records, not $records"

orderly=() killed=()
for ((i = 0; i < starts; i++)); do
    stop "$onrecord"
    start_onrecord
    orderly+=("$took_ms")
done
for ((i = 0; i < starts; i++)); do
    kill_under_load
    start_onrecord
    killed+=("$took_ms")
done
bytes=$(du -sb "$data" | cut -f 1)

orderly_ms=$(median "${orderly[@]}") killed_ms=$(median "${killed[@]}")
verdict=met
((orderly_ms < limit_ms && killed_ms < limit_ms)) || verdict=MISSED
cat <<EOF
$("$onrecord_bin" --version), $(nproc) cores, log of $counted records, $((bytes / 1048576)) MiB
filled through the gateway in $fill_seconds s
start to serving, empty log             $empty_ms ms
start to serving, after an orderly stop $orderly_ms ms (${orderly[*]})
start to serving, after a kill -9       $killed_ms ms (${killed[*]})
$verdict: start to serving in under $limit_ms ms
EOF
if [[ -n $json ]]; then
    list() { local IFS=,; printf '[%s]' "$*"; }
    printf '{"records":%d,"bytes":%d,"fill_seconds":%d,"empty_ms":%d,"orderly_ms":%s,"killed_ms":%s,"limit_ms":%d}\n' \
        "$counted" "$bytes" "$fill_seconds" "$empty_ms" "$(list "${orderly[@]}")" "$(list "${killed[@]}")" \
        "$limit_ms" >"$json"
fi
[[ $check == no || $verdict == met ]]
