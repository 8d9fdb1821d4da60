//! `onrecord templates` and `onrecord template add`.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::client::Client;
use super::options::TemplateCommand;
use crate::engine::Template;
use crate::terminal::{escape, note, print_json, print_line};

pub(super) async fn list(client: &Client, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return Ok(print_json(&format!("{:#}", client.json::<Value>("/api/v1/templates").await?))?);
    }
    let templates: Vec<Template> = client.json("/api/v1/templates").await?;
    if templates.is_empty() {
        note("no templates; calls name theirs in the header x-onrecord-template");
    }
    for template in templates {
        let version = template.version.map(|version| format!("@{version}")).unwrap_or_default();
        let seen = match (template.first_seen, template.last_seen) {
            (Some(first), Some(last)) => format!("{} calls from {first} to {last}", template.calls),
            _ => "no calls".into(),
        };
        let digest = template.sha256.unwrap_or_else(|| "no digest".into());
        let kept = if template.text_id.is_some() { ", text on record" } else { "" };
        print_line(&format!("{}  {seen}  {}{kept}", escape(&(template.name + &version)), escape(&digest)))?;
    }
    Ok(())
}

pub(super) async fn change(client: &Client, command: &TemplateCommand) -> anyhow::Result<()> {
    let TemplateCommand::Add { name, file } = command;
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let body = json!({ "name": name, "text": text });
    let answer: Value = client.post_json("/api/v1/templates", &body).await?;
    print_line(&format!("on record, sha256 {}", escape(answer["sha256"].as_str().unwrap_or_default())))?;
    Ok(())
}
