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

    /// What was written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Forgets what was written and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
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
        // A negative number n stands as -1 - n.
        let (major, n) = if n < 0 { (Major::Negative, !n) } else { (Major::Unsigned, n) };
        self.head(major, n as u64);
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

    /// The shortest of the three float widths that keeps the value; NaN is always `f9 7e00`.
    fn float(&mut self, n: f64) {
        let (single, half) = (n as f32, half::f16::from_f64(n));
        if n.is_nan() {
            self.0.extend_from_slice(&[0xf9, 0x7e, 0x00]);
        } else if half.to_f64().to_bits() == n.to_bits() {
            self.0.push(0xf9);
            self.0.extend_from_slice(&half.to_be_bytes());
        } else if f64::from(single).to_bits() == n.to_bits() {
            self.0.push(0xfa);
            self.0.extend_from_slice(&single.to_be_bytes());
        } else {
            self.0.push(0xfb);
            self.0.extend_from_slice(&n.to_be_bytes());
        }
    }
}
