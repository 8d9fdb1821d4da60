//! `onrecord prove` and `onrecord check`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use http_body_util::BodyExt as _;
use onrecord_lake::LeafSet;
use onrecord_proof::cosignature::{Cosigned, Witness, cosigned};
use onrecord_proof::evidence::{Checked, CheckedEntry, Evidence};
use onrecord_proof::{Group, KeyHistory, Kind, Malformed, field};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::NOT_GOOD;
use super::client::Client;
use super::export;
use super::options::{CheckArgs, ProveArgs};
use crate::api::UNWITNESSED;
use crate::engine::{DISPOSAL_LEAVES, Prove};
use crate::render;
use crate::terminal::{NewFile, escape, note, print_json, stdout};
use crate::timestamp::Stamp;

pub(super) async fn prove(client: &Client, args: &ProveArgs) -> anyhow::Result<()> {
    let ask = Prove {
        records: args.records.clone(),
        condition: args.condition.clone(),
        table: args.table.clone(),
        reveal: args.reveal.clone(),
    };
    let (head, body) = client.post("/api/v1/evidence", &serde_json::to_value(ask)?, None).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    if let Some(short) = head.headers.get(UNWITNESSED).and_then(|short| short.to_str().ok()) {
        note(format_args!("UNWITNESSED  {}", escape(short)));
    }
    match &args.output {
        None => Ok(print_json(&String::from_utf8_lossy(&body))?),
        Some(path) => {
            let mut file = NewFile::create(path)?;
            file.write_all(&body)?;
            file.finish()?;
            note(format_args!("wrote {}; check it with: {}", path.display(), client.how_to_check(path)));
            Ok(())
        }
    }
}

/// Checks evidence. Touches nothing but the file and the key.
pub(super) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let Some(key) = &args.key else {
        bail!(
            "which log is it from? Give its public key with --key, as `onrecord key` prints it; the file itself cannot say whom to trust"
        );
    };
    let key: KeyHistory = read_key(key)?;
    let witnesses = args.witness.iter().map(|key| read_key(key)).collect::<anyhow::Result<Vec<Witness>>>()?;
    let quorum = args.quorum.unwrap_or(witnesses.len());
    let authority = args.tsa.as_deref().map(certificates).transpose()?;
    let bytes = std::fs::read(&args.evidence).with_context(|| format!("reading {}", args.evidence.display()))?;
    if export::is_manifest(&bytes) {
        return export::check(args, &bytes, &key, |checked| {
            Ok(Vouched {
                by: witnessed(checked, &witnesses, quorum)?,
                stamp: stamped(checked, authority.as_deref())?,
                authority: authority.is_some(),
            })
        });
    }
    let checked = serde_json::from_slice::<Evidence>(&bytes)
        .map_err(anyhow::Error::from)
        .and_then(|evidence| Ok(evidence.check(&key)?))
        .and_then(|checked| {
            let by = witnessed(&checked, &witnesses, quorum)?;
            let stamp = stamped(&checked, authority.as_deref())?;
            Ok(Good { checked, vouched: Vouched { by, stamp, authority: authority.is_some() } })
        });
    say(args, checked.map(|good| (good.text(), good.json())))
}

/// Prints what was proved, as text or as JSON, or why nothing was.
pub(super) fn say(args: &CheckArgs, checked: anyhow::Result<(String, Value)>) -> anyhow::Result<ExitCode> {
    let (text, json, code) = match checked {
        Ok((text, json)) => (text, json, ExitCode::SUCCESS),
        Err(error) => {
            let problem = format!("{error:#}");
            let file = escape(&args.evidence.display().to_string()).into_owned();
            let text = format!("NOT PROVED  {file}: {}\n", escape(&problem));
            (text, json!({ "ok": false, "problem": problem }), ExitCode::from(NOT_GOOD))
        }
    };
    if args.json {
        print_json(&format!("{json:#}"))?;
    } else {
        stdout().write_all(text.as_bytes())?;
    }
    Ok(code)
}

/// What others say of a checkpoint.
pub(super) struct Vouched {
    pub by: Vec<Cosigned>,
    stamp: Option<Stamp>,
    /// The stamp leads to an authority that was named.
    authority: bool,
}

/// What evidence proves.
struct Good {
    checked: Checked,
    vouched: Vouched,
}

/// Who has cosigned the checkpoint; an error if that is not enough.
fn witnessed(checked: &Checked, witnesses: &[Witness], quorum: usize) -> anyhow::Result<Vec<Cosigned>> {
    let by = cosigned(&checked.note, witnesses);
    if by.len() < quorum {
        bail!("{} of {} witnesses have cosigned its checkpoint, {quorum} must", by.len(), witnesses.len());
    }
    Ok(by)
}

/// The certificates of an authority for timestamps.
fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
    ensure!(!certificates.is_empty(), "there is no certificate in {}", file.display());
    Ok(certificates)
}

