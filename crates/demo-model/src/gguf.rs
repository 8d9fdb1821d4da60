//! The model file: GGUF, compiled in.
//!
//! Reads what this file needs of the format: version 3, little-endian, f32 and f16 tensors.
//! Specification: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use std::collections::HashMap;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::{Error, Result};

const MAGIC: &[u8] = b"GGUF";
const VERSION: u32 = 3;
/// Where the file does not say otherwise, tensors start at multiples of this many bytes.
const ALIGNMENT: usize = 32;

/// The metadata and tensors of a model file.
pub(crate) struct Gguf {
    metadata: HashMap<&'static str, Value>,
    tensors: HashMap<&'static str, Stored>,
    /// Tensor offsets count from the start of this.
    data: &'static [u8],
}

/// A metadata value. Integers of all widths are one kind, as are floats.
enum Value {
    Int(i64),
    Float(f64),
    Text(&'static str),
    List(Vec<Value>),
}

/// Where a tensor lies in the data.
struct Stored {
    elements: usize,
    kind: u32,
    offset: usize,
}

impl Gguf {
    pub(crate) fn parse(file: &'static [u8]) -> Result<Self> {
        let mut reader = Reader { rest: file };
        if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
            return Err(Error::ModelFile("not GGUF version 3"));
        }
        let (tensors, metadata) = (reader.size()?, reader.size()?);
        let metadata = (0..metadata).map(|_| Ok((reader.text()?, reader.value()?))).collect::<Result<_>>()?;
        let tensors = (0..tensors).map(|_| reader.tensor()).collect::<Result<_>>()?;
        let start = (file.len() - reader.rest.len()).next_multiple_of(ALIGNMENT);
        let data = file.get(start..).ok_or(TRUNCATED)?;
        Ok(Self { metadata, tensors, data })
    }

    /// A tensor in row-major order, widened to f32: f16 halves the file, but CPUs compute in f32.
    pub(crate) fn tensor(&self, name: &str) -> Result<Vec<f32>> {
        let stored = self.tensors.get(name).ok_or(Error::ModelFile("a tensor is missing"))?;
        let width = match stored.kind {
            0 => size_of::<f32>(),
            1 => size_of::<f16>(),
            _ => return Err(Error::ModelFile("a tensor is neither f32 nor f16")),
        };
        let bytes = self.data.get(stored.offset..).and_then(|data| data.get(..stored.elements * width));
        let bytes = bytes.ok_or(TRUNCATED)?;
        Ok(if width == size_of::<f32>() { f32s(bytes) } else { widened(bytes) })
    }

    pub(crate) fn usize(&self, key: &str) -> Result<usize> {
        self.get(key, |value| match value {
            Value::Int(int) => usize::try_from(*int).ok(),
            _ => None,
        })
    }

    pub(crate) fn f32(&self, key: &str) -> Result<f32> {
        self.get(key, |value| match value {
            Value::Float(float) => Some(*float as f32),
            _ => None,
        })
    }

    pub(crate) fn text(&self, key: &str) -> Result<&'static str> {
        self.get(key, Value::text)
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Vec<&'static str>> {
        self.get(key, |value| value.list(Value::text))
    }

    pub(crate) fn ints(&self, key: &str) -> Result<Vec<i64>> {
        self.get(key, |value| value.list(Value::int))
    }

    fn get<T>(&self, key: &str, convert: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let value = self.metadata.get(key).and_then(convert);
        value.ok_or_else(|| Error::Metadata { key: key.to_owned() })
    }
}

impl Value {
    fn text(&self) -> Option<&'static str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn int(&self) -> Option<i64> {
        if let Self::Int(int) = self { Some(*int) } else { None }
    }

    fn list<T>(&self, convert: impl Fn(&Self) -> Option<T>) -> Option<Vec<T>> {
        if let Self::List(values) = self { values.iter().map(convert).collect() } else { None }
    }
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn widened(bytes: &[u8]) -> Vec<f32> {
    let halves: Vec<f16> = bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
    halves.to_f32_vec()
}

const TRUNCATED: Error = Error::ModelFile("truncated");

struct Reader {
    rest: &'static [u8],
}

impl Reader {
    fn take(&mut self, length: usize) -> Result<&'static [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn size(&mut self) -> Result<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| TRUNCATED)
    }

    fn text(&mut self) -> Result<&'static str> {
        let length = self.size()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Error::ModelFile("a string is not UTF-8"))
    }

    fn value(&mut self) -> Result<Value> {
        let kind = self.u32()?;
        self.value_of(kind)
    }

    fn value_of(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 | 7 => Value::Int(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            8 => Value::Text(self.text()?),
            9 => {
                let (kind, length) = (self.u32()?, self.size()?);
                Value::List((0..length).map(|_| self.value_of(kind)).collect::<Result<_>>()?)
            }
            10 | 11 => Value::Int(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(Error::ModelFile("a metadata value has an unknown type")),
        })
    }

    fn tensor(&mut self) -> Result<(&'static str, Stored)> {
        let (name, dimensions) = (self.text()?, self.u32()?);
        let elements = (0..dimensions).map(|_| self.size()).product::<Result<usize>>()?;
        Ok((name, Stored { elements, kind: self.u32()?, offset: self.size()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GGUF;

    #[test]
    fn metadata_is_typed() {
        let file = Gguf::parse(GGUF).unwrap();
        assert_eq!(file.text("general.architecture").unwrap(), "llama");
        assert_eq!(file.usize("llama.context_length").unwrap(), 2048);
        assert_eq!(file.texts("tokenizer.ggml.tokens").unwrap().len(), 4096);
        assert!((file.f32("llama.rope.freq_base").unwrap() - 10_000.0).abs() < 1e-3);
    }

    #[test]
    fn a_missing_or_mistyped_key_is_named() {
        let file = Gguf::parse(GGUF).unwrap();
        for key in ["llama.nothing", "general.name"] {
            let error = file.usize(key).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn a_cut_file_is_refused() {
        let mut refused = 0;
        for length in [0, 3, 8, 24, 1000, 100_000] {
            refused += usize::from(Gguf::parse(&GGUF[..length]).is_err());
        }
        assert_eq!(refused, 6);
        let cut = Gguf::parse(&GGUF[..GGUF.len() - 1]).unwrap();
        let whole = cut.tensors.keys().filter(|name| cut.tensor(name).is_ok()).count();
        assert_eq!(whole, cut.tensors.len() - 1);
    }
}
