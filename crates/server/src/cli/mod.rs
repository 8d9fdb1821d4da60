//! The command line.

mod calls;
mod check;
mod client;
mod configs;
mod export;
mod format;
mod forward;
mod keep;
mod key;
mod media;
mod monitor;
mod options;
mod query;
mod search;
mod serve;
mod session;
mod setup;
mod show;
mod slow;
mod templates;
mod trace;
mod uri;
mod verify;
mod witness;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::config::{self, Loaded, Overrides};
use client::Client;
use options::{Cli, Command, ConfigCommand, Global, KeyCommand, ServeArgs, ShowArgs};

#[cfg(feature = "demo")]
pub(crate) use format::Calls;
#[cfg(feature = "demo")]
pub(crate) use options::DemoArgs;
#[cfg(feature = "demo")]
pub(crate) use serve::until_told_to_stop;
#[cfg(feature = "demo")]
pub(crate) use verify::text as report_text;

/// Something is wrong with what was checked, as opposed to: the check could not be made.
const NOT_GOOD: u8 = 1;
/// The command could not do its work.
const FAILED: u8 = 2;

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let done = runtime.block_on(run(cli));
    // What still runs on a blocking thread, e.g. a read of standard input, is not waited for.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| fail(&error))
}

/// Prints an error with its causes, unless it is only that nobody reads our output any more (`onrecord list | head`).
fn fail(error: &anyhow::Error) -> ExitCode {
    if crate::terminal::is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    crate::terminal::note(format_args!("error: {}", crate::terminal::escape_lines(&format!("{error:#}"))));
    ExitCode::from(FAILED)
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => completions(shell),
        Command::Check(args) => check::check(&args),
        Command::Monitor(args) => monitor::monitor(global.token.as_deref(), &args).await,
        #[cfg(feature = "demo")]
        Command::Demo(args) => crate::demo::demo(args).await,
        Command::Config { command: ConfigCommand::Example } => setup::config_example(),
        Command::Config { command: ConfigCommand::Check } => setup::config_check(&load(&global)?).await,
        Command::Serve(args) => serve::serve(&load_to_serve(&global, args)?.config).await,
        Command::Witness(args) => {
            witness::witness(global.data.as_deref(), &load(&global)?.config.telemetry, &args).await
        }
        Command::Token { command } => setup::token(&load_here(&global, "tokens")?.config.data, command),
        Command::Verify { json } => verify::verify(&load(&global)?.config, global.remote(), json).await,
        Command::Fsck(args) => verify::fsck(&load(&global)?.config, args).await,
        Command::Key { command: None } => key::print(&load_here(&global, "keys")?.config),
        Command::Key { command: Some(KeyCommand::Show { json }) } => {
            key::show(&load_here(&global, "keys")?.config, json)
        }
        Command::Key { command: Some(KeyCommand::Export) } => key::export(&load_here(&global, "keys")?.config),
        Command::Key { command: Some(KeyCommand::Rotate { json }) } => {
            ask(&global, async |log| key::rotate(log, json).await).await
        }
        Command::Tail(args) => ask(&global, async |log| calls::tail(log, &args).await).await,
        Command::List(args) => ask(&global, async |log| calls::list(log, &args).await).await,
        Command::Show(args) => ask(&global, async |log| show(log, args).await).await,
        Command::Session { session: Some(session), json, .. } => {
            ask(&global, async |log| session::show(log, &session, json).await).await
        }
        Command::Session { session: None, limit, json } => {
            ask(&global, async |log| session::list(log, limit, json).await).await
        }
        Command::Templates { json } => ask(&global, async |log| templates::list(log, json).await).await,
        Command::Template { command } => ask(&global, async |log| templates::change(log, &command).await).await,
        Command::ConfigDiff(args) => ask(&global, async |log| configs::diff(log, &args).await).await,
        Command::Deploy(args) => ask(&global, async |log| configs::deploy(log, &args).await).await,
        Command::Trace { wanted, json } => ask(&global, async |log| trace::trace(log, &wanted, json).await).await,
        Command::Feedback(args) => ask(&global, async |log| trace::feedback(log, &args).await).await,
        Command::Slow(args) => ask(&global, async |log| slow::slow(log, args).await).await,
        Command::Search(args) => ask(&global, async |log| search::search(log, &args).await).await,
        Command::Query(args) => ask(&global, async |log| query::query(log, args).await).await,
        Command::Export(args) => ask(&global, async |log| export::export(log, &args).await).await,
        Command::Prove(args) => ask(&global, async |log| check::prove(log, &args).await).await,
        Command::Erase(args) => ask(&global, async |log| keep::erase(log, args).await).await,
        Command::Hold { command } => ask(&global, async |log| keep::hold(log, command).await).await,
        Command::Retention { command } => ask(&global, async |log| keep::retention(log, command).await).await,
        Command::Forward { command } => ask(&global, async |log| forward::forward(log, command).await).await,
        Command::Stats { json } => ask(&global, async |log| show::stats(log, json).await).await,
    }
}

/// The configuration, for a command about what is in the data folder and not to be had from a server.
fn load_here(global: &Global, what: &str) -> anyhow::Result<Loaded> {
    anyhow::ensure!(
        global.server.is_none(),
        "{what} are in the data folder, and not to be had from a server: leave --server (or ONRECORD_SERVER) out, and name the folder with --data"
    );
    load(global)
}

fn load(global: &Global) -> anyhow::Result<Loaded> {
    let Global { config, data, .. } = global.clone();
    Ok(config::load(&Overrides { config, data, ..Overrides::default() })?)
}

fn load_to_serve(global: &Global, args: ServeArgs) -> anyhow::Result<Loaded> {
    let (Global { config, data, .. }, ServeArgs { upstream, listen, api }) = (global.clone(), args);
    Ok(config::load(&Overrides { config, data, listen, upstreams: upstream, api })?)
}

/// Has a command ask the log.
async fn ask(global: &Global, command: impl AsyncFnOnce(&Client) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&load(global)?.config, global.remote()).await?;
    let done = command(&client).await;
    // The log is closed however the command ended.
    let closed = client.close().await;
    done.and(closed).map(|()| ExitCode::SUCCESS)
}

async fn show(log: &Client, args: ShowArgs) -> anyhow::Result<()> {
    let ShowArgs { record, tokens, media, output, json } = args;
    match media {
        _ if tokens => session::tokens(log, &record, json).await,
        Some(number) => media::write(log, &record, number, output.as_deref()).await,
        None => show::show(log, &record, json).await,
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    // Into memory first: the generator panics if its reader has gone.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "onrecord", &mut script);
    crate::terminal::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
