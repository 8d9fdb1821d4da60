//! Values and their encoding.

use onrecord_proof::{Map, Value};
use serde_json::{Value as Json, json};

use crate::{check, hex, unhex};

/// A value as the vectors write it: nothing that JSON could change.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!({"int": n.to_string()}),
        Value::Float(n) => json!({"float": hex(n.to_bits().to_be_bytes())}),
        Value::Text(text) => json!({"text": text}),
        Value::Bytes(bytes) => json!({"bytes": hex(bytes)}),
        Value::Array(items) => json!({"array": items.iter().map(to_json).collect::<Vec<_>>()}),
        Value::Map(map) => map_to_json(map),
    }
}

pub(crate) fn map_to_json(map: &Map) -> Json {
    json!({"map": map.iter().map(|(name, value)| json!([name, to_json(value)])).collect::<Vec<_>>()})
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inside, _| Value::Array(vec![inside]))
}

fn valid() -> Vec<Value> {
    let ints = [0, 1, 23, 24, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, i64::MAX];
    let negative = [-1, -24, -25, -256, -257, -65_536, -65_537, -4_294_967_296, -4_294_967_297, i64::MIN];
    let halves = [0.0, -0.0, 1.0, 1.5, -4.0, 65_504.0, 5.960_464_477_539_063e-8, 6.103_515_625e-5];
    let wider = [100_000.0, 65_505.0, f64::from(f32::MAX), f64::from(f32::from_bits(1)), 1.1, -4.1, 1e300, 5e-324];
    let special = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let mut values = vec![Value::Null, false.into(), true.into()];
    values.extend(ints.into_iter().chain(negative).map(Value::Int));
    values.extend(halves.into_iter().chain(wider).chain(special).map(Value::Float));
    values.extend(["", "a", "\"\\", "ü水𐅑\0", &"x".repeat(24), &"y".repeat(256)].map(Value::from));
    values.extend([Value::Bytes(vec![]), Value::Bytes(vec![0, 255]), Value::Bytes(vec![7; 24])]);
    values.extend([Value::Array(vec![]), Value::Array(vec![1_i64.into(), "b".into(), Value::Null]), nested(32)]);
    values.push(Map::new().into());
    // Shorter names first, then bytewise: "b" before "aa", "z" before "ä" (two bytes).
    let names = ["aa", "b", "ä", "z", "", "aaa", &"n".repeat(24)];
    values.push(names.iter().map(|name| ((*name).to_owned(), true)).collect::<Map>().into());
    values
}

const REFUSED: &[(&str, &str)] = &[
    ("", "nothing"),
    ("18", "the end inside an integer"),
    ("1801", "an integer in more bytes than needed"),
    ("190018", "an integer in more bytes than needed"),
    ("1b00000000ffffffff", "an integer in more bytes than needed"),
    ("1b8000000000000000", "an integer above the range"),
    ("3b8000000000000000", "an integer below the range"),
    ("1c", "a reserved length"),
    ("fa00000000", "a float in more bytes than needed"),
    ("fb3ff8000000000000", "a float in more bytes than needed"),
    ("fb7ff8000000000000", "a NaN in more bytes than needed"),
    ("f97e01", "a NaN with other bits"),
    ("f9fe00", "a NaN with a sign"),
    ("fa7fc00000", "a NaN in more bytes than needed"),
    ("7801", "the end inside a length"),
    ("780161", "a length in more bytes than needed"),
    ("6261", "the end inside a text"),
    ("61ff", "a text that is not UTF-8"),
    ("63eda080", "a surrogate in a text"),
    ("7f6161ff", "a text of indefinite length"),
    ("5f4101ff", "bytes of indefinite length"),
    ("9f01ff", "an array of indefinite length"),
    ("bf616101ff", "a map of indefinite length"),
    ("9bffffffffffffffff", "an array longer than the input"),
    ("a2616201616102", "names out of order"),
    ("a262616101616202", "a longer name before a shorter one"),
    ("a2616101616102", "a name twice"),
    ("a10101", "a name that is not text"),
    ("a17f6161ff01", "a name of indefinite length"),
    ("a16161", "a name without a value"),
    ("c001", "a tag"),
    ("c2420100", "a big integer"),
    ("f7", "undefined"),
    ("f0", "another simple value"),
    ("f814", "false in two bytes"),
    ("ff", "a break"),
    ("0101", "bytes after the value"),
];

#[test]
fn values_and_their_encodings() {
    let valid: Vec<_> = valid().iter().map(|v| json!({"value": to_json(v), "cbor": hex(v.to_bytes())})).collect();
    let too_deep = hex(nested(33).to_bytes());
    let refused = REFUSED.iter().copied().chain([(&*too_deep, "nested deeper than 32")]);
    let refused: Vec<_> = refused.map(|(cbor, why)| json!({"cbor": cbor, "why": why})).collect();
    check("cbor.json", &json!({"valid": valid, "refused": refused}));

    for case in valid {
        let bytes = unhex(case["cbor"].as_str().unwrap());
        let value = Value::from_bytes(&bytes).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(to_json(&value), case["value"]);
    }
    for case in refused {
        assert!(Value::from_bytes(&unhex(case["cbor"].as_str().unwrap())).is_err(), "{case}");
    }
}
