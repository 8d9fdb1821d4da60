#!/usr/bin/env bash
# Fuzzes every parser, or those that are named: fuzz/run.sh [--seconds N] [--jobs N] [TARGET…]
# What breaks a target is left in fuzz/artifacts; inputs that reach new code and are small come into fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'USAGE'
fuzz/run.sh [--seconds N] [TARGET…]
  --seconds N  how long each target is fuzzed (default 600)
  TARGET       what is fuzzed (default: all; `ls fuzz/fuzz_targets`)
Needs cargo-fuzz: `cargo install cargo-fuzz --locked`.
USAGE
}

seconds=600
targets=()
while (($#)); do
    case $1 in
        --seconds) seconds=${2:?--seconds takes a number} && shift 2 ;;
        --help | -h) usage && exit ;;
        -*) usage >&2 && exit 2 ;;
        *) targets+=("$1") && shift ;;
    esac
done
command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is not here: cargo install cargo-fuzz --locked" >&2 && exit 1; }
((${#targets[@]})) || mapfile -t targets < <(basename -a -s .rs fuzz/fuzz_targets/*.rs)

# Coverage needs flags that the stable compiler knows as well, if it is told that this is meant. No sanitizer: no code here is unsafe.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/onrecord/target}/fuzz
build=(--fuzz-dir fuzz --sanitizer none)
cargo run -q --manifest-path crates/fuzzing/Cargo.toml --example seeds -- fuzz/seeds
cargo fuzz build "${build[@]}"
for target in "${targets[@]}"; do
    echo "== $target"
    mkdir -p "fuzz/found/$target" "fuzz/corpus/$target"
    # 64 KiB reach everything that is a matter of form; 1 GiB and 10 s are far above what any of it takes.
    cargo fuzz run "${build[@]}" "$target" "fuzz/found/$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 2>&1 |
        grep -E '^(stat::|SUMMARY|==|artifact_prefix|thread|assertion|\s*(left|right):)|panicked|Test unit|ERROR' || true
done
if compgen -G 'fuzz/artifacts/*/*' >/dev/null; then
    echo "these break a target:" && ls fuzz/artifacts/*/* && exit 1
fi
