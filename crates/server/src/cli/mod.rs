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
mod verify;
mod witness;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::config;
use client::Client;
use options::{Cli, Command, ConfigCommand, KeyCommand, ShowArgs};

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
    eprintln!("error: {}", crate::terminal::escape_lines(&format!("{error:#}")));
    ExitCode::from(FAILED)
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => {
            // Into memory first: the generator panics if its reader has gone.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "onrecord", &mut script);
            io::stdout().write_all(&script)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Check(args) => return check::check(&args),
        Command::Monitor(args) => return monitor::monitor(global.token.as_deref(), &args).await,
        Command::Config { command: ConfigCommand::Example } => {
            crate::terminal::print_line(config::example().trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        #[cfg(feature = "demo")]
        Command::Demo(args) => return crate::demo::demo(args).await,
        _ => {}
    }
    let (listen, upstreams, api) = match &command {
        Command::Serve(args) => (args.listen.clone(), args.upstream.clone(), args.api.clone()),
        _ => (None, Vec::new(), None),
    };
    let overrides =
        config::Overrides { config: global.config.clone(), data: global.data.clone(), listen, upstreams, api };
    let loaded = config::load(&overrides)?;
    match command {
        Command::Config { command: ConfigCommand::Check } => setup::config_check(&loaded),
        Command::Serve(_) => serve::serve(&loaded.config).await,
        Command::Witness(args) => witness::witness(global.data.as_deref(), &loaded.config.telemetry, &args).await,
        Command::Token { command } => setup::token(&loaded.config.data, command),
        Command::Key { command: command @ (None | Some(KeyCommand::Show { .. } | KeyCommand::Export)) } => {
            key::key(&loaded.config, command.as_ref())
        }
        Command::Verify { json } => verify::verify(&loaded.config, global.remote(), json).await,
        Command::Fsck(args) => verify::fsck(&loaded.config, args).await,
        command => ask(command, Client::connect(&loaded.config, global.remote()).await?).await,
    }
}

/// The commands that ask a log.
async fn ask(command: Command, client: Client) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Tail(args) => calls::tail(&client, &args).await,
        Command::List(args) => calls::list(&client, &args).await,
        Command::Show(ShowArgs { record, tokens: true, json, .. }) => session::tokens(&client, &record, json).await,
        Command::Show(ShowArgs { record, media: Some(number), output, .. }) => {
            media::write(&client, &record, number, output.as_deref()).await
        }
        Command::Show(ShowArgs { record, json, .. }) => show::show(&client, &record, json).await,
        Command::Session { session: Some(session), json, .. } => session::show(&client, &session, json).await,
        Command::Session { limit, json, .. } => session::list(&client, limit, json).await,
        Command::Templates { json } => templates::list(&client, json).await,
        Command::Template { command } => templates::change(&client, &command).await,
        Command::ConfigDiff(args) => configs::diff(&client, &args).await,
        Command::Deploy(args) => configs::deploy(&client, &args).await,
        Command::Trace { wanted, json } => trace::trace(&client, &wanted, json).await,
        Command::Feedback(args) => trace::feedback(&client, &args).await,
        Command::Slow(args) => slow::slow(&client, args).await,
        Command::Search(args) => search::search(&client, &args).await,
        Command::Query(args) => query::query(&client, args).await,
        Command::Export(args) => export::export(&client, &args).await,
        Command::Prove(args) => check::prove(&client, &args).await,
        Command::Erase(args) => keep::erase(&client, args).await,
        Command::Hold { command } => keep::hold(&client, command).await,
        Command::Retention { command } => keep::retention(&client, command).await,
        Command::Forward { command } => forward::forward(&client, command).await,
        Command::Key { command: Some(KeyCommand::Rotate { json }) } => key::rotate(&client, json).await,
        Command::Stats { json } => show::stats(&client, json).await,
        _ => Ok(()),
    };
    // The log is closed however the command ended.
    let closed = client.close().await;
    done.and(closed).map(|()| ExitCode::SUCCESS)
}
