#!/usr/bin/env bash
# How much the gateway costs: wrk against an upstream that computes nothing, against nginx as a plain proxy in front of
# it, and against `onrecord serve` in its default, fully durable mode in front of it. Same machine, same run, in turn.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/../lib.sh"

usage() {
    cat <<'EOF'
Usage: bench/gateway/run.sh [OPTIONS]

  --quick              3 s a cell, one round, fewer calls for the time to the first token
  --seconds N          seconds a cell, over all rounds [default: 10]
  --rounds N           times each cell is measured, in turn with the others [default: 2]
  --connections "A B"  connections [default: "1 64 256"]
  --modes "A B"        of: whole stream [default: "whole stream"]
  --calls N            calls over which memory is watched [default: 200000; 0 leaves it out]
  --onrecord FILE      the program to measure [default: ONRECORD_BIN, else it is built]
  --without-onrecord   only the upstream and nginx
  --dir DIR            where the log is written: on the disk to measure [default: ~/.cache/onrecord/bench]
  --json FILE          write the results there as well
  --check              exit with 1 if a figure is missed
  --keep               keep the data folder
EOF
}

seconds=10 rounds=2 connections="1 64 256" modes="whole stream" calls=200000 think_calls=300
onrecord_bin=${ONRECORD_BIN:-} recorder=with dir=${HOME}/.cache/onrecord/bench json="" keep=no report=()
while (($#)); do
    case $1 in
        --quick) seconds=3 rounds=1 think_calls=100 ;;
        --seconds) seconds=${2:?} && shift ;;
        --rounds) rounds=${2:?} && shift ;;
        --connections) connections=${2:?} && shift ;;
        --modes) modes=${2:?} && shift ;;
        --calls) calls=${2:?} && shift ;;
        --onrecord) onrecord_bin=${2:?} && shift ;;
        --without-onrecord) recorder=without ;;
        --dir) dir=${2:?} && shift ;;
        --json) json=${2:?} && shift ;;
        --check) report+=(--check) ;;
        --keep) keep=yes ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && die "unknown option $1" ;;
    esac
    shift
done
slice=$((seconds / rounds > 0 ? seconds / rounds : 1))

need wrk wrk
need nginx nginx-light
need python3 python3
need pgrep procps
make_work "$dir"
build "$recorder"
results=$work/results.jsonl
chat=/v1/chat/completions
read -r upstream_port nginx_whole nginx_stream gateway_port api_port <<<"$(free_ports 5)"
declare -A pid
targets=(upstream nginx)
[[ $recorder == without ]] || targets+=(onrecord)

# Where a target answers.
address() { # TARGET MODE
    case $1-$2 in
        upstream-*) echo "127.0.0.1:$upstream_port" ;;
        nginx-whole) echo "127.0.0.1:$nginx_whole" ;;
        nginx-stream) echo "127.0.0.1:$nginx_stream" ;;
        onrecord-*) echo "127.0.0.1:$gateway_port" ;;
    esac
}

note() { # JSON
    printf '%s\n' "$1" >>"$results"
}

start_upstream() {
    launch "$work/upstream.log" "$upstream_bin" --listen "127.0.0.1:$upstream_port"
    pid[upstream]=$launched
    await "$work/upstream.log" "127.0.0.1:$upstream_port" /
    "$client_bin" request >"$work/whole.json"
    "$client_bin" request --stream >"$work/stream.json"
}

