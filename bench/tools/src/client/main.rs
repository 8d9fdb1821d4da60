//! What the benchmarks need besides wrk: the request to send, the time to the first token, the time of one fdatasync,
//! and the moment at which a server begins to answer. Results are JSON on standard output.

mod disk;
mod first_token;
mod request;
mod times;
mod wait;

use clap::{Parser, Subcommand};

/// Measures what wrk does not.
#[derive(Debug, Parser)]
#[command(name = "bench-client")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the body of a chat completion request
    Request(request::Args),
    /// Measure how much later the first token arrives than it left the upstream
    FirstToken(first_token::Args),
    /// Measure how long one fdatasync takes on the disk of a folder
    Fdatasync(disk::Args),
    /// Wait until a server answers with 200
    Wait(wait::Args),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Request(args) => println!("{}", request::body(&args)),
        Command::FirstToken(args) => println!("{:#}", first_token::measure(&args).await?),
        Command::Fdatasync(args) => println!("{:#}", disk::measure(&args)?),
        Command::Wait(args) => wait::until_ok(&args).await?,
    }
    Ok(())
}
