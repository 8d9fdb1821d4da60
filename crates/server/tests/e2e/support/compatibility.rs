//! The table of what is captured from which server and client, as the tests have seen it: `docs/compatibility.md`.
//!
//! Each test owns one section and compares it with what its records hold; `UPDATE_COMPATIBILITY=1` writes it instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md");

const HEAD: &str = "# Compatibility

What the record of a call holds, by model server, client and API; and what the spans of an instrumentation say of a call that did not go through
the gateway. The end-to-end tests write this page from the records of their calls
(`UPDATE_COMPATIBILITY=1 cargo nextest run --workspace -E 'binary(e2e)'`) and fail when it is not what they see. Times, sizes and addresses, which
every record has, are left out.
";

/// The fields of these groups depend on the call; those of the others on who calls, and on the machine.
const GROUPS: [&str; 5] = ["config", "input", "output", "decisions", "outcome"];

/// The section of `title` must say what these records, named by their calls, hold.
#[track_caller]
pub(crate) fn compare(title: &str, calls: &[(String, Value)]) {
    let page = std::fs::read_to_string(FILE).unwrap_or_else(|_| HEAD.to_owned());
    let (head, mut sections) = split(&page);
    let found = render(title, calls);
    if std::env::var_os("UPDATE_COMPATIBILITY").is_some() {
        sections.insert(title.to_owned(), found);
        let sections: Vec<_> = sections.into_values().collect();
        return std::fs::write(FILE, format!("{head}\n\n{}", sections.join("\n"))).unwrap();
    }
    let written = sections.get(title).map_or("", String::as_str);
    assert_eq!(written, found, "docs/compatibility.md: UPDATE_COMPATIBILITY=1 writes what is captured now");
}

/// What stands before the first section, and the sections by their titles.
fn split(page: &str) -> (&str, BTreeMap<String, String>) {
    let (head, rest) = page.split_once("\n## ").unwrap_or((page.trim_end_matches('\n'), ""));
    let sections = rest.split("\n## ").filter(|text| !text.is_empty()).map(|text| {
        let title = text.lines().next().unwrap_or_default().to_owned();
        (title, format!("## {}\n", text.trim_end()))
    });
    (head.trim_end(), sections.collect())
}

fn render(title: &str, calls: &[(String, Value)]) -> String {
    let fields: Vec<_> = calls.iter().map(|(_, record)| fields(record)).collect();
    let all: BTreeSet<_> = fields.iter().flatten().cloned().collect();
    let everywhere = |name: &String| fields.iter().all(|fields| fields.contains(name));
    let (always, sometimes): (Vec<_>, Vec<_>) = all.into_iter().partition(everywhere);
    let mut text = format!("## {title}\n\nOf every call: `{}`.\n\n| |", always.join("`, `"));
    let line = |text: &mut String, cell: &dyn Fn(usize) -> String| {
        (0..calls.len()).for_each(|call| write!(text, " {} |", cell(call)).unwrap());
        text.push('\n');
    };
    line(&mut text, &|call| calls[call].0.clone());
    text += "| --- |";
    line(&mut text, &|_| "---".to_owned());
    text += "| API |";
    let api = |context: &Value| {
        let named = ["onrecord.dialect", "gen_ai.operation.name"].into_iter().find_map(|name| context[name].as_str());
        format!("`{}`", named.unwrap())
    };
    line(&mut text, &|call| api(&calls[call].1["groups"]["context"]));
    for name in sometimes {
        write!(text, "| `{name}` |").unwrap();
        line(&mut text, &|call| if fields[call].contains(&name) { "✓" } else { "" }.to_owned());
    }
    text
}

/// The names of the fields of a record that depend on the call alone.
fn fields(record: &Value) -> BTreeSet<String> {
    let names = |group: &str| {
        record["groups"][group].as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect::<Vec<_>>()
    };
    let counted = names("performance").into_iter().filter(|name| name.starts_with("gen_ai.usage"));
    let counted: Vec<_> =
        counted.chain(names("performance").into_iter().filter(|name| name.ends_with("upstream.timings"))).collect();
    let measured = |name: &String| [".size", "sha256", "content_type"].iter().any(|end| name.ends_with(end));
    GROUPS.iter().flat_map(|group| names(group)).chain(counted).filter(|name| !measured(name)).collect()
}
