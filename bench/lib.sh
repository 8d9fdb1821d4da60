# shellcheck shell=bash disable=SC2034
# What the benchmarks share: finding the programs, starting and ending servers, reading their memory and CPU time.
# Sourced by the scripts next to it. Everything listens on 127.0.0.1 and ends with the script.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
# Process ids of what runs, as keys.
started=()
work=

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || die "$1 is missing; on Debian: apt-get install -y $2"
}

# The optimized programs. `onrecord` is built only if none was named with --onrecord or ONRECORD_BIN.
build() { # with|without, the binary of onrecord
    say "building the benchmark's upstream and client"
    cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" -p onrecord-bench
    upstream_bin=$target/release/bench-upstream
    client_bin=$target/release/bench-client
    if [[ $1 == with && -z ${onrecord_bin:-} ]]; then
        say "building onrecord"
        cargo build --release --locked --manifest-path "$root/Cargo.toml"
        onrecord_bin=$target/release/onrecord
    fi
    [[ $1 == without || -x $onrecord_bin ]] || die "there is no program at $onrecord_bin"
    # A build that replaces the binary meanwhile must not change what is measured.
    if [[ $1 == with ]]; then
        cp "$onrecord_bin" "$work/onrecord"
        onrecord_bin=$work/onrecord
    fi
}

# A folder for everything that is written, on the disk that is measured.
make_work() { # PARENT
    mkdir -p "$1"
    work=$(mktemp -d "$1/run.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT TERM
}

clean_up() {
    local pid
    for pid in "${!started[@]}"; do
        stop "$pid"
    done
    if [[ ${keep:-no} == yes ]]; then
        say "kept: $work"
    else
        rm -rf "$work"
    fi
}

# Ends a server that `launch` started, and waits for its orderly end.
stop() { # PID [SIGNAL]
    local i
    unset "started[$1]"
    kill "-${2:-TERM}" "$1" 2>/dev/null || return 0
    for ((i = 0; i < 400; i++)); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
}

# Starts a server in the background; its process id is in `launched` then.
launch() { # LOG COMMAND...
    local log=$1
    shift
    "$@" >"$log" 2>&1 &
    launched=$!
    # The shell need not report how it ended.
    disown "$launched"
    started[launched]=1
}

# Waits until a server answers; if it does not, shows what it said.
await() { # LOG ADDRESS PATH
    "$client_bin" wait "$2" --path "$3" --seconds 60 || {
        tail -n 20 "$1" >&2
        die "the server at $2 did not start"
    }
}

free_ports() { # COUNT
    python3 - "$1" <<'PY'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PY
}

# A process and its children.
family() { # PID
    echo "$1"
    pgrep -P "$1" || true
}

# Sets `kb` to the resident memory of processes. Read without starting another one: it runs while we measure.
resident() { # PID...
    local pid key value
    kb=0
    for pid; do
        while read -r key value _; do
            [[ $key != VmRSS: ]] || kb=$((kb + value))
        done 2>/dev/null <"/proc/$pid/status" || true
    done
}

# The CPU time of processes so far, in clock ticks.
ticks() { # PID...
    local pid sum=0 fields
    for pid; do
        # The name in parentheses can hold spaces; user and system time are the 12th and 13th field after it.
        read -ra fields <<<"$(sed 's/.*) //' "/proc/$pid/stat")"
        sum=$((sum + fields[11] + fields[12]))
    done
    echo "$sum"
}

# One run of wrk. Leaves `requests`, `result` (a JSON object), and the largest resident memory in `peak_kb`.
load() { # PID URL BODY CONNECTIONS SECONDS
    local threads=2 out=$work/wrk.out kb before pids
    (($4 >= 2)) || threads=1
    mapfile -t pids < <(family "$1")
    before=$(ticks "${pids[@]}")
    BENCH_BODY=$3 wrk -t "$threads" -c "$4" -d "${5}s" --timeout 30s -s "$root/bench/wrk.lua" "$2" >"$out" 2>&1 &
    local wrk=$!
    started[wrk]=1
    peak_kb=0
    while kill -0 "$wrk" 2>/dev/null; do
        resident "${pids[@]}"
        ((kb <= peak_kb)) || peak_kb=$kb
        sleep 0.25
    done
    unset "started[wrk]"
    wait "$wrk" || {
        cat "$out" >&2
        die "wrk has failed"
    }
    result=$(sed -n 's/^RESULT //p' "$out")
    [[ -n $result ]] || die "wrk gave no result: $(cat "$out")"
    requests=${result#*\"requests\":}
    requests=${requests%%,*}
    [[ $result == *'"errors":0,'* ]] || die "some calls have failed: $result"
    result="{\"cpu_ticks\":$(($(ticks "${pids[@]}") - before)),\"peak_kb\":$peak_kb,${result#\{}"
}
