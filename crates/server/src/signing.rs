//! A log's key that is not in its folder: in an environment variable, or with something else that signs.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_ledger::{Error, Holder};
use onrecord_proof::note::{Note, Signer, Verifier};
use rustix::fs::OFlags;

use crate::config::SigningKey;

/// How long a command may take to sign. The log signs about once a second, and goes on without a checkpoint meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that are read of a command's answer; a signature has 64, in Base64 88.
const ANSWER_MAX: usize = 256;

/// Who signs, by the configuration. `None` if the key is in the log's folder.
pub(crate) fn holder(key: &SigningKey) -> anyhow::Result<Option<Arc<dyn Holder>>> {
    Ok(match key {
        SigningKey::Folder => None,
        SigningKey::Environment(name) => {
            let text = std::env::var(name).with_context(|| {
                format!(
                    "the environment variable {name}, which `key.env` names and which must hold the log's secret key"
                )
            })?;
            let signer: Signer = text.parse().with_context(|| format!("the environment variable {name}"))?;
            Some(Arc::new(signer))
        }
        SigningKey::Command { command, public } => {
            Some(Arc::new(CommandHolder { command: command.clone(), public: (**public).clone() }))
        }
    })
}

/// Asks a command: it gets the bytes to sign on its standard input and answers the 64 bytes of the Ed25519 signature, as
/// they are or in Base64.
#[derive(Debug)]
struct CommandHolder {
    command: Vec<String>,
    public: Verifier,
}

impl Holder for CommandHolder {
    fn verifier(&self) -> Verifier {
        self.public.clone()
    }

    fn sign(&self, text: String) -> Result<Note, Error> {
        let answer = self.ask(text.as_bytes()).map_err(|e| self.failed(&e.to_string()))?;
        let raw = (answer.len() == 64).then(|| answer.clone());
        let encoded = || BASE64.decode(String::from_utf8_lossy(&answer).trim()).ok();
        let signature = raw.or_else(encoded).ok_or_else(|| self.failed("its answer is no signature"))?;
        self.public.note(text, signature).map_err(|e| self.failed(&e.to_string()))
    }
}

impl CommandHolder {
    fn failed(&self, problem: &str) -> Error {
        Error::Unavailable(format!("the command that signs, {:?}: {problem}", self.command.join(" ")))
    }

    fn ask(&self, text: &[u8]) -> io::Result<Vec<u8>> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::Error::other("it is empty"));
        };
        let mut command = Command::new(program);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // Some hundred bytes, which fit a pipe. A command that does not read them fails by its answer.
            let _ = stdin.write_all(text);
        }
        let stdout = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        // What it has started may keep the pipe open when it has ended, so the end of the pipe is not waited for.
        rustix::fs::fcntl_setfl(&stdout, OFlags::NONBLOCK)?;
        wait(&mut child, stdout)
    }
}

/// Reads the answer until it has ended, not longer than it may take.
fn wait(child: &mut Child, mut stdout: ChildStdout) -> io::Result<Vec<u8>> {
    let (started, mut answer) = (Instant::now(), Vec::new());
    loop {
        let ended = child.try_wait()?;
        read_all(&mut stdout, &mut answer)?;
        match ended {
            Some(status) if status.success() => return Ok(answer),
            Some(status) => return Err(io::Error::other(status.to_string())),
            None if started.elapsed() > PATIENCE => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other(format!("no answer within {} s", PATIENCE.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Reads what is there. Of an answer that is too long the rest is let go.
fn read_all(stdout: &mut ChildStdout, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; ANSWER_MAX];
    loop {
        match stdout.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => answer.extend(&piece[..read.min(ANSWER_MAX - answer.len())]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> io::Result<Vec<u8>> {
        let public = Signer::from_seed("a/log", &[1; 32]).unwrap().verifier();
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        CommandHolder { command, public }.ask(b"text")
    }

    #[test]
    fn a_command_that_leaves_something_behind_has_answered() {
        let started = Instant::now();
        assert_eq!(shell("sleep 30 & cat").unwrap(), b"text");
        assert_eq!(shell("head -c 100000 /dev/zero").unwrap().len(), ANSWER_MAX);
        assert!(shell("echo no; exit 3").unwrap_err().to_string().contains("exit status: 3"));
        assert!(started.elapsed() < PATIENCE);
    }
}
