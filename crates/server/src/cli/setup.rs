//! `onrecord token` and `onrecord config`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use onrecord_lake::LakeOptions;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::options::TokenCommand;
use crate::alerts::Alerts;
use crate::auth::{Token, Tokens};
use crate::config::{self, Config, Effective, Loaded};
use crate::engine::{Engine, Options};
use crate::outside::Outside;
use crate::shipping::Shipping;
use crate::terminal::{Cell, Column, Terminal, clock, escape, note, print_json, print_line, stdout, table};

/// Bytes of the segment that a log without records has.
const SEGMENT: u64 = 1 << 20;

pub(super) fn token(data: &Path, command: TokenCommand) -> anyhow::Result<ExitCode> {
    let tokens = Tokens::load(data)?;
    match command {
        TokenCommand::Create { role, name } => {
            let (token, text) = tokens.create(&name, role)?;
            note(format_args!("Token {} of role {role} for {}. Its text is shown this once:", token.id, escape(&name)));
            writeln!(stdout(), "{}", text.reveal())?;
        }
        TokenCommand::List { json: true } => {
            let list: Vec<_> = tokens.list().iter().map(as_json).collect();
            print_json(&format!("{:#}", json!(list)))?;
        }
        TokenCommand::List { json: false } => {
            let columns = ["id", "name", "role", "created", "revoked"].map(Column::new).into();
            let rows: Vec<_> = tokens.list().iter().map(row).collect();
            write!(stdout(), "{}", table(columns, &rows, Terminal::stdout()))?;
        }
        TokenCommand::Revoke { id } => {
            tokens.revoke(&id)?;
            note(format_args!("revoked {}", escape(&id)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(token: &Token) -> serde_json::Value {
    let Token { id, name, role, created, revoked, .. } = token;
    json!({ "id": id, "name": name, "role": role, "created": created, "revoked": revoked })
}

fn row(token: &Token) -> Vec<Cell> {
    let revoked = token.revoked.map_or_else(|| "–".to_owned(), |time| clock(time.as_microsecond()));
    let created = clock(token.created.as_microsecond());
    vec![token.id.as_str().into(), token.name.as_str().into(), token.role.name().into(), created.into(), revoked.into()]
}

pub(super) fn config_example() -> anyhow::Result<ExitCode> {
    print_line(config::example().trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Reads what the configuration names elsewhere, as the server does when it starts: keys of the environment, certificates.
async fn try_out(config: &Config) -> anyhow::Result<()> {
    if config.gateway.upstream.is_some() || !config.upstreams.is_empty() {
        config.upstreams()?;
    }
    config.tls.clone().map(crate::tls::server_config).transpose()?;
    try_statements(crate::server::engine_options(config)?).await
}

/// Plans what alerts look for and what is forwarded, on a log without records: nothing of the one that is configured is
/// touched, neither its key nor its bucket.
async fn try_statements(configured: Options) -> anyhow::Result<()> {
    if configured.alerts.is_empty() && configured.forward.is_empty() {
        return Ok(());
    }
    let folder = tempfile::tempdir().context("a folder to try statements in; TMPDIR names where")?;
    let options = Options {
        ledger: onrecord_ledger::Options { segment_size: SEGMENT, ..onrecord_ledger::Options::default() },
        lake: LakeOptions { store: None, ..configured.lake },
        outside: Outside::default(),
        retention: None,
        ..configured
    };
    let engine = Engine::open(folder.path(), options).await?;
    drop(Alerts::tasks(&engine, &CancellationToken::new()).await?);
    Shipping::try_out(&engine).await?;
    engine.close().await
}

pub(super) async fn config_check(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    try_out(&loaded.config).await?;
    match &loaded.file {
        Some(file) => note(format_args!("{} is good", file.display())),
        None => note("there is no onrecord.toml; these are the defaults"),
    }
    let row = |line: &Effective| {
        vec![line.key.clone().into(), line.value.as_deref().unwrap_or("–").into(), line.place.to_string().into()]
    };
    let rows: Vec<_> = loaded.effective.iter().map(row).collect();
    let columns = ["key", "value", "from"].map(Column::new).into();
    write!(stdout(), "{}", table(columns, &rows, Terminal::stdout()))?;
    Ok(ExitCode::SUCCESS)
}
