//! The API over real sockets: the router on port 0 and an HTTP client.
#![allow(clippy::unwrap_used)]

mod chat;
mod client;
mod limits;
mod models;
mod stream;
