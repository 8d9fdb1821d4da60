//! The value model and its deterministic CBOR encoding (RFC 8949 §4.2.1).
//!
//! A subset of CBOR: null, booleans, integers of 64 bits with sign, floats, byte and text strings, arrays, and maps
//! with text keys. Decoding accepts the canonical encoding of a value and nothing else, so that equal values have
//! equal bytes and a commitment has one reading.

use std::borrow::Cow;
use std::cmp::Ordering;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::Malformed;
use crate::writer::{Float, Writer, argument, head_len, string_len};

/// Nesting beyond this is refused: the deepest value we write is a token's list of alternatives, four levels down.
pub(crate) const DEPTH_MAX: u32 = 32;

/// One value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// JSON's null.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number; every NaN is the same NaN.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// Arbitrary bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// Names and values.
    Map(Map),
}

/// Names and values in canonical order: shorter names first, then bytewise (RFC 8949 §4.2.1 applied to text keys).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(Vec<(Cow<'static, str>, Value)>);

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets `name`, replacing what it held.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let name = name.into();
        match self.find(&name) {
            Ok(at) => self.0[at].1 = value.into(),
            Err(at) => self.0.insert(at, (name, value.into())),
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    /// Takes `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.find(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Names and values in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(self.encoded_len());
        out.fields(self);
        out.into_bytes()
    }

    /// Reads canonical bytes; anything else is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let map = Self::read_whole(bytes)?;
        if map.to_bytes() != bytes {
            return Err(Malformed::new("group", "the encoding is not canonical"));
        }
        Ok(map)
    }

    /// Reads bytes without asking whether they are canonical.
    pub(crate) fn read_whole(bytes: &[u8]) -> Result<Self, Malformed> {
        read_map(&mut Decoder::new(bytes), 0).map_err(|e| Malformed::new("group", e.to_string()))
    }

    /// True if as the map of a group it could not be read back.
    pub(crate) fn is_too_deep(&self) -> bool {
        self.is_deeper(DEPTH_MAX)
    }

    fn is_deeper(&self, levels: u32) -> bool {
        self.0.iter().any(|(_, value)| levels == 0 || value.is_deeper(levels - 1))
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(have, _)| order(have, name))
    }

    /// How many bytes the encoding has.
    pub(crate) fn encoded_len(&self) -> usize {
        let fields = self.0.iter().map(|(name, value)| string_len(name.len()) + value.encoded_len());
        head_len(self.0.len() as u64) + fields.sum::<usize>()
    }
}

/// The canonical order of names.
fn order(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

impl IntoIterator for Map {
    type Item = (Cow<'static, str>, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Value>> FromIterator<(N, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(items: I) -> Self {
        let mut map = Self::new();
        for (name, value) in items {
            map.set(name, value);
        }
        map
    }
}

impl Value {
    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(n) = self { Some(*n) } else { None }
    }

    /// The number, if it is a float.
    pub fn as_float(&self) -> Option<f64> {
        if let Self::Float(n) = self { Some(*n) } else { None }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    /// The bytes, if it is a byte string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The items, if it is a list.
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The names and values, if it is a map.
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(self.encoded_len());
        out.value(self);
        out.into_bytes()
    }

    /// Reads canonical bytes; anything else is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Decoder::new(bytes);
        let value = read_value(&mut input, 0).map_err(|e| Malformed::new("value", e.to_string()))?;
        if value.to_bytes() != bytes {
            return Err(Malformed::new("value", "the encoding is not canonical"));
        }
        Ok(value)
    }

    /// True if there is a value more than `levels` containers down.
    fn is_deeper(&self, levels: u32) -> bool {
        match self {
            Self::Array(items) => items.iter().any(|item| levels == 0 || item.is_deeper(levels - 1)),
            Self::Map(map) => map.is_deeper(levels),
            _ => false,
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Int(n) => head_len(argument(*n)),
            Self::Float(n) => Float::of(*n).as_bytes().len() + 1,
            Self::Text(text) => string_len(text.len()),
            Self::Bytes(bytes) => string_len(bytes.len()),
            Self::Array(items) => head_len(items.len() as u64) + items.iter().map(Self::encoded_len).sum::<usize>(),
            Self::Map(map) => map.encoded_len(),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$x:ident| $make:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($x: $from) -> Self { $make }
        })*
    };
}

value_from! {
    bool => |x| Value::Bool(x);
    i64 => |x| Value::Int(x);
    u16 => |x| Value::Int(x.into());
    u32 => |x| Value::Int(x.into());
    f64 => |x| Value::Float(x);
    &str => |x| Value::Text(x.to_owned());
    String => |x| Value::Text(x);
    Vec<u8> => |x| Value::Bytes(x);
    &[u8] => |x| Value::Bytes(x.to_vec());
    [u8; 32] => |x| Value::Bytes(x.to_vec());
    Vec<Value> => |x| Value::Array(x);
    Map => |x| Value::Map(x);
}

type In<'b> = Decoder<'b>;
type ReadError = minicbor::decode::Error;

fn read_map(input: &mut In<'_>, depth: u32) -> Result<Map, ReadError> {
    let len = input.map()?.ok_or_else(|| ReadError::message("a map of unknown length"))?;
    let mut map = Map::new();
    for _ in 0..len {
        let name = input.str()?;
        if map.0.last().is_some_and(|(last, _)| order(last, name).is_ge()) {
            return Err(ReadError::message("the encoding is not canonical: the names of a map do not ascend"));
        }
        map.0.push((name.to_owned().into(), read_value(input, depth + 1)?));
    }
    Ok(map)
}

