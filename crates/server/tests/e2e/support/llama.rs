//! A real llama.cpp server with the demo's model.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::http::get;
use super::process::Messages;
use super::wait_for;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo-model/model/tiny-pydoc.gguf");

/// One thread and two slots on a free port of the loopback address, with every endpoint that tells about itself.
const OPTIONS: [&str; 17] = [
    "--alias",
    "tiny-pydoc",
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "-c",
    "4096",
    "-np",
    "2",
    "-t",
    "1",
    "--offline",
    "--no-ui",
    "--metrics",
    "--props",
    "--slots",
];

/// A running llama-server. Killed when it is dropped.
pub(crate) struct Llama {
    child: Child,
    messages: Messages,
    pub(crate) address: SocketAddr,
}

impl Llama {
    /// Starts one with these options besides [`OPTIONS`], and waits until it is healthy. `None`, with a message, on a
    /// machine that has no such server; that of the continuous integration must have one.
    pub(crate) async fn start(options: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no llama-server: run .ci/llama-server.sh");
            eprintln!("SKIPPED: there is no llama-server; build one with .ci/llama-server.sh, about 10 minutes, once");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["-m", MODEL]).args(OPTIONS).args(options);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let messages = Messages::of(child.stderr.take().unwrap());
        let address = wait_for("llama-server", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "llama-server {options:?} ended, {ended:?}: {}", messages.so_far());
            listening(&messages.so_far())
        });
        let server = Self { child, messages, address };
        let health = get(address, "/health", &[]).await;
        assert_eq!(health.status, 200, "{}: {}", health.text(), server.messages());
        Some(server)
    }

    #[allow(dead_code, reason = "for tests that look at the process")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file of its model.
    #[allow(dead_code, reason = "for tests that look at the file")]
    pub(crate) fn model() -> &'static Path {
        Path::new(MODEL)
    }

    /// What it has written to standard error so far.
    pub(crate) fn messages(&self) -> String {
        self.messages.so_far()
    }
}

impl Display for Llama {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// That of ONRECORD_LLAMA_SERVER, or the one that `.ci/llama-server.sh` has built.
fn program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("ONRECORD_LLAMA_SERVER") {
        return Some(program.into());
    }
    let home = std::env::var_os("HOME")?;
    Some(Path::new(&home).join(".cache/onrecord/llama/llama-server")).filter(|program| program.is_file())
}

/// It says where it listens once its model is loaded.
fn listening(messages: &str) -> Option<SocketAddr> {
    let (_, after) = messages.split_once("listening on http://")?;
    after.lines().next()?.trim().parse().ok()
}
