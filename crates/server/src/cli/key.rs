//! `onrecord key`: the public keys of a log, and a new one.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use onrecord_proof::KeyHistory;
use serde_json::json;

use super::client::{Client, no_log_in};
use crate::config::{Config, SigningKey};
use crate::terminal::{note, print_json, print_line, stdout};

/// Prints the key that signs.
pub(super) fn print(config: &Config) -> anyhow::Result<ExitCode> {
    print_line(&read(&config.data)?.current().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the keys, and who holds the one that signs.
pub(super) fn show(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let keys = read(&config.data)?;
    if json {
        print_json(&format!("{:#}", as_json(&keys, &config.key)))?;
    } else {
        print_line(crate::terminal::escape_lines(&text(&keys, &config.key)).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints all public keys, with what makes each follow the one before.
pub(super) fn export(config: &Config) -> anyhow::Result<ExitCode> {
    write!(stdout(), "{}", read(&config.data)?)?;
    Ok(ExitCode::SUCCESS)
}

fn read(data: &Path) -> anyhow::Result<KeyHistory> {
    no_log_in(data)?;
    Ok(onrecord_ledger::keys(&crate::engine::ledger_dir(data))?)
}

fn held(key: &SigningKey) -> String {
    match key {
        SigningKey::Folder => "in the data folder, ledger/key".to_owned(),
        SigningKey::Environment(name) => format!("in the environment variable {name}"),
        SigningKey::Command { command, .. } => format!("by the command {}", command.join(" ")),
    }
}

/// Since which size of the tree the newest key signs.
fn since(keys: &KeyHistory) -> u64 {
    keys.rotations().last().map_or(0, onrecord_proof::Rotation::size)
}

fn as_json(keys: &KeyHistory, key: &SigningKey) -> serde_json::Value {
    let before =
        keys.rotations().iter().map(|rotation| json!({ "key": rotation.from().to_string(), "until": rotation.size() }));
    json!({
        "origin": keys.name(),
        "key": keys.current().to_string(),
        "algorithm": "Ed25519",
        "held": held(key),
        "since": since(keys),
        "before": before.collect::<Vec<_>>(),
    })
}

fn text(keys: &KeyHistory, key: &SigningKey) -> String {
    let mut text = format!("log     {}\nkey     {}\nheld    {}\n", keys.name(), keys.current(), held(key));
    text += &format!("signs   checkpoints from {} leaves on, Ed25519\n", since(keys));
    for rotation in keys.rotations().iter().rev() {
        text += &format!("before  {}, until {} leaves\n", rotation.from(), rotation.size());
    }
    text
}

/// Gives the log a new key.
pub(super) async fn rotate(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.post("/api/v1/key/rotate", &json!({}), None).await?;
    let body = http_body_util::BodyExt::collect(answer.into_body()).await?.to_bytes();
    let keys: KeyHistory = String::from_utf8(body.to_vec())?.parse().context("the server's answer")?;
    if json {
        print_json(&format!("{:#}", as_json(&keys, &SigningKey::Folder)))?;
        return Ok(());
    }
    note(
        "The log has a new key, which the old one names on record. Those who have the old one can follow: evidence carries",
    );
    note("the change. Give witnesses, and those who check, the new history: onrecord key export");
    Ok(print_line(&keys.current().to_string())?)
}
