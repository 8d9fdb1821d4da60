//! Records as syslog messages (RFC 5424).

use std::borrow::Cow;
use std::fmt::Write as _;

use onrecord_proof::Value;

use super::record::{Outgoing, Severity, cut, longest};
use crate::render;

/// The names of facilities in the order of their numbers (RFC 5424 table 1; the usual short names).
pub(crate) const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// Bytes that a value keeps at least; what has no room even for that is left out.
const LEAST: usize = 16;
/// Room for the list of what was cut and the count of what was left out.
const SAID: usize = 160;
/// An SD-NAME has at most so many bytes.
const NAME_MAX: usize = 32;
/// Fields whose names are too long without their prefix.
const SHORT: [(&str, &str); 2] = [
    ("gen_ai.usage.cache_creation.input_tokens", "usage.cache_creation_tokens"),
    ("openai.response.system_fingerprint", "system_fingerprint"),
];

/// What every message has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// The number of the facility.
    pub facility: u8,
    /// The private enterprise number behind the name of the structured data.
    pub enterprise: usize,
    pub hostname: String,
    /// Bytes of a message at most.
    pub max: usize,
}

impl Severity {
    const fn number(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

/// A parameter of the structured data, its value escaped.
struct Parameter {
    name: String,
    value: String,
}

impl Parameter {
    fn new(name: impl Into<String>, value: &str) -> Self {
        Self { name: name.into(), value: escaped(value) }
    }

    /// Bytes without the value: a space, the name, `="` and `"`.
    fn around(&self) -> usize {
        self.name.len() + 4
    }

    /// Cuts the value, and not in the middle of an escape.
    fn cut(&mut self, most: usize) {
        let mut left = cut(&self.value, most);
        let backslashes = left.bytes().rev().take_while(|byte| *byte == b'\\').count();
        if backslashes % 2 == 1 {
            left = &left[..left.len() - 1];
        }
        self.value.truncate(left.len());
    }
}

impl Form {
    /// The message of a record, without framing.
    pub(crate) fn message(&self, record: &Outgoing) -> String {
        let Self { facility, enterprise, hostname, max } = self;
        let priority = facility * 8 + record.severity.number();
        let (time, kind) = (render::time(record.captured_at), record.kind.name());
        let head = format!("<{priority}>1 {time} {hostname} onrecord - {kind} [onrecord@{enterprise}");
        // What is not ASCII is marked as UTF-8 by a byte order mark.
        let mark = if record.summary.is_ascii() { "" } else { "\u{feff}" };
        let tail = format!("] {mark}{}", cut(&record.summary, LEAST * 8));
        let room = max.saturating_sub(head.len() + tail.len());
        let mut message = head;
        for Parameter { name, value } in fitted(parameters(record), room) {
            let _ = write!(message, " {name}=\"{value}\"");
        }
        message + &tail
    }
}

/// The parameters, cut so that they take no more than `room`, which the last ones then say.
fn fitted(mut all: Vec<Parameter>, room: usize) -> Vec<Parameter> {
    let whole: usize = all.iter().map(|one| one.around() + one.value.len()).sum();
    if whole <= room {
        return all;
    }
    let mut room = room.saturating_sub(SAID);
    let mut used = 0;
    let kept = all.iter().take_while(|one| {
        used += one.around() + one.value.len().min(LEAST);
        used <= room
    });
    let kept = kept.count();
    let omitted = all.len() - kept;
    all.truncate(kept);
    room -= all.iter().map(Parameter::around).sum::<usize>();
    let most = longest(all.iter().map(|one| one.value.len()), room);
    let mut shortened = Vec::new();
    for one in all.iter_mut().filter(|one| one.value.len() > most) {
        one.cut(most);
        shortened.push(one.name.clone());
    }
    if !shortened.is_empty() {
        all.push(Parameter::new("truncated", cut(&shortened.join(","), SAID / 2)));
    }
    if omitted > 0 {
        all.push(Parameter::new("omitted", &omitted.to_string()));
    }
    all
}

fn parameters(record: &Outgoing) -> Vec<Parameter> {
    let mut all = vec![
        Parameter::new("leaf_index", &record.leaf_index.to_string()),
        Parameter::new("id", &record.id.to_string()),
        Parameter::new("committed_at", &render::time(record.committed_at)),
    ];
    for (name, value) in [("trace_id", &record.trace_id), ("span_id", &record.span_id)] {
        all.extend(value.as_ref().map(|value| Parameter::new(name, value)));
    }
    if !record.erased.is_empty() {
        let groups: Vec<_> = record.erased.iter().map(|group| group.name()).collect();
        all.push(Parameter::new("erased", &groups.join(",")));
    }
    all.extend(record.attributes.iter().map(|(name, value)| Parameter::new(short(name), &text(value))));
    all
}

/// The name of a field as SD-NAME: without `gen_ai.` or `onrecord.`, and of visible ASCII.
fn short(name: &str) -> String {
    if let Some((_, short)) = SHORT.iter().find(|(long, _)| *long == name) {
        return (*short).to_owned();
    }
    let bare = ["gen_ai.", "onrecord."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let fit = |c: char| if c.is_ascii_graphic() && !"=]\"".contains(c) { c } else { '_' };
    bare.chars().map(fit).take(NAME_MAX).collect()
}

/// Lists are separated by commas, tags are `key=value`.
fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Text(text) => text.into(),
        Value::Null => "".into(),
        Value::Bool(value) => value.to_string().into(),
        Value::Int(value) => value.to_string().into(),
        Value::Float(value) => value.to_string().into(),
        Value::Bytes(bytes) => render::hex(bytes).into(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(",").into(),
        Value::Map(fields) => {
            fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(",").into()
        }
    }
}

/// `"`, `\` and `]` as RFC 5424 §6.3.3 has them; control characters, of which a receiver could make a line of its own, as
/// `\n` and the like, whose backslash is escaped in turn.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => out.extend(['\\', c]),
            c if c.is_control() => {
                out.push('\\');
                out.extend(c.escape_default());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use onrecord_proof::field;

    use super::super::record::Content;
    use super::super::record::tests::call;
    use super::*;

    fn form(max: usize) -> Form {
        Form { facility: 16, enterprise: 32473, hostname: "host".into(), max }
    }

    #[test]
    fn a_message_is_of_rfc_5424() {
        let message = form(8192).message(&Outgoing::of(&call(), Content::Metadata));
        let expect = "<131>1 2026-01-02T03:04:05.678901Z host onrecord - interaction [onrecord@32473 leaf_index=\"12\" \
            id=\"00000000-0000-0000-0000-000000000007\" committed_at=\"2026-01-02T03:04:06.000000Z\" \
            trace_id=\"0af7651916cd43dd8448eb211c80319c\" span_id=\"b7ad6b7169203331\" principal=\"team\" \
            operation.name=\"chat\" request.model=\"tiny\" http.request.body.size=\"7\" decisions.entropy.mean=\"0.5\" \
            outcome=\"upstream_error\" response.finish_reasons=\"stop,length\"] interaction chat tiny upstream_error";
        assert_eq!(message, expect);
    }

    #[test]
    fn values_cannot_end_the_structured_data_or_the_line() {
        let message = form(8192).message(&Outgoing::of(&call(), Content::All));
        assert!(message.contains(r#"input.text="my \"secret\" [x\]\\nline""#), "{message}");
        assert!(!message.contains('\n'));
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let mut committed = call();
        committed.record.set(&field::INPUT_TEXT, "\"".repeat(5000));
        committed.record.set(&field::PRINCIPAL, "p".repeat(700));
        let outgoing = Outgoing::of(&committed, Content::All);
        let whole = form(20_000).message(&outgoing);
        assert!(whole.len() > 10_000 && !whole.contains("truncated"), "{whole}");
        for max in [480, 600, 1024, 1025, 1026, 2048, 8192] {
            let message = form(max).message(&outgoing);
            assert!(message.len() <= max, "{} of {max}: {message}", message.len());
            assert!(message.contains(" leaf_index=\"12\"") && message.contains(" truncated=\""), "{message}");
            assert!(message.ends_with("\"] interaction chat tiny upstream_error"), "{message}");
        }
        assert!(form(480).message(&outgoing).contains(" omitted=\""));
        assert!(form(8192).message(&outgoing).contains(" truncated=\"input.text\""));
    }

    #[test]
    fn every_field_has_a_name_of_its_own() {
        let names: BTreeSet<_> = field::ALL.iter().map(|field| short(field.name)).collect();
        assert_eq!(names.len(), field::ALL.len());
        let bare = |name: &str| name.trim_start_matches("gen_ai.").trim_start_matches("onrecord.").len();
        let long: Vec<_> = field::ALL.iter().map(|field| field.name).filter(|name| bare(name) > NAME_MAX).collect();
        assert!(long.iter().all(|name| SHORT.iter().any(|(have, _)| have == name)), "{long:?}");
        for taken in ["leaf_index", "id", "committed_at", "trace_id", "span_id", "erased", "truncated", "omitted"] {
            assert!(!names.contains(taken) || ["trace_id", "span_id"].contains(&taken), "{taken}");
        }
    }
}
