//! onrecord: the audit log for small language models. Gateway, API and command line in one binary.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
// They panic where nobody reads; see `terminal::print_line` and `terminal::note`.
#![warn(clippy::print_stdout)]
#![cfg_attr(not(test), warn(clippy::print_stderr))]

mod alerts;
mod api;
mod auth;
mod cli;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod engine;
mod gateway;
mod ingest;
mod local;
mod outside;
mod postgres;
mod probe;
mod render;
mod server;
mod shipping;
mod signing;
mod terminal;
mod timestamp;
mod tls;
mod watch;
mod web;

use std::process::ExitCode;

/// The allocator of glibc keeps what many threads have freed; this one gives it back and is faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // There are two in the program, and a library that names none would panic. It is the first, so it is taken.
    drop(rustls::crypto::ring::default_provider().install_default());
    cli::main()
}
