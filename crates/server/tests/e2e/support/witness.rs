//! A witness as a process of its own.

use std::path::Path;
use std::process::{Child, Stdio};

use super::log::program;
use super::process::Messages;
use super::wait_for;

/// A running `onrecord witness`. Killed when it is dropped, like one whose machine has lost its power.
pub(crate) struct Witness {
    child: Child,
    messages: Messages,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Witness {
    /// Starts it with its memory in `folder/witness`, for the log with this key.
    pub(crate) fn start(folder: &Path, log: &str) -> Self {
        let mut command = program(folder);
        command.args([
            "witness",
            "--data",
            "witness",
            "--listen",
            "127.0.0.1:0",
            "--name",
            "example.org/w",
            "--log",
            log,
        ]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let messages = Messages::of(child.stderr.take().unwrap());
        let url = wait_for("the witness", || {
            let text = messages.so_far();
            assert!(child.try_wait().unwrap().is_none(), "the witness ended: {text}");
            let after = text.split("checkpoints at  ").nth(1).filter(|_| text.contains("its key"))?;
            Some(after.split("/add-checkpoint").next()?.to_owned())
        });
        let key = std::fs::read_to_string(folder.join("witness/key.pub")).unwrap().trim().to_owned();
        Self { child, messages, url, key }
    }

    /// How a log is configured that has it for a witness.
    pub(crate) fn config(&self) -> String {
        let Self { url, key, .. } = self;
        format!("[[witness]]\nkey = \"{key}\"\nurl = \"{url}\"\n[witnesses]\ninterval = \"100ms\"\n")
    }

    pub(crate) fn messages(&self) -> String {
        self.messages.so_far()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
