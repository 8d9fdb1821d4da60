//! The body of a chat completion request.

use serde_json::{Value, json};

/// What the request is like.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ask for a stream
    #[arg(long)]
    pub stream: bool,
    /// Bytes of the body
    #[arg(long, default_value_t = 1024)]
    pub bytes: usize,
}

const FILLER: &str = "What does this benchmark send? One message that is long enough, again and again. ";

fn request(content: &str, stream: bool) -> Value {
    json!({
        "model": "bench", "messages": [{"role": "user", "content": content}],
        "temperature": 0.7, "max_tokens": 64, "stream": stream,
    })
}

/// Of about `bytes` bytes.
pub(crate) fn body(args: &Args) -> String {
    let content = args.bytes.saturating_sub(request("", args.stream).to_string().len());
    let content: String = FILLER.chars().cycle().take(content).collect();
    request(&content, args.stream).to_string()
}
