//! Evidence: bundles that hold, and hostile ones.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_proof::evidence::{CheckedEntry, Evidence, Proved};
use onrecord_proof::merkle::inclusion_proof;
use onrecord_proof::note::Signer;
use onrecord_proof::{Checkpoint, Commitment, Group, Hash, KeyHistory, Leaf, Record};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cbor::map_to_json;
use crate::notes::{ORIGIN, signer, stranger};
use crate::records::{COMMITTED_AT, call};
use crate::tree::Levels;
use crate::{check, check_text, hex};

const SIZE: u64 = 11;

struct Log {
    records: Vec<Record>,
    levels: Levels,
    root: Hash,
}

impl Log {
    /// Eleven calls; from the fourth one its input was erased.
    fn new() -> Self {
        let mut records: Vec<_> = (0..SIZE as u8).map(call).collect();
        let (levels, frontier) = Levels::of(records.iter().map(|record| record.leaf(COMMITTED_AT).hash()));
        records[3].erase(Group::Input, Uuid::from_bytes([0xdd; 16]));
        Self { records, levels, root: frontier.root() }
    }

    fn checkpoint(&self, origin: &str, size: u64, signer: &Signer) -> onrecord_proof::note::Note {
        Checkpoint { origin: origin.into(), size, root: self.root }.sign(signer)
    }

    fn evidence(&self, indexes: &[u64], reveal: &[Group]) -> String {
        let prove = |index: &u64| Proved {
            index: *index,
            committed_at: COMMITTED_AT,
            record: &self.records[*index as usize],
            proof: inclusion_proof(&self.levels, *index, SIZE).unwrap(),
        };
        let proved: Vec<_> = indexes.iter().map(prove).collect();
        let note = self.checkpoint(ORIGIN, SIZE, &signer());
        serde_json::to_string(&Evidence::new(&note, &proved, reveal.iter().copied().collect())).unwrap()
    }
}

fn changed(bundle: &str, change: impl FnOnce(&mut Json)) -> String {
    let mut json = serde_json::from_str(bundle).unwrap();
    change(&mut json);
    sorted(&json)
}