/// The timestamp, which must be there and lead to one of the authority's certificates if they are named.
fn stamped(checked: &Checked, authority: Option<&[CertificateDer<'static>]>) -> anyhow::Result<Option<Stamp>> {
    let Some(token) = &checked.timestamp else {
        ensure!(authority.is_none(), "it has no timestamp");
        return Ok(None);
    };
    let stamp =
        crate::timestamp::verify(token, &crate::timestamp::digest(&checked.note), authority.unwrap_or_default());
    // Where nobody was named to believe, one that is wrong says as little as none.
    if authority.is_none() { Ok(stamp.ok()) } else { stamp.map(Some) }
}

/// A key, or a file that holds one.
pub(super) fn read_key<K: FromStr<Err = Malformed>>(key: &str) -> anyhow::Result<K> {
    if let Ok(key) = key.parse() {
        return Ok(key);
    }
    let text = if Path::new(key).exists() { std::fs::read_to_string(key)? } else { key.to_owned() };
    text.parse().with_context(|| format!("{key:?} is neither a public key nor a file with one"))
}

/// What the disposals in the evidence say: which leaf erased which groups of which leaves.
struct Disposals(Vec<(u64, LeafSet, Vec<String>)>);

impl Disposals {
    fn of(checked: &Checked) -> Self {
        let entries = checked.entries.iter().filter(|entry| entry.leaf.kind == Kind::Disposal);
        let disposal = |entry: &CheckedEntry| {
            let context = entry.groups.iter().find(|(group, _)| *group == Group::Context)?.1.as_ref()?;
            let leaves = context.get(DISPOSAL_LEAVES)?.as_text()?.parse().ok()?;
            let groups = context.get(field::DISPOSAL_GROUPS.name)?.as_array()?.iter();
            Some((entry.index, leaves, groups.filter_map(|name| name.as_text().map(str::to_owned)).collect()))
        };
        Self(entries.filter_map(disposal).collect())
    }

    /// The leaf of the disposal that erased this group of this leaf.
    fn erased(&self, leaf: u64, group: Group) -> Option<u64> {
        let says_so = |(_, leaves, groups): &&(u64, LeafSet, Vec<String>)| {
            leaves.contains(leaf) && groups.iter().any(|name| name == group.name())
        };
        self.0.iter().find(says_so).map(|(index, ..)| *index)
    }
}

fn entry_json(disposals: &Disposals, entry: &CheckedEntry) -> Value {
    let groups = entry.groups.iter().map(|(group, fields)| {
        let hidden = || match disposals.erased(entry.index, *group) {
            Some(leaf) => json!({ "erased_by_leaf": leaf }),
            None => json!("hidden"),
        };
        (group.name().to_owned(), fields.as_ref().map_or_else(hidden, render::map))
    });
    json!({
        "leaf_index": entry.index,
        "id": entry.leaf.id,
        "kind": entry.leaf.kind.name(),
        "captured_at": render::time(entry.leaf.captured_at),
        "committed_at": render::time(entry.leaf.committed_at),
        "groups": groups.collect::<serde_json::Map<_, _>>(),
    })
}

/// What is proved, what is hidden, what was erased.
fn entry_text(checked: &Checked, disposals: &Disposals, entry: &CheckedEntry) -> String {
    let (origin, size) = (escape(&checked.checkpoint.origin), checked.checkpoint.size);
    let mut out = format!("PROVED  {entry} of the log {origin}, which had {size} records and was signed\n");
    out += &format!(
        "  began {}, committed {} (by the recorder's clock)\n",
        render::time(entry.leaf.captured_at),
        render::time(entry.leaf.committed_at)
    );
    for (group, fields) in &entry.groups {
        let Some(fields) = fields else {
            out += &match disposals.erased(entry.index, *group) {
                Some(leaf) => format!("  {group}: ERASED, as the disposal at leaf {leaf} says\n"),
                None => format!("  {group}: hidden\n"),
            };
            continue;
        };
        out += &format!("  {group}: revealed, and is what was committed\n");
        for line in super::show::fields(&render::map(fields)) {
            out += &format!("    {line}\n");
        }
    }
    out
}

impl Vouched {
    pub(super) fn stamp_text(&self) -> Option<String> {
        let at = self.stamp.as_ref()?.time();
        Some(if self.authority {
            format!("TIMESTAMPED  {at}: all of it was there by then, says the authority\n")
        } else {
            format!("It has a timestamp of {at}; whose, is not checked without certificates (--tsa FILE)\n")
        })
    }

    pub(super) fn stamp_json(&self) -> Option<Value> {
        let stamp = self.stamp.as_ref()?;
        Some(json!({ "at": stamp.time(), "authority_checked": self.authority }))
    }
}

impl Good {
    fn json(&self) -> Value {
        let Self { checked, vouched } = self;
        let disposals = Disposals::of(checked);
        json!({
            "ok": true,
            "origin": checked.checkpoint.origin,
            "checkpoint_size": checked.checkpoint.size,
            "key": checked.keys.current().to_string(),
            "witnesses": vouched.by.iter().map(|by| json!({ "name": by.witness, "at": seconds(by.at) })).collect::<Vec<_>>(),
            "timestamp": vouched.stamp_json(),
            "entries": checked.entries.iter().map(|entry| entry_json(&disposals, entry)).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let disposals = Disposals::of(&self.checked);
        let entries = self.checked.entries.iter().map(|entry| entry_text(&self.checked, &disposals, entry));
        let by = self.vouched.by.iter();
        let witnesses = by.map(|by| format!("WITNESSED  by {}, {}\n", escape(&by.witness), seconds(by.at)));
        entries.chain(witnesses).chain(self.vouched.stamp_text()).collect::<String>() + &self.not_proved()
    }

    /// What no evidence can prove, or this does not.
    fn not_proved(&self) -> String {
        let mut not = Vec::new();
        if self.checked.entries.iter().flat_map(|entry| &entry.groups).any(|(_, fields)| fields.is_none()) {
            not.push("what the hidden groups contain, and whether they were erased since");
        }
        if self.vouched.by.is_empty() {
            not.push("that the log shows this history to everybody (UNWITNESSED; name its witnesses with --witness)");
        }
        not.push(match (&self.vouched.stamp, self.vouched.authority) {
            (Some(_), true) => "that the recorder's clock was right before the timestamp",
            _ => "that the recorder's clock was right: a time without a timestamp is a claim",
        });
        not.push("that nothing happened that never reached the log");
        format!("Not proved:\n  {}\n", not.join("\n  "))
    }
}

fn seconds(since_1970: u64) -> String {
    render::time(i64::try_from(since_1970).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}