# A plain proxy: connections to the upstream are kept, nothing is logged, streams are not buffered.
nginx_conf() {
    ((EUID != 0)) || echo "user root;"
    cat <<EOF
worker_processes 2;
daemon off;
pid $work/nginx.pid;
error_log $work/nginx.log warn;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_buffer_size 16k;
    client_body_temp_path $work/nginx-body;
    proxy_temp_path $work/nginx-proxy;
    fastcgi_temp_path $work/nginx-fastcgi;
    uwsgi_temp_path $work/nginx-uwsgi;
    scgi_temp_path $work/nginx-scgi;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    upstream model { server 127.0.0.1:$upstream_port; keepalive 512; keepalive_requests 1000000000; }
    server { listen 127.0.0.1:$nginx_whole; location / { proxy_pass http://model; } }
    server { listen 127.0.0.1:$nginx_stream; location / { proxy_pass http://model; proxy_buffering off; } }
}
EOF
}

start_nginx() {
    nginx_conf >"$work/nginx.conf"
    launch "$work/nginx.out" nginx -e "$work/nginx.log" -c "$work/nginx.conf"
    pid[nginx]=$launched
    await "$work/nginx.log" "127.0.0.1:$nginx_whole" /
}

start_onrecord() {
    mkdir "$work/data"
    # An empty configuration file: the defaults, whatever configuration lies in the folder this runs in.
    : >"$work/onrecord.toml"
    launch "$work/onrecord.log" "$onrecord_bin" serve --config "$work/onrecord.toml" --data "$work/data" \
        --upstream "http://127.0.0.1:$upstream_port" --listen "127.0.0.1:$gateway_port" --api "127.0.0.1:$api_port"
    pid[onrecord]=$launched
    await "$work/onrecord.log" "127.0.0.1:$api_port" /health
}

machine() {
    local cpu
    cpu=$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)
    note "$(python3 - "$(nproc)" "$cpu" "$(uname -r)" "$(df --output=fstype "$work" | tail -n 1)" "$(nginx -v 2>&1)" \
        "$(wrk -v 2>&1 | awk 'NR == 1 { print $1, $2 }')" \
        "$([[ $recorder == without ]] || "$onrecord_bin" --version)" "$(getconf CLK_TCK)" "$slice" "$rounds" "$(cut -d " " -f 1 /proc/loadavg)" <<'PY'
import json, sys, time
keys = ["cores", "cpu", "kernel", "filesystem", "nginx", "wrk", "onrecord", "clock_ticks", "seconds_a_round", "rounds", "load_before"]
texts = {"cpu", "kernel", "filesystem", "nginx", "wrk", "onrecord"}
values = {key: value if key in texts else json.loads(value) for key, value in zip(keys, sys.argv[1:])}
print(json.dumps({"kind": "machine", "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **values}))
PY
)"
}

# On a server that has just started, so that growth shows.
memory() {
    [[ $recorder == with ]] && ((calls > 0)) || return 0
    local total=0 i kb
    sleep 2
    resident "${pid[onrecord]}"
    note "{\"kind\":\"idle\",\"kb\":$kb,\"anonymous_kb\":$(awk '/^RssAnon:/ { print $2 }' \
        "/proc/${pid[onrecord]}/status")}"
    say "memory over $calls calls"
    for ((i = 0; i < 600 && total < calls; i++)); do
        load "${pid[onrecord]}" "http://127.0.0.1:$gateway_port$chat" "$work/whole.json" 64 1
        total=$((total + requests))
        note "{\"kind\":\"memory\",\"calls\":$total,\"kb\":$peak_kb}"
    done
}

cell() { # TARGET MODE CONNECTIONS ROUND
    load "${pid[$1]}" "http://$(address "$1" "$2")$chat" "$work/$2.json" "$3" "$slice"
    note "{\"kind\":\"load\",\"target\":\"$1\",\"mode\":\"$2\",\"connections\":$3,\"round\":$4,${result#\{}"
}

cells() {
    local mode count round name
    for mode in $modes; do
        for count in $connections; do
            say "$mode, $count connections"
            for ((round = 1; round <= rounds; round++)); do
                for name in "${targets[@]}"; do
                    cell "$name" "$mode" "$count" "$round"
                done
            done
        done
    done
}

# Of a model that takes a while for its first token, and of one that does not: then the log's disk shows.
first_token() { # THINK_MS
    local name options=()
    for name in "${targets[@]}"; do
        options+=(--target "$name=$(address "$name" stream)")
    done
    note "{\"kind\":\"first_token\",$("$client_bin" first-token "${options[@]}" --calls "$think_calls" \
        --think-ms "$1" | tr -d '\n' | sed 's/^{//')"
}

# Measured before and after the cells; the report takes the quicker one.
disk() {
    say "fdatasync of the disk of $work"
    note "{\"kind\":\"fdatasync\",$("$client_bin" fdatasync --dir "$work" | tr -d '\n' | sed 's/^{//')"
}

warm_up() {
    local name mode
    for name in "${targets[@]}"; do
        for mode in $modes; do
            load "${pid[$name]}" "http://$(address "$name" "$mode")$chat" "$work/$mode.json" 64 1
        done
    done
}

machine
start_upstream
start_nginx
[[ $recorder == without ]] || start_onrecord
memory
warm_up
disk
cells
disk
say "time to the first token"
first_token 20
first_token 0
[[ -z $json ]] || report+=(--json "$json")
python3 "$root/bench/gateway/report.py" "$results" "${report[@]}"
