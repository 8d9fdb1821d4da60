//! The server as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::log::program;
use super::process::Messages;
use super::wait_for;

/// A running `onrecord serve`. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    messages: Messages,
    pub(crate) gateway: SocketAddr,
    pub(crate) api: SocketAddr,
    /// Where spans are taken, over gRPC and over HTTP.
    pub(crate) otlp: Vec<SocketAddr>,
    /// Where the PostgreSQL protocol is spoken, if it is.
    pub(crate) postgres: Option<SocketAddr>,
}

impl Server {
    /// Starts it in `folder` and waits until it listens. Without an `upstream` it has those of its configuration.
    pub(crate) fn start(folder: &Path, upstream: &str, arguments: &[&str]) -> Self {
        let mut command = program(folder);
        command.args(["serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
        if !upstream.is_empty() {
            command.args(["--upstream", upstream]);
        }
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let messages = Messages::of(child.stderr.take().unwrap());
        let mut listening = None;
        wait_for("the server", || {
            let text = messages.so_far();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended, {ended:?}: {text}");
            listening = address(&text, "  gateway ").zip(address(&text, "  API "));
            text.contains("Stop with Ctrl-C").then_some(())
        });
        let (gateway, api) = listening.unwrap();
        let otlp = addresses(&messages.so_far(), "  OTLP ");
        let postgres = address(&messages.so_far(), "  SQL ");
        Self { child, messages, gateway, api, otlp, postgres }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub(crate) fn messages(&self) -> String {
        self.messages.so_far()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, without waiting.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits until it ends by itself; gives what it wrote to standard error.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = wait_for("the server's end", || self.child.try_wait().unwrap());
        (status, self.messages.all())
    }

    /// Stops it in order; it must not have panicked before.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.terminate();
        let (status, messages) = self.ended();
        assert!(status.success(), "{status}: {messages}");
        assert!(!messages.contains("panicked"), "{messages}");
        messages
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The address in the line that begins so.
fn address(text: &str, line: &str) -> Option<SocketAddr> {
    addresses(text, line).first().copied()
}

/// The addresses of the URLs in the line that begins so.
fn addresses(text: &str, line: &str) -> Vec<SocketAddr> {
    let line = text.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_default();
    let urls = line.split("://").skip(1).filter_map(|after| after.split([' ', ',', '/']).next()?.parse().ok());
    urls.collect()
}
