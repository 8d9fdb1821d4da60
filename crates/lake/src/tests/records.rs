//! Records to test with.

use std::collections::BTreeMap;

use onrecord_ledger::Committed;
use onrecord_proof::{Field, Group, GroupState, Kind, Map, Record, Ref, Rel, Salts, Shape, Value, field};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

/// 2025-11-23 12:00 UTC in microseconds.
pub(crate) const NOON: i64 = 1_763_899_200_000_000;

/// A call as it may happen: turn `index % 7` of a conversation, whose messages are all sent again.
pub(crate) fn call(index: u64) -> Committed {
    let turn = index % 7;
    let committed_at = NOON + index as i64 * 1000;
    let mut record =
        Record::new(Uuid::from_u128(0x0192 << 112 | u128::from(index)), Kind::Interaction, committed_at - 900, [7; 32]);
    let messages: Vec<_> =
        (0..=turn).map(|n| format!(r#"{{"role":"user","content":"question {n} of {}"}}"#, index / 7)).collect();
    let body = format!(r#"{{"model":"tiny","messages":[{}],"stream":false}}"#, messages.join(","));
    record.set(&field::SESSION, format!("session-{}", index / 7));
    record.set(&field::REQUEST_ID, format!("request-{index}"));
    record.set(
        &field::TAGS,
        [("team", if index.is_multiple_of(2) { "red" } else { "blue" })].into_iter().collect::<Map>(),
    );
    record.set(&field::REQUEST_MODEL, "tiny");
    record.set(&field::TEMPERATURE, 0.7);
    record.set(&field::STOP_SEQUENCES, vec![Value::from("\n\n"), Value::from("END")]);
    record.set(&field::INPUT_BODY, body.into_bytes());
    record.set(&field::OUTPUT_BODY, vec![b'{', 0xff, index as u8]);
    record.set(&field::OUTPUT_TEXT, format!("answer {index}"));
    record.set(&field::OUTPUT_TOKENS, index as i64 % 100);
    record.set(&field::DURATION, 1500_i64);
    record.set(&field::OUTCOME, "completed");
    Committed { index, committed_at, record }
}

/// Calls with the leaf indexes `0..count`.
pub(crate) fn calls(count: u64) -> Vec<Committed> {
    (0..count).map(call).collect()
}

/// Any record at all.
pub(crate) fn committed() -> impl Strategy<Value = Committed> {
    (0..=i64::MAX as u64, any::<i64>(), record()).prop_map(|(index, committed_at, record)| Committed {
        index,
        committed_at,
        record,
    })
}

fn record() -> impl Strategy<Value = Record> {
    let kind = select(Kind::ALL);
    let refs = vec((select(Rel::ALL), any::<u128>()), 0..4)
        .prop_map(|refs| refs.into_iter().map(|(rel, id)| Ref { rel, id: Uuid::from_u128(id) }).collect());
    let groups = btree_map(select(&Group::ALL[..]), Just(()), 0..8).prop_flat_map(|groups| {
        groups.into_keys().map(|group| map(group).prop_map(move |map| (group, map))).collect::<Vec<_>>()
    });
    let erased = vec(select(&Group::ALL[..]), 0..3);
    (any::<u128>(), kind, any::<i64>(), refs, any::<[u8; 32]>(), groups, erased).prop_map(
        |(id, kind, captured_at, refs, secret, groups, erased)| {
            let groups: BTreeMap<_, _> =
                groups.into_iter().map(|(group, map)| (group, GroupState::Open(map))).collect();
            let mut record =
                Record::from_parts(Uuid::from_u128(id), kind, captured_at, refs, Salts::Secret(secret), groups);
            for group in erased {
                record.erase(group, Uuid::from_u128(id ^ 1));
            }
            record
        },
    )
}

/// Fields of a group: known ones with the right shape or any other, and unknown ones.
fn map(group: Group) -> impl Strategy<Value = Map> {
    let known: Vec<&'static Field> = field::ALL.iter().copied().filter(|field| field.group == group).collect();
    let name = prop_oneof![4 => select(known).prop_map(|field| (field.name.to_owned(), Some(field.shape))), 1 => ("[a-z.]{0,12}", Just(None))];
    let one = name.prop_flat_map(|(name, shape)| (Just(name), prop_oneof![3 => value(shape), 1 => value(None)]));
    vec(one, 0..8).prop_map(|fields| fields.into_iter().collect())
}

fn value(shape: Option<Shape>) -> BoxedStrategy<Value> {
    let text = || ".{0,20}".prop_map(Value::Text);
    match shape {
        Some(Shape::Text) => text().boxed(),
        Some(Shape::Int) => any::<i64>().prop_map(Value::Int).boxed(),
        Some(Shape::Float) => {
            any::<f64>().prop_filter("NaN is not equal", |n| !n.is_nan()).prop_map(Value::Float).boxed()
        }
        Some(Shape::Bool) => any::<bool>().prop_map(Value::Bool).boxed(),
        Some(Shape::Bytes) => vec(any::<u8>(), 0..40).prop_map(Value::Bytes).boxed(),
        Some(Shape::Body) => prop_oneof![
            vec(any::<u8>(), 0..200).prop_map(Value::Bytes),
            r#"\{"messages":\[(\{"a":"[^"]{0,9}"\},?){0,5}\]\}"#.prop_map(|body| Value::Bytes(body.into_bytes())),
        ]
        .boxed(),
        Some(Shape::TextList) => vec(text(), 0..4).prop_map(Value::Array).boxed(),
        Some(Shape::TextMap) => {
            vec((".{0,9}", text()), 0..4).prop_map(|map| Value::Map(map.into_iter().collect())).boxed()
        }
        None => anything().boxed(),
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let one = prop_oneof![
        Just(Value::Null),
        option::of(any::<i64>()).prop_map(|n| n.map_or(Value::Bool(true), Value::Int)),
        ".{0,9}".prop_map(Value::Text),
        vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
    ];
    prop_oneof![one.clone(), vec(one, 0..4).prop_map(Value::Array)]
}
