//! `onrecord tail` and `onrecord list`.

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::client::Client;
use super::format::Calls;
use super::options::{ListArgs, TailArgs};
use super::uri::query;
use crate::engine::{Filter, Summary};
use crate::terminal::{note, print_json, print_line};

pub(super) async fn tail(client: &Client, args: &TailArgs) -> anyhow::Result<()> {
    let path = format!("/api/v1/tail?last={}&follow={}", args.lines, args.follow);
    let mut lines = Lines::of(client.get(&path).await?.into_body());
    let mut table = None;
    while let Some(batch) = lines.next().await? {
        let calls = batch.iter().map(|line| serde_json::from_str(line)).collect::<Result<Vec<Summary>, _>>()?;
        if args.json {
            batch.iter().try_for_each(|line| print_json(line))?;
            continue;
        }
        let begun = table.is_some();
        let table = table.get_or_insert_with(|| Calls::for_rows(&calls));
        if !begun {
            print_line(&table.header())?;
        }
        calls.iter().try_for_each(|call| print_line(&table.line(call)))?;
    }
    Ok(())
}

/// The lines of a body, as many at a time as have come.
pub(super) struct Lines {
    pieces: futures::stream::BoxStream<'static, Result<bytes::Bytes, axum::Error>>,
    rest: Vec<u8>,
}

impl Lines {
    pub(super) fn of(body: axum::body::Body) -> Self {
        Self { pieces: futures::StreamExt::boxed(body.into_data_stream()), rest: Vec::new() }
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Vec<String>>> {
        while let Some(piece) = self.pieces.try_next().await.context("the server broke its answer off")? {
            self.rest.extend_from_slice(&piece);
            let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let whole = self.rest.drain(..=end).collect::<Vec<_>>();
            let lines = String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect::<Vec<_>>();
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }
}

pub(super) async fn list(client: &Client, args: &ListArgs) -> anyhow::Result<()> {
    let ListArgs { since, until, model, session, request_id, outcome, tag, calls_only, limit, json } = args.clone();
    let filter = Filter {
        since: since.as_deref().map(time).transpose()?,
        until: until.as_deref().map(time).transpose()?,
        model,
        session,
        request_id,
        outcome,
        tag,
        from: None,
        calls_only,
        limit: Some(limit),
    };
    let body = client.get(&format!("/api/v1/calls?{}", query(&filter)?)).await?.into_body().collect().await?.to_bytes();
    if json {
        return Ok(print_json(&String::from_utf8_lossy(&body))?);
    }
    let calls: Vec<Summary> = serde_json::from_slice(&body)?;
    if calls.is_empty() {
        note("no calls");
        return Ok(());
    }
    let table = Calls::for_rows(&calls);
    print_line(&table.header())?;
    calls.iter().try_for_each(|call| print_line(&table.line(call)))?;
    if calls.len() == limit {
        note(format_args!("the newest {limit}; more with -n"));
    }
    Ok(())
}

/// RFC 3339, a local date or date and time, or how long ago; as microseconds since 1970-01-01 UTC.
pub(super) fn time(text: &str) -> anyhow::Result<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        return Ok(local.to_zoned(jiff::tz::TimeZone::system())?.timestamp().as_microsecond());
    }
    if let Some(ago) = ago(text) {
        return Ok(Zoned::now().timestamp().checked_sub(ago)?.as_microsecond());
    }
    bail!("{text:?} is no time; write it as 2026-01-31, 2026-01-31T09:30:00Z, or how long ago: 90m, 2h, 7d")
}

/// `90m`, `2h`, `7d`.
fn ago(text: &str) -> Option<SignedDuration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(seconds).map(SignedDuration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        assert_eq!(time("2026-01-31T00:00:00Z").unwrap(), 1_769_817_600_000_000);
        assert!(time("2026-01-31").is_ok() && time("2026-01-31T09:30").is_ok());
        let hour = Timestamp::now().as_microsecond() - time("1h").unwrap();
        assert!((3_599_000_000..=3_600_000_000).contains(&hour));
        for bad in ["", "yesterday", "7", "7y", "99999999999999999999d"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
