//! `onrecord session` and `onrecord show --tokens`.

use std::io::Write as _;
use std::time::Duration;

use super::client::Client;
use super::trace::records;
use super::uri::segment;
use crate::engine::{Alternative, Conversation, Decision, Session, Turn};
use crate::terminal::{
    Cell, Column, Terminal, clock, duration, escape, escape_lines, note, print_json, print_line, stdout, table,
};

/// Alternatives of a token that a line has room for.
const ALTERNATIVES: usize = 3;

pub(super) async fn list(client: &Client, limit: usize, json: bool) -> anyhow::Result<()> {
    let sessions: Vec<Session> = client.json(&format!("/api/v1/sessions?limit={limit}")).await?;
    if json {
        return Ok(print_json(&serde_json::to_string_pretty(&sessions)?)?);
    }
    if sessions.is_empty() {
        note("no sessions; a call names its session with the header x-onrecord-session, or in its own dialect");
        return Ok(());
    }
    let right = |name: &'static str| Column::new(name).right();
    let columns = vec![
        Column::new("last"),
        Column::new("session"),
        right("calls"),
        right("errors"),
        right("steps"),
        right("tokens in"),
        right("out"),
        right("time"),
        right("score"),
        Column::new("models"),
    ];
    let rows: Vec<_> = sessions.iter().map(session_cells).collect();
    Ok(write!(stdout(), "{}", table(columns, &rows, Terminal::stdout()))?)
}

fn session_cells(session: &Session) -> Vec<Cell> {
    let number = |number: Option<i64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
    vec![
        clock(session.last_us).into(),
        session.name.clone().into(),
        session.calls.to_string().into(),
        session.errors.to_string().into(),
        session.steps.to_string().into(),
        number(session.input_tokens).into(),
        number(session.output_tokens).into(),
        session.duration_ms.map_or_else(|| "–".to_owned(), |ms| duration(millis(ms))).into(),
        session.mean_score.map_or_else(|| "–".to_owned(), |score| format!("{score:.2}")).into(),
        session.models.join(", ").into(),
    ]
}

fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

pub(super) async fn show(client: &Client, session: &str, json: bool) -> anyhow::Result<()> {
    let conversation: Conversation = client.json(&format!("/api/v1/sessions/{}", segment(session))).await?;
    if json {
        return Ok(print_json(&serde_json::to_string_pretty(&conversation)?)?);
    }
    lines(&conversation).iter().try_for_each(|line| print_line(line)).map_err(Into::into)
}

/// A line about each record, and below it what was said.
fn lines(conversation: &Conversation) -> Vec<String> {
    let turns = &conversation.turns;
    let more = if conversation.more { ", and more" } else { "" };
    let count = records(turns.len());
    let mut lines = vec![format!("session {}, {count}{more}", escape(&conversation.session))];
    for turn in turns {
        lines.push(String::new());
        lines.push(format!("{}  {}", clock(turn.began_us), escape(&about(turn))));
        lines.extend(said("> ", turn.prompt.as_deref()));
        lines.extend(said("< ", turn.answer.as_deref()));
        lines.extend(said("! ", turn.error_message.as_deref()));
        lines.extend(said("  ", turn.comment.as_deref()));
    }
    lines
}

