//! Records, their commitments and their leaves.

use onrecord_proof::{Group, GroupState, Kind, Leaf, Map, Record, Ref, Rel, Salts, Value, field};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::cbor::map_to_json;
use crate::{check, hex, unhex};

const CAPTURED_AT: i64 = 1_763_899_200_000_001;
pub(crate) const COMMITTED_AT: i64 = 1_763_899_200_250_002;

/// The bytes of the id and of the secret of record `n`.
fn id(n: u8) -> Uuid {
    let mut bytes = [n; 16];
    (bytes[6], bytes[8]) = (0x70 | n & 0x0f, 0x80 | n & 0x3f);
    Uuid::from_bytes(bytes)
}

fn secret(n: u8) -> [u8; 32] {
    std::array::from_fn(|at| n.wrapping_mul(16).wrapping_add(at as u8))
}

fn empty(n: u8, kind: Kind) -> Record {
    Record::new(id(n), kind, CAPTURED_AT, secret(n))
}

/// A call with something in every group and with every shape of value.
pub(crate) fn call(n: u8) -> Record {
    let mut record = empty(n, Kind::Interaction);
    record.refs = vec![Ref { rel: Rel::Config, id: id(100) }, Ref { rel: Rel::Parent, id: id(101) }];
    record.set(&field::PRINCIPAL, "ci");
    record.set(&field::SESSION, format!("session {n}"));
    record.set(&field::TAGS, ["team", "env"].map(|name| (name, "a")).into_iter().collect::<Map>());
    record.set(&field::REQUEST_MODEL, "m");
    record.set(&field::TEMPERATURE, 0.7);
    record.set(&field::STREAM, true);
    record.set(&field::STOP_SEQUENCES, vec![Value::from("\n"), Value::from("END")]);
    record.set(&field::INPUT_BODY, &br#"{"messages":[{"role":"user","content":"hi"}]}"#[..]);
    record.set(&field::INPUT_SHA256, [0xab; 32]);
    record.set(&field::OUTPUT_TEXT, "an answer");
    record.set(&field::LOGPROBS, &b"[]"[..]);
    record.set(&field::OUTPUT_TOKENS, 12_i64);
    record.set(&field::OUTCOME, "completed");
    record.set(&field::STATUS, 200_i64);
    record
}

/// A group without fields is a group all the same, and fields that have no definition are kept.
fn unknown_fields() -> Record {
    let mut record = empty(3, Kind::Step);
    record.set_named(Group::Context, "x", Value::Array(vec![Value::Null, Value::Int(-1), Value::Float(1.5)]));
    record.set_named(Group::Context, "gen_ai.conversation.id", 7_i64);
    let groups = [(Group::Who, GroupState::Open(Map::new()))].into_iter();
    let groups = groups.chain(record.groups().map(|(group, state)| (group, state.clone()))).collect();
    Record::from_parts(record.id, record.kind, record.captured_at, Vec::new(), record.salts().clone(), groups)
}

fn many_refs() -> Record {
    let mut record = empty(4, Kind::Disposal);
    let rels = Rel::ALL.iter().cycle();
    record.refs = rels.zip(0..64).map(|(rel, n)| Ref { rel: *rel, id: id(n) }).collect();
    record
}

fn erased() -> Record {
    let mut record = call(5);
    assert!(record.erase(Group::Input, id(6)) && record.erase(Group::Output, id(6)));
    record
}

fn records() -> Vec<(&'static str, Record)> {
    let negative = Record::new(id(7), Kind::System, -1, secret(7));
    let mut records = vec![
        ("nothing but its head", empty(0, Kind::Heartbeat)),
        ("a value of every shape", call(1)),
        ("unknown fields, and a group without fields", unknown_fields()),
        ("64 references with every relation", many_refs()),
        ("two groups erased", erased()),
        ("began before 1970", negative),
    ];
    records.extend(Kind::ALL.iter().map(|kind| (kind.name(), empty(kind.code(), *kind))));
    records
}

fn state_to_json(state: &GroupState) -> Json {
    match state {
        GroupState::Open(map) => map_to_json(map),
        GroupState::Erased { commitment, disposal } => json!({"erased": hex(commitment), "disposal": disposal}),
    }
}

fn record_to_json(what: &str, record: &Record) -> Json {
    let groups: serde_json::Map<_, _> =
        record.groups().map(|(group, state)| (group.name().to_owned(), state_to_json(state))).collect();
    let refs: Vec<_> = record.refs.iter().map(|r| json!([r.rel.name(), r.id])).collect();
    let leaf = record.leaf(COMMITTED_AT);
    json!({
        "what": what, "id": record.id, "kind": record.kind.name(), "captured_at": record.captured_at, "refs": refs,
        "groups": groups, "record": hex(record.to_bytes()), "committed_at": COMMITTED_AT,
        "leaf": hex(leaf.to_bytes()), "leaf_hash": hex(leaf.hash()),
    })
}

/// Changes bytes of an encoding: `from` must occur once.
fn with(bytes: &[u8], from: &str, to: &str) -> String {
    let text = hex(bytes);
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    text.replace(from, to)
}

/// A group is erased, but what its salt is made from is still there.
fn half_erased(salts: Salts) -> String {
    let erased = GroupState::Erased { commitment: [0xab; 32], disposal: id(6) };
    let groups = [(Group::Who, erased)].into();
    hex(Record::from_parts(id(2), Kind::Gap, CAPTURED_AT, Vec::new(), salts, groups).to_bytes())
}

fn refused_records() -> Vec<Json> {
    let small = empty(2, Kind::Gap).to_bytes();
    let (bare, erased) = (hex(&small), hex(erased().to_bytes()));
    let mut who = empty(2, Kind::Gap);
    who.set(&field::USER_ID, "u");
    let (who, secret) = (who.to_bytes(), hex(secret(2)));
    let cases = [
        ("a later version", with(&small, "a700010150", "a700020150")),
        ("version 0", with(&small, "a700010150", "a700000150")),
        ("kind 0", with(&small, "0208031b", "0200031b")),
        ("an unknown kind", with(&small, "0208031b", "020b031b")),
        ("an integer in more bytes than needed", with(&small, "0208031b", "021808031b")),
        ("entries out of order", with(&small, "a700010150", "a701500001")),
        ("an unknown entry", format!("a8{}07f6", &bare[2..])),
        ("a missing entry", format!("a6{}", &bare[2..bare.len() - 4])),
        ("bytes behind the record", format!("{bare}00")),
        ("an unknown relation", with(&small, "048005", &format!("048182{}50{}05", "07", hex(id(1))))),
        ("a reference of three parts", with(&small, "048005", &format!("0481830150{}0005", hex(id(1))))),
        ("65 references", with(&small, "048005", &format!("049841{}05", format!("820150{}", hex(id(1))).repeat(65)))),
        ("an unknown group", with(&who, "06a1014b", "06a1094b")),
        ("a group twice", with(&who, "06a1014b", &format!("06a2014b{}014b", hex(&who[who.len() - 11..])))),
        ("contents that are not canonical", with(&who, "4ba1677573", "4cb801677573")),
        ("contents that are no map", with(&who, "014ba167757365722e69646175", "014101")),
        ("an open group without a salt", with(&who, &format!("5820{secret}"), "a0")),
        ("a secret of 31 bytes", with(&small, &format!("5820{secret}"), &format!("581f{}", &secret[2..]))),
        ("an erased group of one part", erased.replacen("048258", "048158", 1)),
        ("an erased group beside the secret", half_erased(Salts::Secret(self::secret(2)))),
        ("an erased group whose salt is left", half_erased(Salts::Each([(Group::Who, [1; 32])].into()))),
    ];
    cases.map(|(why, record)| json!({"why": why, "record": record})).to_vec()
}

fn refused_leaves() -> Vec<Json> {
    let leaf = call(2).leaf(COMMITTED_AT);
    let bytes = leaf.to_bytes();
    let (all, at) = (hex(&bytes), 2 * (bytes.len() - 8 * 35));
    let groups = &all[at..];
    let swapped = format!("{}{}{}{}", &all[..at], &groups[70..140], &groups[..70], &groups[140..]);
    let twice = format!("{}{}{}{}", &all[..at], &groups[..70], &groups[..70], &groups[140..]);
    let cases = [
        ("a later version", with(&bytes, "a700010150", "a700020150")),
        ("an unknown kind", with(&bytes, "0201031b", "0214031b")),
        ("commitments out of order", swapped),
        ("a commitment twice", twice),
        ("an unknown group", with(&bytes, "06a8015820", "06a8005820")),
        ("an unknown entry", format!("a8{}07f6", &all[2..])),
        ("bytes behind the leaf", format!("{all}00")),
        ("cut off", all[..all.len() - 2].to_owned()),
        ("a commitment of 31 bytes", with(&bytes, "06a8015820", "06a801581f")),
        ("more than 4096 bytes", format!("{all}{}", "00".repeat(4096))),
    ];
    cases.map(|(why, leaf)| json!({"why": why, "leaf": leaf})).to_vec()
}

/// A call from its intent to its end: the input stays, the output is new, the context changes.
fn completed() -> Json {
    let mut record = empty(8, Kind::Interaction);
    record.set(&field::SESSION, "s");
    record.set(&field::INPUT_TEXT, "a question");
    let intent = record.to_intent().unwrap();
    record.set(&field::OUTPUT_TEXT, "an answer");
    record.set(&field::TRACE_ID, "0af7651916cd43dd8448eb211c80319c");
    let completion = record.prepare().unwrap().bytes;
    let later = Record::from_bytes(&completion).unwrap();
    let joined = Record::from_bytes(&intent).unwrap().completed_by(later).unwrap();
    assert_eq!(joined.to_bytes(), record.to_bytes());
    json!({"intent": hex(intent), "completion": hex(completion), "record": hex(joined.to_bytes())})
}

#[test]
fn salts_and_commitments() {
    let contents =
        [Map::new(), [("a", 1_i64)].into_iter().collect(), [("body", vec![0_u8; 300])].into_iter().collect()];
    let commitments: Vec<_> = (0..3)
        .flat_map(|n| Group::ALL.map(|group| (n, group)))
        .map(|(n, group)| {
            let (id, map) = (id(n), contents[usize::from(n)].clone());
            let bytes = map.to_bytes();
            let groups = [(group, GroupState::Open(map))].into();
            let salts = Salts::Secret(secret(n));
            let record = Record::from_parts(id, Kind::Step, 0, Vec::new(), salts, groups);
            let commitment = *record.leaf(0).commitment(group).unwrap();
            json!({"secret": hex(secret(n)), "id": id, "group": group.name(), "code": group.code(),
                "salt": hex(group.salt(&secret(n))), "contents": hex(bytes), "commitment": hex(commitment)})
        })
        .collect();
    check("commitments.json", &json!({"commitments": commitments}));
}

#[test]
fn records_and_leaves() {
    let records: Vec<_> = records().iter().map(|(what, record)| record_to_json(what, record)).collect();
    let refused = refused_records();
    check("records.json", &json!({"records": records, "completed": [completed()], "refused": refused}));
    for case in &records {
        let record = Record::from_bytes(&unhex(case["record"].as_str().unwrap()));
        let record = record.unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(record_to_json(case["what"].as_str().unwrap(), &record), *case);
        assert_eq!(Leaf::from_bytes(&unhex(case["leaf"].as_str().unwrap())).unwrap(), record.leaf(COMMITTED_AT));
    }
    for case in &refused {
        let found = Record::from_bytes(&unhex(case["record"].as_str().unwrap()));
        assert!(found.is_err(), "{}", case["why"]);
    }
}

#[test]
fn leaves_that_are_refused() {
    let refused = refused_leaves();
    check("leaves.json", &json!({"refused": refused}));
    for case in &refused {
        let found = Leaf::from_bytes(&unhex(case["leaf"].as_str().unwrap()));
        assert!(found.is_err(), "{}", case["why"]);
    }
}
