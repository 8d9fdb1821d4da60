//! `onrecord search`.

use std::fmt::Write as _;

use http_body_util::BodyExt as _;

use super::calls::time;
use super::client::Client;
use super::options::SearchArgs;
use super::uri;
use crate::engine::{Hit, Search, SearchAnswer};
use crate::terminal::{Style, Terminal, clock_of, count, escape, note, print_json, print_line};

pub(super) async fn search(client: &Client, args: &SearchArgs) -> anyhow::Result<()> {
    let SearchArgs { query, since, until, newest, limit, json } = args.clone();
    let search = Search {
        q: query.join(" "),
        since: since.as_deref().map(time).transpose()?,
        until: until.as_deref().map(time).transpose()?,
        newest,
        limit: Some(limit),
    };
    let body =
        client.get(&format!("/api/v1/search?{}", uri::query(&search)?)).await?.into_body().collect().await?.to_bytes();
    if json {
        return Ok(print_json(&String::from_utf8_lossy(&body))?);
    }
    let answer: SearchAnswer = serde_json::from_slice(&body)?;
    let terminal = Terminal::stdout();
    answer.hits.iter().try_for_each(|hit| print_line(&shown(hit, terminal)))?;
    let (shown, total) = (answer.hits.len() as u64, answer.total);
    match total {
        0 => note("nothing was found"),
        _ if shown < total => note(format_args!("{} of {} hits; more with -n", count(shown), count(total))),
        _ => note(format_args!("{} hit{}", count(total), if total == 1 { "" } else { "s" })),
    }
    Ok(())
}

/// A line that names the record, and one with the snippet, if the record has texts.
fn shown(hit: &Hit, terminal: Terminal) -> String {
    let mut text = format!("{}  {}", clock_of(&hit.time), terminal.paint.apply(Style::Bold, &escape(&hit.id)));
    // Where nothing but values was asked for, all are as good.
    if hit.score > 0.0 {
        let _ = write!(text, "  score {:.2}", hit.score);
    }
    let named = [("session", &hit.session), ("model", &hit.model)];
    for (name, value) in named.iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        let _ = write!(text, "  {name} {}", escape(value));
    }
    if hit.kind != "interaction" {
        let _ = write!(text, "  {}", escape(&hit.kind));
    }
    if !hit.snippet.is_empty() {
        let _ = write!(text, "\n    {}: ", escape(&hit.place));
    }
    for piece in &hit.snippet {
        let piece_text = escape(&piece.text);
        text += &if piece.found { terminal.paint.apply(Style::Yellow, &piece_text) } else { piece_text.into() };
    }
    text
}