fn about(turn: &Turn) -> String {
    let what = match (turn.kind.as_str(), &turn.step) {
        ("step", Some(step)) => step.clone(),
        ("interaction", _) => "call".to_owned(),
        (kind, _) => kind.to_owned(),
    };
    let tokens = match (turn.input_tokens, turn.output_tokens) {
        (None, None) => None,
        (input, output) => {
            let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
            Some(format!("{} → {} tokens", number(input), number(output)))
        }
    };
    let took = turn.duration_us.and_then(|us| u64::try_from(us).ok()).map(|us| duration(Duration::from_micros(us)));
    let parts = [
        Some(what),
        turn.name.clone(),
        turn.model.clone(),
        turn.outcome.clone().filter(|_| turn.kind != "feedback"),
        took,
        tokens,
        turn.score.map(|score| score.to_string()),
        turn.label.clone(),
        turn.subject.as_ref().filter(|_| turn.kind == "feedback").map(|subject| format!("on {subject}")),
        Some(turn.id.clone()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

fn said(mark: &str, text: Option<&str>) -> Vec<String> {
    let text = text.map(escape_lines).unwrap_or_default();
    text.lines().map(|line| format!("  {mark}{line}")).collect()
}

pub(super) async fn tokens(client: &Client, record: &str, json: bool) -> anyhow::Result<()> {
    let decisions: Vec<Decision> = client.json(&format!("/api/v1/calls/{}/tokens", segment(record))).await?;
    if json {
        return Ok(print_json(&serde_json::to_string_pretty(&decisions)?)?);
    }
    if decisions.is_empty() {
        note(
            "this record has no token decisions; with `decisions = 5` in [gateway] the model server is asked for them",
        );
        return Ok(());
    }
    let several = decisions.iter().any(|decision| decision.choice > 0);
    let right = |name: &'static str| Column::new(name).right();
    let mut columns =
        vec![right("#"), right("id"), Column::new("token"), right("p %"), right("entropy"), right("margin")];
    columns.extend([right("ms"), Column::new("instead, p %")]);
    if several {
        columns.insert(0, right("answer"));
    }
    let rows: Vec<_> = decisions.iter().map(|decision| token_cells(decision, several)).collect();
    Ok(write!(stdout(), "{}", table(columns, &rows, Terminal::stdout()))?)
}

fn token_cells(decision: &Decision, several: bool) -> Vec<Cell> {
    let number =
        |number: Option<f64>, digits: usize| number.map_or_else(|| "–".to_owned(), |n| format!("{n:.digits$}"));
    let others = decision.alternatives.iter().filter(|other| other.text != decision.text).take(ALTERNATIVES);
    let others: Vec<_> = others.map(alternative).collect();
    let choice = several.then(|| decision.choice.to_string().into());
    choice
        .into_iter()
        .chain([
            decision.position.to_string().into(),
            decision.token_id.map_or_else(|| "–".to_owned(), |id| id.to_string()).into(),
            quoted(&decision.text).into(),
            number(percent(decision.logprob), 1).into(),
            number(decision.entropy, 3).into(),
            number(decision.margin, 3).into(),
            number(decision.after_ms, 1).into(),
            others.join("  ").into(),
        ])
        .collect()
}

fn percent(logprob: Option<f64>) -> Option<f64> {
    logprob.map(|logprob| logprob.exp() * 100.0)
}

fn alternative(other: &Alternative) -> String {
    let percent = percent(other.logprob).map_or_else(|| "–".to_owned(), |percent| format!("{percent:.1}"));
    format!("{} {percent}", quoted(&other.text))
}

/// In quotes, since many tokens begin with a space.
fn quoted(text: &str) -> String {
    format!("“{text}”")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_reads_as_it_went() {
        let call = Turn {
            id: "a".into(),
            kind: "interaction".into(),
            duration_us: Some(1500),
            model: Some("tiny".into()),
            prompt: Some("Is it\nin stock?".into()),
            answer: Some("Yes\u{1b}".into()),
            input_tokens: Some(7),
            outcome: Some("completed".into()),
            ..Turn::default()
        };
        let judged = Turn {
            id: "b".into(),
            kind: "feedback".into(),
            subject: Some("a".into()),
            score: Some(1.0),
            comment: Some("right".into()),
            ..Turn::default()
        };
        let lines = lines(&Conversation { session: "s-1".into(), turns: vec![call, judged], more: false });
        assert_eq!(lines[0], "session s-1, 2 records");
        assert!(lines[2].ends_with("  call  tiny  completed  1.50 ms  7 → ? tokens  a"), "{lines:?}");
        assert_eq!(lines[3..6], ["  > Is it", "  > in stock?", "  < Yes\\u{1b}"]);
        assert!(lines[7].ends_with("  feedback  1  on a  b") && lines[8] == "    right", "{lines:?}");
    }
}
