//! The model file: GGUF, compiled in. It is the demo's whole supply: nothing is downloaded.

use std::io::Cursor;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};

use crate::{Error, Result};

const GGUF: &[u8] = include_bytes!("../model/tiny-pydoc.gguf");

/// The metadata and tensors of the embedded model file.
pub(crate) struct Checkpoint {
    content: Content,
}

impl Checkpoint {
    pub(crate) fn open() -> Result<Self> {
        let content = Content::read(&mut Cursor::new(GGUF))?;
        Ok(Self { content })
    }

    /// The file itself, for its digest.
    pub(crate) fn bytes() -> &'static [u8] {
        GGUF
    }

    /// A tensor by its GGUF name, widened to f32: f16 saves 4 MB on disk, but CPUs compute in f32.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        let stored = self.content.tensor(&mut Cursor::new(GGUF), name, &Device::Cpu)?;
        Ok(stored.dequantize(&Device::Cpu)?)
    }

    pub(crate) fn usize(&self, key: &str) -> Result<usize> {
        self.get(key, Value::to_u32).map(|value| value as usize)
    }

    pub(crate) fn f32(&self, key: &str) -> Result<f32> {
        self.get(key, Value::to_f32)
    }

    pub(crate) fn string(&self, key: &str) -> Result<&str> {
        self.get(key, Value::to_string).map(String::as_str)
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Vec<&str>> {
        self.list(key, |value| value.to_string().map(String::as_str))
    }

    pub(crate) fn ints(&self, key: &str) -> Result<Vec<i32>> {
        self.list(key, Value::to_i32)
    }

    fn list<'a, T>(&'a self, key: &str, convert: impl Fn(&'a Value) -> candle_core::Result<T>) -> Result<Vec<T>> {
        let values = self.get(key, Value::to_vec)?;
        values.iter().map(|value| convert(value).map_err(|_| metadata(key))).collect()
    }

    fn get<'a, T>(&'a self, key: &str, convert: impl Fn(&'a Value) -> candle_core::Result<T>) -> Result<T> {
        let value = self.content.metadata.get(key).ok_or_else(|| metadata(key))?;
        convert(value).map_err(|_| metadata(key))
    }
}

fn metadata(key: &str) -> Error {
    Error::Metadata { key: key.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_typed() {
        let file = Checkpoint::open().unwrap();
        assert_eq!(file.string("general.architecture").unwrap(), "llama");
        assert_eq!(file.usize("llama.context_length").unwrap(), 2048);
        assert_eq!(file.strings("tokenizer.ggml.tokens").unwrap().len(), 4096);
    }

    #[test]
    fn a_missing_or_mistyped_key_is_named() {
        let file = Checkpoint::open().unwrap();
        for key in ["llama.nothing", "general.name"] {
            let error = file.usize(key).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
