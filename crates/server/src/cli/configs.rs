//! `onrecord config-diff` and `onrecord deploy`.

use serde_json::{Value, json};

use super::calls::time;
use super::client::Client;
use super::options::{ConfigDiffArgs, DeployArgs};
use crate::terminal::{escape, print_json, print_line};

pub(super) async fn diff(client: &Client, args: &ConfigDiffArgs) -> anyhow::Result<()> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("a", &wanted(&args.a)).append_pair("b", &wanted(&args.b));
    for (name, value) in [("upstream", &args.upstream), ("model", &args.model)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let diff: Value = client.json(&format!("/api/v1/config-diff?{}", query.finish())).await?;
    if args.json {
        return Ok(print_json(&format!("{diff:#}"))?);
    }
    let changes: Vec<_> = diff["changes"].as_array().into_iter().flatten().collect();
    for side in ["a", "b"] {
        let of = |name: &str| diff[side][name].as_str().map(|text| escape(text).into_owned()).unwrap_or_default();
        let config =
            diff[side]["config"].as_str().map(|id| format!(", under config {}", escape(id))).unwrap_or_default();
        print_line(&format!("{side}  {} {} {}{config}", of("time"), of("kind"), of("id")))?;
    }
    if changes.is_empty() {
        print_line("nothing changed")?;
    }
    for change in changes {
        print_line(&format!("  {}", escape(change["words"].as_str().unwrap_or_default())))?;
    }
    Ok(())
}

/// An id or a leaf as it is; anything that reads as a time as RFC 3339.
fn wanted(text: &str) -> String {
    if text.parse::<crate::engine::Wanted>().is_ok() {
        return text.to_owned();
    }
    let at = time(text).ok().and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
    at.map_or_else(|| text.to_owned(), |at| at.to_string())
}

pub(super) async fn deploy(client: &Client, args: &DeployArgs) -> anyhow::Result<()> {
    let body = json!({ "note": args.note, "upstream": args.upstream });
    let answer: Value = client.post_json("/api/v1/deployments", &body).await?;
    print_line(&format!("announced, on record as {}", escape(answer["id"].as_str().unwrap_or_default())))?;
    Ok(())
}
