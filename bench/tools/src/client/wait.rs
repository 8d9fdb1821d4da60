//! Waiting for a server.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// For what, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the server
    pub address: String,
    /// Path to ask for
    #[arg(long, default_value = "/health")]
    pub path: String,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

/// Between two attempts. It bounds the error of a measured start.
const PAUSE: Duration = Duration::from_millis(1);

/// Returns as soon as the server answers with 200.
pub(crate) async fn until_ok(args: &Args) -> anyhow::Result<()> {
    let patience = Duration::from_secs(args.seconds);
    timeout(patience, async {
        while !answers(args).await.unwrap_or(false) {
            sleep(PAUSE).await;
        }
    })
    .await
    .with_context(|| format!("http://{}{} did not answer with 200 for {} s", args.address, args.path, args.seconds))
}

async fn answers(args: &Args) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(&args.address).await?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", args.path, args.address);
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(&head == b"HTTP/1.1 200")
}
