//! Writing deterministic CBOR (RFC 8949 §4.2.1).

use crate::{Map, Value};

/// Writes deterministic CBOR: every head in its shortest form, every length known beforehand.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

/// The major types (RFC 8949 §3.1) that are part of the format.
#[derive(Debug, Clone, Copy)]
enum Major {
    Unsigned = 0x00,
    Negative = 0x20,
    Bytes = 0x40,
    Text = 0x60,
    Array = 0x80,
    Map = 0xa0,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn head(&mut self, major: Major, n: u64) {
        let (major, bytes) = (major as u8, n.to_be_bytes());
        match n {
            0..24 => self.0.push(major + n as u8),
            24..0x100 => self.0.extend_from_slice(&[major + 24, n as u8]),
            0x100..0x1_0000 => self.0.extend_from_slice(&[major + 25, bytes[6], bytes[7]]),
            0x1_0000..0x1_0000_0000 => {
                self.0.extend_from_slice(&[major + 26, bytes[4], bytes[5], bytes[6], bytes[7]]);
            }
            _ => {
                self.0.push(major + 27);
                self.0.extend_from_slice(&bytes);
            }
        }
    }

    pub(crate) fn unsigned(&mut self, n: impl Into<u64>) -> &mut Self {
        self.head(Major::Unsigned, n.into());
        self
    }

    pub(crate) fn int(&mut self, n: i64) -> &mut Self {
        self.head(if n < 0 { Major::Negative } else { Major::Unsigned }, argument(n));
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(Major::Bytes, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.head(Major::Text, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// An array of `len` items, which follow.
    pub(crate) fn array(&mut self, len: usize) -> &mut Self {
        self.head(Major::Array, len as u64);
        self
    }

    /// A map of `len` keys with a value each, which follow.
    pub(crate) fn map(&mut self, len: usize) -> &mut Self {
        self.head(Major::Map, len as u64);
        self
    }

    /// Names and values as a byte string, whose contents are given back.
    pub(crate) fn fields_as_bytes(&mut self, fields: &Map) -> &[u8] {
        let len = fields.encoded_len();
        self.head(Major::Bytes, len as u64);
        let start = self.0.len();
        self.fields(fields);
        assert_eq!(self.0.len() - start, len, "the head tells another length");
        &self.0[start..]
    }

    /// Names and values.
    pub(crate) fn fields(&mut self, fields: &Map) {
        self.map(fields.len());
        for (name, value) in fields.iter() {
            self.text(name).value(value);
        }
    }

    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.push(0xf6),
            Value::Bool(b) => self.0.push(0xf4 | u8::from(*b)),
            Value::Int(n) => _ = self.int(*n),
            Value::Float(n) => self.float(*n),
            Value::Text(text) => _ = self.text(text),
            Value::Bytes(bytes) => _ = self.bytes(bytes),
            Value::Array(items) => {
                self.array(items.len());
                for item in items {
                    self.value(item);
                }
            }
            Value::Map(map) => self.fields(map),
        }
    }

    fn float(&mut self, n: f64) {
        let float = Float::of(n);
        self.0.push(float.initial_byte());
        self.0.extend_from_slice(float.as_bytes());
    }
}

/// The shortest of the three float widths that keeps a value; NaN is always `f9 7e00`.
pub(crate) enum Float {
    Half([u8; 2]),
    Single([u8; 4]),
    Double([u8; 8]),
}

impl Float {
    pub(crate) fn of(n: f64) -> Self {
        let (single, half) = (n as f32, half::f16::from_f64(n));
        if n.is_nan() {
            Self::Half([0x7e, 0x00])
        } else if half.to_f64().to_bits() == n.to_bits() {
            Self::Half(half.to_be_bytes())
        } else if f64::from(single).to_bits() == n.to_bits() {
            Self::Single(single.to_be_bytes())
        } else {
            Self::Double(n.to_be_bytes())
        }
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Half(bytes) => bytes,
            Self::Single(bytes) => bytes,
            Self::Double(bytes) => bytes,
        }
    }

    const fn initial_byte(&self) -> u8 {
        match self {
            Self::Half(_) => 0xf9,
            Self::Single(_) => 0xfa,
            Self::Double(_) => 0xfb,
        }
    }
}

/// What the head of an integer holds: a negative number n stands as -1 - n.
pub(crate) const fn argument(n: i64) -> u64 {
    (if n < 0 { !n } else { n }) as u64
}

/// How many bytes a head has.
pub(crate) const fn head_len(n: u64) -> usize {
    match n {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// How many bytes a string of `len` bytes has with its head.
pub(crate) const fn string_len(len: usize) -> usize {
    head_len(len as u64) + len
}
