//! A log's key that is not in its folder: in an environment variable, or with something else that signs.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_ledger::{Error, Holder};
use onrecord_proof::note::{Note, Signer, Verifier};

use crate::config::SigningKey;

/// How long a command may take to sign. The log signs about once a second, and goes on without a checkpoint meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that are read of a command's answer; a signature has 64, in Base64 88.
const ANSWER_MAX: u64 = 256;

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

    fn ask(&self, text: &[u8]) -> std::io::Result<Vec<u8>> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(std::io::Error::other("it is empty"));
        };
        let mut command = Command::new(program);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // Some hundred bytes, which fit a pipe. A command that does not read them fails by its answer.
            let _ = stdin.write_all(text);
        }
        wait(&mut child)?;
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(ANSWER_MAX).read_to_end(&mut answer)?;
        }
        Ok(answer)
    }
}

/// Waits for its end, not longer than it may take.
fn wait(child: &mut Child) -> std::io::Result<()> {
    let started = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(std::io::Error::other(status.to_string())),
            None if started.elapsed() > PATIENCE => {
                child.kill()?;
                child.wait()?;
                return Err(std::io::Error::other(format!("no answer within {} s", PATIENCE.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}