/// JSON text with sorted keys, whatever order serde_json keeps them in.
fn sorted(json: &Json) -> String {
    match json {
        Json::Object(map) => {
            let entries: BTreeSet<_> =
                map.iter().map(|(key, value)| format!("{}:{}", json!(key), sorted(value))).collect();
            format!("{{{}}}", entries.into_iter().collect::<Vec<_>>().join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn replaced(bundle: &str, from: &str, to: &str) -> String {
    assert!(bundle.contains(from), "{from} in {bundle}");
    bundle.replacen(from, to, 1)
}

/// Evidence of a log of one leaf whose `output` group commits to `contents`, whatever they are.
fn of_contents(contents: &[u8]) -> String {
    let id = Uuid::from_bytes([0x42; 16]);
    let salt = [0x24; 32];
    let preimage = [&b"onrecord/v1/group\0"[..], id.as_bytes(), &[Group::Output.code()], &salt, contents].concat();
    let commitment: Commitment = Sha256::digest(preimage).into();
    let leaf = Leaf { commitments: vec![(Group::Output, commitment)], id, ..call(1).leaf(COMMITTED_AT) };
    of_leaf(&leaf.to_bytes(), json!({"output": {"salt": BASE64.encode(salt), "value": BASE64.encode(contents)}}))
}

/// Evidence of a log of one leaf.
fn of_leaf(leaf: &[u8], revealed: Json) -> String {
    let root = onrecord_proof::merkle::leaf_hash(leaf);
    let note = Checkpoint { origin: ORIGIN.into(), size: 1, root }.sign(&signer()).to_string();
    let mut entry = json!({"index": 0, "leaf": BASE64.encode(leaf), "proof": []});
    entry["revealed"] = revealed;
    sorted(&json!({"format": "onrecord-evidence/v1", "checkpoint": note, "entries": [entry]}))
}

fn valid(log: &Log) -> Vec<(&'static str, String)> {
    let shown = log.evidence(&[4], &[Group::Output, Group::Outcome]);
    vec![
        ("two-groups-shown", shown.clone()),
        ("all-hidden", log.evidence(&[10], &[])),
        ("all-shown", log.evidence(&[0], &Group::ALL)),
        ("several-records", log.evidence(&[9, 2, 2], &[Group::Context])),
        ("an-erased-group", log.evidence(&[3], &Group::ALL)),
        ("null-is-hidden", replaced(&shown, "\"revealed\":{", "\"revealed\":{\"input\":null,")),
        ("an-empty-group", of_contents(&[0xa0])),
    ]
}

fn hostile_proofs(log: &Log, good: &str) -> Vec<(&'static str, String)> {
    let note = |origin: &str, size, signer: &Signer| json!(log.checkpoint(origin, size, signer).to_string());
    let other = Signer::from_seed("example.org/other", &[7; 32]).unwrap();
    let entry = |change: &dyn Fn(&mut Json)| changed(good, |json| change(&mut json["entries"][0]));
    vec![
        ("wrong-index", entry(&|e| e["index"] = json!(5))),
        ("index-beyond-the-tree", entry(&|e| e["index"] = json!(11))),
        ("wrong-size-unsigned", replaced(good, "\\n11\\n", "\\n12\\n")),
        ("wrong-size-signed", changed(good, |json| json["checkpoint"] = note(ORIGIN, 17, &signer()))),
        ("truncated-proof", entry(&|e| drop(e["proof"].as_array_mut().unwrap().pop()))),
        ("long-proof", entry(&|e| e["proof"].as_array_mut().unwrap().push(json!(BASE64.encode([0; 32]))))),
        ("short-hash", entry(&|e| e["proof"][0] = json!(BASE64.encode([0; 31])))),
        ("changed-leaf", entry(&|e| e["leaf"] = json!(BASE64.encode(call(4).leaf(COMMITTED_AT + 1).to_bytes())))),
        ("no-entry", changed(good, |json| json["entries"] = json!([]))),
        ("wrong-origin-unsigned", replaced(good, "example.org/log\\n11", "example.org/lag\\n11")),
        ("wrong-origin-signed", changed(good, |json| json["checkpoint"] = note("example.org/other", SIZE, &signer()))),
        ("other-log", changed(good, |json| json["checkpoint"] = note("example.org/other", SIZE, &other))),
        ("unknown-key", changed(good, |json| json["checkpoint"] = note(ORIGIN, SIZE, &stranger()))),
    ]
}

fn hostile_groups(good: &str) -> Vec<(&'static str, String)> {
    let revealed = |change: &dyn Fn(&mut Json)| changed(good, |json| change(&mut json["entries"][0]["revealed"]));
    let canonical = call(4).leaf(COMMITTED_AT).to_bytes();
    let long_map = [&canonical[..canonical.len() - 8 * 35 - 1], &[0xb8, 0x08], &canonical[canonical.len() - 8 * 35..]];
    vec![
        (
            "swapped-groups",
            revealed(&|r| {
                let (a, b) = (r["output"].take(), r["outcome"].take());
                (r["output"], r["outcome"]) = (b, a);
            }),
        ),
        ("moved-group", revealed(&|r| r["input"] = r["output"].take())),
        ("changed-value", revealed(&|r| r["output"]["value"] = json!(BASE64.encode([0xa0])))),
        ("changed-salt", revealed(&|r| r["output"]["salt"] = json!(BASE64.encode([0; 32])))),
        ("short-salt", revealed(&|r| r["output"]["salt"] = json!(BASE64.encode([0; 31])))),
        (
            "group-not-in-leaf",
            changed(&of_contents(&[0xa0]), |json| {
                let revealed = &mut json["entries"][0]["revealed"];
                revealed["who"] = revealed["output"].clone();
            }),
        ),
        ("unknown-group", revealed(&|r| r["secrets"] = r["output"].clone())),
        ("non-canonical-leaf", of_leaf(&long_map.concat(), json!({}))),
        ("non-canonical-value", of_contents(&[0xa1, 0x61, b'a', 0x18, 0x01])),
        ("name-twice-in-value", of_contents(&[0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x01])),
        ("value-is-no-map", of_contents(&[0x01])),
    ]
}

fn hostile_json(good: &str) -> Vec<(&'static str, String)> {
    let first = |key: &str| {
        let json: Json = serde_json::from_str(good).unwrap();
        json["entries"][0]["revealed"]["output"][key].as_str().unwrap().to_owned()
    };
    let opening = format!("{{\"salt\":\"{}\",\"value\":\"{}\"}}", first("salt"), first("value"));
    vec![
        ("index-twice", replaced(good, "\"index\":4", "\"index\":4,\"index\":4")),
        ("format-twice", replaced(good, "{\"format\"", "{\"format\":\"onrecord-evidence/v1\",\"format\"")),
        ("group-twice", replaced(good, "\"output\":", "\"output\":null,\"output\":")),
        ("salt-twice", replaced(good, "\"salt\":", "\"salt\":\"\",\"salt\":")),
        ("unknown-key-in-json", replaced(good, "\"index\":4", "\"index\":4,\"indes\":4")),
        ("missing-key", replaced(good, "\"index\":4,", "")),
        (
            "missing-revealed",
            changed(good, |json| drop(json["entries"][0].as_object_mut().unwrap().remove("revealed"))),
        ),
        ("index-as-float", replaced(good, "\"index\":4", "\"index\":4.0")),
        ("index-as-text", replaced(good, "\"index\":4", "\"index\":\"4\"")),
        ("negative-index", replaced(good, "\"index\":4", "\"index\":-4")),
        ("array-for-object", replaced(good, &opening, &format!("[\"{}\",\"{}\"]", first("salt"), first("value")))),
        (
            "array-for-bundle",
            changed(good, |json| {
                let take = |json: &mut Json, key: &str| json[key].take();
                *json = json!([take(json, "format"), take(json, "checkpoint"), take(json, "entries")]);
            }),
        ),
        ("later-format", replaced(good, "onrecord-evidence/v1", "onrecord-evidence/v2")),
        (
            "base64-of-another-alphabet",
            changed(good, |json| {
                let leaf = json["entries"][0]["leaf"].as_str().unwrap().replace('/', "_").replace('+', "-");
                json["entries"][0]["leaf"] = json!(leaf);
            }),
        ),
        ("base64-without-padding", replaced(good, &first("salt"), first("salt").trim_end_matches('='))),
        ("bytes-behind", format!("{good}x")),
        ("cut-off", good[..good.len() - 1].to_owned()),
        ("byte-order-mark", format!("\u{feff}{good}")),
    ]
}

fn entry_to_json(entry: &CheckedEntry) -> Json {
    let shown = |(group, map): &(Group, Option<onrecord_proof::Map>)| {
        (group.name().to_owned(), map.as_ref().map_or(Json::Null, map_to_json))
    };
    let groups: serde_json::Map<_, _> = entry.groups.iter().map(shown).collect();
    json!({"index": entry.index, "id": entry.leaf.id, "kind": entry.leaf.kind.name(),
        "captured_at": entry.leaf.captured_at, "committed_at": entry.leaf.committed_at, "groups": groups})
}

#[test]
fn bundles_and_their_verdicts() {
    let (log, key) = (Log::new(), KeyHistory::from(signer().verifier()));
    let good = log.evidence(&[4], &[Group::Output, Group::Outcome]);
    let mut cases = Vec::new();
    for (name, bundle) in valid(&log) {
        let file = format!("evidence/valid-{name}.json");
        check_text(&file, &bundle);
        let checked = serde_json::from_str::<Evidence>(&bundle).unwrap().check(&key);
        let checked = checked.unwrap_or_else(|e| panic!("{name}: {e}"));
        let entries: Vec<_> = checked.entries.iter().map(entry_to_json).collect();
        let root = hex(checked.checkpoint.root);
        cases.push(json!({"file": file, "verdict": "verified", "size": checked.checkpoint.size, "root": root,
            "entries": entries}));
    }
    let hostile = [hostile_proofs(&log, &good), hostile_groups(&good), hostile_json(&good)].concat();
    for (name, bundle) in hostile {
        let file = format!("evidence/hostile-{name}.json");
        check_text(&file, &bundle);
        let parsed = serde_json::from_str::<Evidence>(&bundle).map_err(|e| e.to_string());
        let verdict = parsed.and_then(|evidence| evidence.check(&key).map_err(|e| e.to_string()));
        assert!(verdict.is_err(), "{name}");
        cases.push(json!({"file": file, "verdict": "refused", "why": name.replace('-', " ")}));
    }
    check("evidence.json", &json!({"public_key": key.current().to_string(), "bundles": cases}));
}
