//! `onrecord demo`: a small real model, a few conversations with it, and a look at the record that they leave.

mod conversations;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use onrecord_demo_model::Model;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{Calls, DemoArgs, report_text, until_told_to_stop};
use crate::config::{self, Config, Overrides};
use crate::engine::{Filter, ledger_dir};
use crate::server::Server;
use crate::terminal::{Style, Terminal, print_line};

/// Alternatives for each token that the model is asked for.
const ALTERNATIVES: u8 = 4;

/// Runs the tour, then serves until Ctrl-C, unless `--once` was said.
pub(crate) async fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    if args.fresh {
        remove(&args.data)?;
    }
    let config = config(&args)?;
    crate::terminal::log_to_stderr(&config.telemetry);
    let stop = CancellationToken::new();
    let model = serve_model(stop.clone()).await?;
    let at = config::Upstream::at(format!("http://{model}").parse()?);
    let upstream = config::Upstream { decisions: ALTERNATIVES, ..at };
    let server = Server::start(&config, &[upstream]).await?;
    let shown = show(&server, model, &args).await;
    // The log is closed whether or not somebody has read this to the end.
    server.stop().await?;
    stop.cancel();
    Ok(if shown? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tour, and then whatever is asked of the server. True if the log verifies.
async fn show(server: &Server, model: SocketAddr, args: &DemoArgs) -> anyhow::Result<bool> {
    let gateway = server.gateway;
    heading("A small real language model, with onrecord in front of it")?;
    print_line(&format!("  model    http://{model}  tiny-pydoc, 1.9 M parameters: small enough to ship, not clever"))?;
    print_line(&format!("  gateway  http://{gateway}  an OpenAI-compatible base URL is http://{gateway}/v1"))?;
    print_line(&format!("  log      {}", args.data.display()))?;
    heading("A few conversations, as they come on record")?;
    let good = tour(server).await?;
    heading("Try next, in another terminal")?;
    print_line(&what_next(server, args).await?)?;
    if !args.once {
        print_line("\nStill serving; stop with Ctrl-C.")?;
        until_told_to_stop().await?;
    }
    Ok(good)
}

fn heading(text: &str) -> std::io::Result<()> {
    print_line(&format!("\n{}", Terminal::stdout().paint.apply(Style::Bold, text)))
}

/// Only what is a log of ours, or nothing, is removed.
fn remove(data: &Path) -> anyhow::Result<()> {
    if !data.exists() {
        return Ok(());
    }
    if !ledger_dir(data).join("log.json").exists() {
        bail!(
            "{} holds no log, so --fresh does not remove it; remove it yourself, or name another folder with --data",
            data.display()
        );
    }
    std::fs::remove_dir_all(data).with_context(|| format!("removing {}", data.display()))
}

/// The defaults, whatever files lie around; on other ports where the usual ones are taken.
fn config(args: &DemoArgs) -> anyhow::Result<Config> {
    let free = |address: &str| {
        if std::net::TcpListener::bind(address).is_ok() { address.to_owned() } else { "127.0.0.1:0".to_owned() }
    };
    let overrides = Overrides {
        config: None,
        data: Some(args.data.clone()),
        listen: Some(free("127.0.0.1:4100")),
        api: Some(free("127.0.0.1:4180")),
        upstreams: Vec::new(),
    };
    let mut config = config::load_only(&overrides)?;
    config.telemetry.level = tracing::level_filters::LevelFilter::WARN;
    Ok(config)
}

async fn serve_model(stop: CancellationToken) -> anyhow::Result<SocketAddr> {
    let model = tokio::task::spawn_blocking(Model::load).await??;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = onrecord_demo_model::serve(listener, model, async move { stop.cancelled().await });
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the demo model has stopped");
        }
    });
    Ok(address)
}

/// Holds the conversations, shows the calls as they come on record, and verifies the log.
async fn tour(server: &Server) -> anyhow::Result<bool> {
    let first = server.engine.reader().size();
    let talk = tokio::spawn(conversations::hold(server.gateway));
    let table = Calls::for_rows(&[]);
    let mut next = first;
    print_line(&table.header())?;
    loop {
        let over = talk.is_finished();
        let calls = server.engine.list(&Filter { from: Some(next), ..Filter::default() }).await?;
        for call in &calls {
            next = call.leaf_index + 1;
            print_line(&table.line(call))?;
        }
        if over && calls.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    talk.await??;
    heading("Verifying every record against the tree")?;
    let report = server.engine.verify(Arc::new(|_| ())).await?;
    print_line(report_text(&report).trim_end())?;
    if let Some(checkpoint) = &report.checkpoint {
        heading("The signed checkpoint over the whole log")?;
        print_line(checkpoint.trim_end())?;
    }
    Ok(report.ok)
}

async fn what_next(server: &Server, args: &DemoArgs) -> anyhow::Result<String> {
    let (gateway, data) = (server.gateway, args.data.display());
    let first = Filter { from: Some(0), session: Some("support-1".to_owned()), limit: Some(1), ..Filter::default() };
    let call = server.engine.list(&first).await?.first().map_or(0, |call| call.leaf_index);
    let mut next = Vec::new();
    if !args.once {
        next.push(format!("curl http://{gateway}/v1/chat/completions -H 'content-type: application/json' \\"));
        next.push(
            r#"  -d '{"model":"tiny-pydoc","messages":[{"role":"user","content":"What is the capital of France?"}]}'"#
                .into(),
        );
    }
    let commands = [
        "tail -f",
        &format!("show {call}"),
        &format!("show {call} --tokens"),
        "session support-1",
        r#"search 'capital OR "os.path"'"#,
        r#"query "SELECT outcome, count(*), avg(duration_ms) FROM interactions GROUP BY outcome""#,
        &format!("prove {call} --reveal input,output -o evidence.json"),
    ];
    next.extend(commands.map(|command| format!("onrecord --data {data} {command}")));
    next.push(format!("onrecord check evidence.json --key {data}/ledger/key.pub"));
    next.push(
        "(the program is target/release/onrecord; put it on your PATH, or write that path for `onrecord`)".into(),
    );
    Ok(next.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))
}
