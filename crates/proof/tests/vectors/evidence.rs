//! Evidence: bundles that hold, and hostile ones.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_proof::cosignature::{Cosigned, Cosigner, Witness, cosigned};
use onrecord_proof::evidence::{Checked, CheckedEntry, Evidence, Proved};
use onrecord_proof::merkle::inclusion_proof;
use onrecord_proof::note::{Note, SignatureLine, Signer};
use onrecord_proof::{Checkpoint, Commitment, Group, Hash, KeyHistory, Leaf, Record, Rotation};
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

    fn checkpoint(&self, origin: &str, size: u64, signer: &Signer) -> Note {
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

/// A bundle with what its checker knows and demands.
struct Case {
    name: &'static str,
    bundle: String,
    known: KeyHistory,
    witnesses: Vec<Witness>,
    quorum: usize,
}

impl Case {
    fn new(name: &'static str, bundle: String) -> Self {
        Self { name, bundle, known: signer().verifier().into(), witnesses: Vec::new(), quorum: 0 }
    }

    fn check(&self) -> Result<(Checked, Vec<Cosigned>), String> {
        let evidence = serde_json::from_str::<Evidence>(&self.bundle).map_err(|e| e.to_string())?;
        let checked = evidence.check(&self.known).map_err(|e| e.to_string())?;
        let by = cosigned(&checked.note, &self.witnesses);
        if by.len() < self.quorum {
            return Err(format!("{} witnesses, {} must", by.len(), self.quorum));
        }
        Ok((checked, by))
    }

    /// What the checker knows, where it is not the log's key alone.
    fn to_json(&self, file: &str, verdict: &str) -> Json {
        let mut json = json!({"file": file, "verdict": verdict});
        if self.known != signer().verifier().into() {
            json["known_keys"] = json!(self.known.to_string());
        }
        if !self.witnesses.is_empty() {
            json["witnesses"] = self.witnesses.iter().map(ToString::to_string).collect();
            json["quorum"] = json!(self.quorum);
        }
        json
    }
}

fn cosigner(seed: u8) -> Cosigner {
    Cosigner::from_seed(&format!("example.org/witness-{seed}"), &[seed; 32]).unwrap()
}

/// The bundle with these lines on its checkpoint.
fn with_lines(good: &str, lines: &[SignatureLine]) -> String {
    changed(good, |json| {
        let mut note: Note = json["checkpoint"].as_str().unwrap().parse().unwrap();
        note.signatures.extend_from_slice(lines);
        json["checkpoint"] = json!(note.to_string());
    })
}

fn cosigned_cases(log: &Log, good: &str) -> (Vec<Case>, Vec<Case>) {
    let text = log.checkpoint(ORIGIN, SIZE, &signer()).text;
    let line = |seed, at| cosigner(seed).cosign(&text, at);
    let alias = Cosigner::from_seed("example.org/alias", &[21; 32]).unwrap();
    let mut late = line(21, 100);
    late.signature[7] ^= 1;
    let other = cosigner(21).cosign(&text.replace("11", "12"), 100);
    let as_log = Signer::from_seed("example.org/witness-21", &[21; 32]).unwrap().sign(text.clone()).signatures;
    let case = |name, lines: &[SignatureLine], witnesses: &[&Cosigner], quorum| Case {
        witnesses: witnesses.iter().map(|witness| witness.witness()).collect(),
        quorum,
        ..Case::new(name, with_lines(good, lines))
    };
    let (one, two) = (&cosigner(21), &cosigner(22));
    let valid = vec![
        case("cosigned-by-two", &[line(21, 100), line(22, 200)], &[one, two], 2),
        case("cosigned-by-one-of-two", &[line(22, 200)], &[one, two], 1),
        case("cosigned-again-later", &[line(21, 300), line(21, 100)], &[one], 1),
        case("cosigned-by-a-stranger-too", &[line(23, 100), line(21, 100)], &[one], 1),
        case("cosigned-and-nobody-asks", &[line(23, 100)], &[], 0),
    ];
    let hostile = vec![
        case("cosigned-by-nobody", &[], &[one], 1),
        case("cosigned-by-an-unknown-witness", &[line(23, 100)], &[one], 1),
        case("cosigned-twice-by-one-witness", &[line(21, 100), line(21, 200)], &[one, two], 2),
        case("cosigned-by-one-key-of-two-names", &[line(21, 100), alias.cosign(&text, 100)], &[one, &alias], 2),
        case("cosigned-at-another-time", &[late.clone()], &[one], 1),
        case("cosigned-once-right-and-once-wrong", &[line(21, 100), late], &[one], 1),
        case("cosigned-another-checkpoint", &[other], &[one], 1),
        case("cosigned-with-a-time-beyond-2-63", &[line(21, 1 << 63)], &[one], 1),
        case("signed-as-a-log-by-the-witness", &as_log, &[one], 1),
    ];
    (valid, hostile)
}

fn key_cases(log: &Log, good: &str) -> (Vec<Case>, Vec<Case>) {
    let (first, second, third) = (signer(), stranger(), Signer::from_seed(ORIGIN, &[9; 32]).unwrap());
    let rotations = |at: [u64; 2]| {
        [Rotation::sign(&first, &second, at[0]).unwrap(), Rotation::sign(&second, &third, at[1]).unwrap()]
    };
    let history = |first: &Signer, rotations: &[Rotation]| {
        let mut history = KeyHistory::from(first.verifier());
        for rotation in rotations {
            history.rotate(rotation.clone()).unwrap();
        }
        history
    };
    let bundle = |by: &Signer, notes: &[&Note]| {
        changed(good, |json| {
            json["checkpoint"] = json!(log.checkpoint(ORIGIN, SIZE, by).to_string());
            json["keys"] = notes.iter().map(|note| json!(note.to_string())).collect();
        })
    };
    let knowing = |name, bundle, known| Case { known, ..Case::new(name, bundle) };
    let [to_second, to_third] = rotations([5, 9]);
    let both = [to_second.note(), to_third.note()];
    let all = history(&first, &[to_second.clone(), to_third.clone()]);
    let ended = history(&first, &rotations([5, 9])[..1]);
    let early = rotations([12, 20]);
    let mut alone = to_second.note().clone();
    alone.signatures.pop();
    let valid = vec![
        Case::new("a-later-key", bundle(&third, &both)),
        knowing("a-later-key-from-the-middle", bundle(&third, &both), second.verifier().into()),
        knowing("a-later-key-that-is-known", bundle(&third, &both), third.verifier().into()),
        knowing("an-earlier-key-of-a-known-history", good.to_owned(), history(&first, &early)),
        knowing("a-known-history", bundle(&third, &[]), all),
        Case::new("null-is-no-keys", replaced(good, "{\"format\"", "{\"keys\":null,\"timestamp\":null,\"format\"")),
    ];
    let hostile = vec![
        Case::new("a-later-key-without-its-history", bundle(&third, &[])),
        Case::new("a-key-is-missing-between", bundle(&third, &both[1..])),
        Case::new("keys-in-the-wrong-order", bundle(&third, &[both[1], both[0]])),
        Case::new("a-key-that-did-not-agree", bundle(&second, &[&alone])),
        Case::new("a-key-beyond-its-end", bundle(&first, &both)),
        knowing("a-key-beyond-its-known-end", good.to_owned(), ended),
        Case::new("a-key-before-its-beginning", bundle(&second, &[early[0].note()])),
        Case::new(
            "a-rotation-of-another-size",
            changed(&bundle(&third, &both), |json| {
                json["keys"][0] = json!(both[0].to_string().replace("size 5", "size 6"));
            }),
        ),
        Case::new("a-checkpoint-for-a-rotation", bundle(&third, &[&log.checkpoint(ORIGIN, SIZE, &first)])),
    ];
    (valid, hostile)
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
    let log = Log::new();
    let good = log.evidence(&[4], &[Group::Output, Group::Outcome]);
    let (cosigned, not_cosigned) = cosigned_cases(&log, &good);
    let (keys, wrong_keys) = key_cases(&log, &good);
    let mut cases = Vec::new();
    let plain = valid(&log).into_iter().map(|(name, bundle)| Case::new(name, bundle));
    for case in plain.chain(cosigned).chain(keys) {
        let file = format!("evidence/valid-{}.json", case.name);
        check_text(&file, &case.bundle);
        let (checked, by) = case.check().unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let mut json = case.to_json(&file, "verified");
        json["size"] = json!(checked.checkpoint.size);
        json["root"] = json!(hex(checked.checkpoint.root));
        json["entries"] = checked.entries.iter().map(entry_to_json).collect();
        if !by.is_empty() {
            json["cosigned"] = by.iter().map(|by| json!([by.witness, by.at])).collect();
        }
        cases.push(json);
    }
    let hostile = [hostile_proofs(&log, &good), hostile_groups(&good), hostile_json(&good)].concat();
    let plain = hostile.into_iter().map(|(name, bundle)| Case::new(name, bundle));
    for case in plain.chain(not_cosigned).chain(wrong_keys) {
        let file = format!("evidence/hostile-{}.json", case.name);
        check_text(&file, &case.bundle);
        assert!(case.check().is_err(), "{}", case.name);
        let mut json = case.to_json(&file, "refused");
        json["why"] = json!(case.name.replace('-', " "));
        cases.push(json);
    }
    check("evidence.json", &json!({"public_key": signer().verifier().to_string(), "bundles": cases}));
}
