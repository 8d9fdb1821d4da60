//! Serves the demo model alone: `cargo run --release -p onrecord-demo-model --example serve -- 8090`

use onrecord_demo_model::{Model, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).as_deref().unwrap_or("8090").parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let interrupted = async {
        // Without a signal handler, an interrupt still ends the process, only less politely.
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(listener, Model::load()?, interrupted).await?;
    Ok(())
}
