//! `onrecord check` of an export.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use onrecord_proof::evidence::Checked;
use onrecord_proof::manifest::{CheckedManifest, Contents, FORMAT, File, Manifest};
use onrecord_proof::{Group, KeyHistory, field};
use serde_json::{Value, json};

use super::part;
use crate::cli::check::{Vouched, say};
use crate::cli::options::CheckArgs;
use crate::terminal::escape;

/// True of a file that says that it is a manifest, of whatever version.
pub(in crate::cli) fn is_manifest(bytes: &[u8]) -> bool {
    let family = FORMAT.split('/').next().unwrap_or_default();
    let json = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    json["format"].as_str().is_some_and(|format| format.starts_with(family))
}

/// Checks a manifest and the files beside it.
pub(in crate::cli) fn check(
    args: &CheckArgs,
    bytes: &[u8],
    key: &KeyHistory,
    vouched: impl FnOnce(&Checked) -> anyhow::Result<Vouched>,
) -> anyhow::Result<ExitCode> {
    let checked = serde_json::from_slice::<Manifest>(bytes).map_err(anyhow::Error::from).and_then(|manifest| {
        let checked = manifest.check(key)?;
        let by = vouched(&checked.checked)?;
        let damaged = damaged(&args.evidence, &manifest.contents);
        if !damaged.is_empty() {
            bail!("{}", damaged.join("; "));
        }
        let Manifest { contents, .. } = &manifest;
        Ok((text(contents, &checked, &by), json(contents, &checked, &by)))
    });
    say(args, checked)
}

/// What is wrong with the files of an export.
fn damaged(manifest: &Path, contents: &Contents) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut problem = |file: &File| {
        // A manifest comes from outside: it names files beside itself, and no others.
        if file.name.is_empty() || file.name == ".." || file.name == "." || file.name.contains(['/', '\\']) {
            return Some(format!("{:?} is no name of a file", file.name));
        }
        if !seen.insert(file.name.clone()) {
            return Some(format!("{:?} is there twice", file.name));
        }
        match part::digest(&manifest.with_file_name(&file.name)) {
            Ok((bytes, sha256)) if bytes == file.bytes && sha256 == file.sha256 => None,
            Ok(_) => Some(format!("{} is not the file that was exported", file.name)),
            Err(error) => Some(format!("{}: {error}", file.name)),
        }
    };
    contents.files.iter().filter_map(&mut problem).collect()
}

fn json(contents: &Contents, CheckedManifest { checked, leaves }: &CheckedManifest, vouched: &Vouched) -> Value {
    json!({
        "ok": true,
        "origin": checked.checkpoint.origin,
        "checkpoint_size": checked.checkpoint.size,
        "witnesses": vouched.by.iter().map(|by| &by.witness).collect::<Vec<_>>(),
        "timestamp": vouched.stamp_json(),
        "export": checked.entries.first().map(|entry| json!({ "id": entry.leaf.id, "leaf_index": entry.index })),
        "exported_by": exporter(checked),
        "view": contents.view,
        "condition": contents.condition,
        "rows": leaves.len(),
        "files": contents.files,
    })
}

/// What is proved, and what is not.
fn text(contents: &Contents, CheckedManifest { checked, leaves }: &CheckedManifest, vouched: &Vouched) -> String {
    let mut out = format!(
        "PROVED  {} rows of `{}` are of as many leaves of the log {}, which had {} records and was signed\n",
        leaves.len(),
        escape(&contents.view),
        escape(&checked.checkpoint.origin),
        checked.checkpoint.size
    );
    if let Some(condition) = &contents.condition {
        out += &format!("  where {}\n", escape(condition));
    }
    let by_whom = exporter(checked).unwrap_or("somebody");
    for file in &contents.files {
        out += &format!("  {}: {} rows, as {} exported them\n", escape(&file.name), file.rows, escape(by_whom));
    }
    if let Some(entry) = checked.entries.first() {
        out += &format!("  the export is record {} at leaf {} of that log\n", entry.leaf.id, entry.index);
    }
    for by in &vouched.by {
        out += &format!("WITNESSED  by {}\n", escape(&by.witness));
    }
    out.extend(vouched.stamp_text());
    if vouched.by.is_empty() {
        out += "UNWITNESSED  that the log shows this history to everybody is its own word; a witness is named with --witness\n";
    }
    out + "Not proved: that a row says what its record holds, which file has which of the rows, and that no other record meets the condition. The log has \
        the digests of the files from who exported them; `onrecord prove` reveals a record itself.\n"
}

/// Who exported, as the log recorded it.
fn exporter(checked: &Checked) -> Option<&str> {
    let who = checked.entries.first()?.groups.iter().find(|(group, _)| *group == Group::Who)?;
    who.1.as_ref()?.get(field::PRINCIPAL.name)?.as_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_files_beside_itself_alone() {
        for name in ["../x", "/etc/passwd", "..", ".", "a/b", "", "a\\b"] {
            let file = File { name: name.into(), rows: 1, bytes: 0, sha256: String::new() };
            let (view, condition, rows, leaves) = (String::new(), None, String::new(), Vec::new());
            let contents = Contents { view, condition, rows, files: vec![file], leaves };
            assert!(damaged(Path::new("/tmp/manifest.json"), &contents)[0].contains("no name of a file"), "{name}");
        }
    }

    #[test]
    fn a_manifest_says_what_it_is() {
        assert!(is_manifest(br#"{"format":"onrecord-export/v9"}"#));
        assert!(!is_manifest(br#"{"format":"onrecord-evidence/v1"}"#) && !is_manifest(b"[]") && !is_manifest(b"\xff"));
    }
}