fn read_array(input: &mut In<'_>, depth: u32) -> Result<Value, ReadError> {
    let len = input.array()?.ok_or_else(|| ReadError::message("an array of unknown length"))?;
    (0..len).map(|_| read_value(input, depth + 1)).collect::<Result<_, _>>().map(Value::Array)
}

fn read_value(input: &mut In<'_>, depth: u32) -> Result<Value, ReadError> {
    if depth > DEPTH_MAX {
        return Err(ReadError::message("nested too deeply"));
    }
    Ok(match input.datatype()? {
        Type::Null => {
            input.null()?;
            Value::Null
        }
        Type::Bool => Value::Bool(input.bool()?),
        Type::F16 => Value::Float(read_half(input)?),
        Type::F32 => Value::Float(input.f32()?.into()),
        Type::F64 => Value::Float(input.f64()?),
        Type::String => Value::Text(input.str()?.to_owned()),
        Type::Bytes => Value::Bytes(input.bytes()?.to_vec()),
        Type::Array => read_array(input, depth)?,
        Type::Map => Value::Map(read_map(input, depth)?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            Value::Int(input.i64()?)
        }
        other => return Err(ReadError::message(format!("{other} is not part of the format"))),
    })
}

fn read_half(input: &mut In<'_>) -> Result<f64, ReadError> {
    let at = input.position();
    let bytes = input.input().get(at + 1..at + 3).ok_or_else(ReadError::end_of_input)?;
    let value = half::f16::from_be_bytes([bytes[0], bytes[1]]).to_f64();
    input.set_position(at + 3);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("one NaN", |n| !n.is_nan()).prop_map(Value::Float),
            any::<f32>().prop_filter("one NaN", |n| !n.is_nan()).prop_map(|n| Value::Float(n.into())),
            any::<i8>().prop_map(|n| Value::Float(f64::from(n))),
            ".{0,40}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
                proptest::collection::vec((".{0,30}", inner), 0..8)
                    .prop_map(|items| Value::Map(items.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value in values()) {
            prop_assert_eq!(value.to_bytes().len(), value.encoded_len());
            prop_assert_eq!(Value::from_bytes(&value.to_bytes()).unwrap(), value);
        }

        #[test]
        fn what_is_accepted_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = Value::from_bytes(&bytes) {
                prop_assert_eq!(value.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn heads_are_those_of_another_encoder() {
        let edges = [0, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, i64::MAX];
        for n in edges.into_iter().flat_map(|n| [n, n.saturating_sub(1), -n, (-1) - n]) {
            let mut other = minicbor::Encoder::new(Vec::new());
            other.i64(n).unwrap();
            assert_eq!(Value::Int(n).to_bytes(), other.into_writer(), "{n}");
            assert_eq!(Value::Int(n).to_bytes().len(), Value::Int(n).encoded_len(), "{n}");
        }
        for len in [0, 23, 24, 255, 256, 65535, 65536] {
            let (text, items) = ("x".repeat(len), vec![Value::Null; len]);
            let mut other = minicbor::Encoder::new(Vec::new());
            other.array(3).unwrap().str(&text).unwrap().bytes(text.as_bytes()).unwrap().array(len as u64).unwrap();
            for _ in 0..len {
                other.null().unwrap();
            }
            let value = Value::Array(vec![text.as_str().into(), text.as_bytes().into(), items.into()]);
            assert_eq!(value.to_bytes(), other.into_writer(), "{len}");
            assert_eq!(value.to_bytes().len(), value.encoded_len(), "{len}");
        }
    }

    #[test]
    fn the_examples_of_rfc_8949_appendix_a() {
        for (value, hex) in [
            (Value::Int(0), "00"),
            (Value::Int(1_000_000_000_000), "1b000000e8d4a51000"),
            (Value::Int(-1000), "3903e7"),
            (Value::Float(0.0), "f90000"),
            (Value::Float(-0.0), "f98000"),
            (Value::Float(1.1), "fb3ff199999999999a"),
            (Value::Float(100_000.0), "fa47c35000"),
            (Value::Float(f64::NAN), "f97e00"),
            (Value::Float(f64::INFINITY), "f97c00"),
            (Value::Text("ü".into()), "62c3bc"),
            (Value::Bytes(vec![1, 2, 3, 4]), "4401020304"),
        ] {
            let bytes = value.to_bytes();
            let expected: Vec<_> =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            assert_eq!(bytes, expected, "{value:?}");
        }
    }

    #[test]
    fn other_encodings_of_the_same_value_are_refused() {
        for (bytes, why) in [
            (&[0x18, 0x01][..], "a long integer"),
            (&[0xfb, 0, 0, 0, 0, 0, 0, 0, 0], "a long float"),
            (&[0xa2, 0x61, b'b', 1, 0x61, b'a', 2], "keys out of order"),
            (&[0xa2, 0x61, b'a', 1, 0x61, b'a', 2], "a key twice"),
            (&[0x9f, 0x01, 0xff], "an array without a length"),
            (&[0x01, 0x01], "bytes after the value"),
            (&[0xc0, 0x01], "a tag"),
            (&[0xf7], "undefined"),
        ] {
            assert!(Value::from_bytes(bytes).is_err(), "{why}");
        }
        assert!(Value::from_bytes(&vec![0x81; 100_000]).is_err(), "nested too deeply");
    }
}
