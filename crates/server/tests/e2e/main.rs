//! End to end: the real binary with real sockets, real files and real signals.
//!
//! One binary, since each would link the whole program's dependencies again. `support` starts servers, asks the command
//! line, speaks HTTP and plays model servers, good and bad.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and own their files")]

mod alerts;
mod clients;
mod configs;
mod crash;
mod damage;
mod decisions;
mod dialects;
mod embedded;
mod engines;
mod evidence;
mod export;
mod exporters;
mod forwarding;
mod fsck;
mod full_disk;
mod garbage;
mod keep;
mod keys;
mod llama;
mod media;
mod metrics;
mod monitor;
mod objects;
mod openapi;
mod outside;
mod performance;
mod pipeline;
mod postgres;
mod query;
mod routing;
mod search;
mod security;
mod sessions;
mod shutdown;
mod snapshots;
mod support;
mod timestamps;
mod tlog;
mod tour;
mod websocket;
mod wire;
