# The commands of the README and of CI.

target := env("CARGO_TARGET_DIR", env("HOME") / ".cache/onrecord/target")
export CARGO_TARGET_DIR := target

# Builds and shows it: a small real model, a few conversations, the log that they leave.
demo *args:
    cargo run --release -- demo {{args}}

# All tests. Always the whole workspace: another set of features would build DataFusion a second time.
test *args:
    cargo nextest run --workspace {{args}}

# Formats the code.
fmt:
    cargo fmt --all

# What CI says of style.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation of the code, without warnings.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Licences, bans, sources.
deny:
    cargo deny check licenses bans sources

# Requests a second, latency and memory beside nginx.
bench-gateway *args:
    bench/gateway/run.sh {{args}}

# The log in a process, beside PostgreSQL and SQLite.
bench-ledger *args:
    bench/ledger/run.sh {{args}}

# Time to serving on a log of a million records.
bench-startup *args:
    bench/startup.sh {{args}}

# The table in an object store, against the S3 server of Ceph.
ceph *args:
    bench/ceph.sh {{args}}

# Queries, search and bytes at rest of many records, beside DuckDB, chDB and SQLite.
bench-queries *args:
    bench/queries/run.sh {{args}}

# Fuzzes every parser, or those that are named.
fuzz *args:
    fuzz/run.sh {{args}}

# The program under failing system calls: the whole matrix.
torture *args:
    cargo build --workspace
    bench/torture.py {{args}}

# Everything that must hold before a change lands.
ci:
    .ci/run
