//! The byte-level BPE tokenizer that the model file describes.

use std::collections::HashMap;

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer as Encoder};

use crate::checkpoint::Checkpoint;
use crate::{Error, Result};

/// Token types of GGUF's `tokenizer.ggml.token_type`.
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

pub(crate) struct Tokenizer {
    encoder: Encoder,
    /// What each token adds to a text, by id; empty for control tokens.
    pieces: Vec<Box<[u8]>>,
    /// What each token is called, by id.
    names: Vec<Box<str>>,
    /// The tokens that end an answer.
    ends: Vec<u32>,
}

impl Tokenizer {
    pub(crate) fn load(file: &Checkpoint) -> Result<Self> {
        let tokens = file.strings("tokenizer.ggml.tokens")?;
        let kinds = file.ints("tokenizer.ggml.token_type")?;
        let bytes = byte_alphabet();
        let pieces = tokens.iter().zip(&kinds).map(|(token, kind)| piece(token, *kind, &bytes)).collect();
        Ok(Self {
            encoder: encoder(file, &tokens, &kinds)?,
            pieces,
            names: tokens.into_iter().map(Box::from).collect(),
            ends: vec![
                file.usize("tokenizer.ggml.eos_token_id")? as u32,
                file.usize("tokenizer.ggml.bos_token_id")? as u32,
            ],
        })
    }

    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.encoder.encode_fast(text, false).map_err(Error::Tokenizer)?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(crate) fn piece(&self, id: u32) -> &[u8] {
        self.pieces.get(id as usize).map_or(&[], |piece| piece)
    }

    /// A token as text: its piece, or the name of a control token. Half a character reads as U+FFFD.
    pub(crate) fn label(&self, id: u32) -> String {
        match self.piece(id) {
            [] => self.names.get(id as usize).map(ToString::to_string).unwrap_or_default(),
            piece => String::from_utf8_lossy(piece).into_owned(),
        }
    }

    pub(crate) fn ends_answer(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    pub(crate) fn vocabulary(&self) -> usize {
        self.pieces.len()
    }
}

fn encoder(file: &Checkpoint, tokens: &[&str], kinds: &[i32]) -> Result<Encoder> {
    let merges = file.strings("tokenizer.ggml.merges")?;
    let merges = merges.iter().filter_map(|merge| merge.split_once(' '));
    let merges = merges.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
    let vocabulary: HashMap<String, u32> = tokens.iter().map(|token| (*token).to_owned()).zip(0..).collect();
    let bpe =
        BPE::builder().vocab_and_merges(vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges);
    let mut encoder = Encoder::new(bpe.build().map_err(Error::Tokenizer)?);
    encoder.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
    let added = |kind: i32| tokens.iter().zip(kinds).filter(move |(_, k)| **k == kind).map(|(token, _)| *token);
    let special = added(CONTROL).map(|token| AddedToken::from(token, true));
    encoder.add_special_tokens(special).map_err(Error::Tokenizer)?;
    let markers = added(USER_DEFINED).map(|token| AddedToken::from(token, false).normalized(false));
    encoder.add_tokens(markers).map_err(Error::Tokenizer)?;
    Ok(encoder)
}

fn piece(token: &str, kind: i32, bytes: &HashMap<char, u8>) -> Box<[u8]> {
    match kind {
        CONTROL => Box::default(),
        USER_DEFINED => token.as_bytes().into(),
        _ => token.chars().filter_map(|character| bytes.get(&character).copied()).collect(),
    }
}

/// GPT-2's printable stand-in for each byte, reversed. Bytes that print stand for themselves, the others are numbered
/// upwards from U+0100. (`bytes_to_unicode` in OpenAI's `gpt-2/src/encoder.py`)
fn byte_alphabet() -> HashMap<char, u8> {
    let prints = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let (printing, others): (Vec<u8>, Vec<u8>) = (0..=255).partition(prints);
    let others = others.into_iter().zip('\u{100}'..);
    printing
        .into_iter()
        .map(|byte| (char::from(byte), byte))
        .chain(others.map(|(byte, stand_in)| (stand_in, byte)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::load(&Checkpoint::open().unwrap()).unwrap()
    }

    #[test]
    fn encodes_as_llama_cpp_does() {
        let check = |text: &str, expect: &[u32]| assert_eq!(tokenizer().encode(text).unwrap(), expect, "{text}");
        check("Hello <|im_end|> 你好", &[1617, 223, 2, 223, 163, 124, 257, 164, 101, 124]);
        check("Hello! How can I", &[1617, 3, 2272, 493, 396]);
        check("<tool_call>", &[4092]);
        check("", &[]);
    }

    #[test]
    fn every_text_survives_the_round_trip() {
        let tokenizer = tokenizer();
        for text in ["def f(x):\n\treturn x  # Grüße 你好 🙂🏽", " \u{0}\u{7f}\u{ad}\r\n", "<think>\n</think>"]
        {
            let ids = tokenizer.encode(text).unwrap();
            let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.piece(*id)).copied().collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }

    #[test]
    fn control_tokens_have_a_name_and_no_text() {
        let tokenizer = tokenizer();
        assert_eq!((tokenizer.piece(2), tokenizer.label(2).as_str()), (&[][..], "<|im_end|>"));
        assert!(tokenizer.ends_answer(2) && tokenizer.ends_answer(0) && !tokenizer.ends_answer(1));
        assert_eq!(tokenizer.label(163), "\u{fffd}");
    }
}
