//! What every test needs: a log with its folder, a server process, HTTP clients, model servers.

pub(crate) mod compatibility;
pub(crate) mod http;
pub(crate) mod llama;
pub(crate) mod log;
mod process;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod upstream;
pub(crate) mod witness;

pub(crate) use http::{Reply, chat, post};
pub(crate) use llama::Llama;
pub(crate) use log::{Log, Ran};
pub(crate) use server::Server;

use std::time::{Duration, Instant};

/// How long a test waits for what should take a moment; generous, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
