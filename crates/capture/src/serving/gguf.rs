//! The header of a GGUF file (version 2 and 3), from any reader: architecture, parameters, quantization, context length
//! and chat template. What has no use here is skipped, so memory is bounded by the longest text that is kept.

use std::io::{self, Read};

const MAGIC: &[u8; 4] = b"GGUF";
/// A text that is kept, in bytes; chat templates have some ten thousand.
const TEXT_MAX: u64 = 4 << 20;
/// Names of tensors and keys have at most 64 bytes in the files there are (`GGML_MAX_NAME`); keys a few more.
const NAME_MAX: u64 = 64 << 10;
const PAIRS_MAX: u64 = 1 << 16;
const TENSORS_MAX: u64 = 1 << 20;
const DIMENSIONS_MAX: u32 = 8;
/// Lists in lists; files have none.
const DEPTH_MAX: u32 = 4;

/// What a file says of its model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// `general.name`.
    pub name: Option<String>,
    /// Elements of all tensors.
    pub parameters: Option<i64>,
    /// The name of `general.file_type`.
    pub quantization: Option<String>,
    /// Tokens of context that the model was trained for.
    pub context_length: Option<i64>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<String>,
}

/// A value that may be worth keeping.
enum Value {
    Text(String),
    Number(u64),
    Other,
}

/// Reads a header. Refused is what is no GGUF, or one that says more than any model has.
pub fn read(mut input: impl Read) -> io::Result<Header> {
    let input: &mut dyn Read = &mut input;
    if bytes::<4>(input)? != *MAGIC {
        return Err(bad("it does not begin with GGUF"));
    }
    let version = u32::from_le_bytes(bytes(input)?);
    if !(2..=3).contains(&version) {
        return Err(bad("GGUF of another version than 2 and 3"));
    }
    let (tensors, pairs) = (number(input)?, number(input)?);
    if tensors > TENSORS_MAX || pairs > PAIRS_MAX {
        return Err(bad("more tensors or values than any model has"));
    }
    let mut header = Header::default();
    let mut contexts = Vec::new();
    for _ in 0..pairs {
        let key = text(input, NAME_MAX)?;
        let kind = u32::from_le_bytes(bytes(input)?);
        match (key.as_str(), value(input, kind, 0)?) {
            ("general.architecture", Value::Text(text)) => header.architecture = Some(text),
            ("general.name", Value::Text(text)) => header.name = Some(text),
            ("tokenizer.chat_template", Value::Text(text)) => header.chat_template = Some(text),
            ("general.file_type", Value::Number(kind)) => header.quantization = file_type(kind),
            (_, Value::Number(length)) if key.ends_with(".context_length") => contexts.push((key, length)),
            _ => {}
        }
    }
    let own = header.architecture.as_ref().map(|architecture| format!("{architecture}.context_length"));
    let context = contexts.into_iter().find(|(key, _)| Some(key) == own.as_ref());
    header.context_length = context.and_then(|(_, length)| i64::try_from(length).ok());
    header.parameters = parameters(input, tensors)?;
    Ok(header)
}

/// The elements of all tensors; `None` if there are too many to count.
fn parameters(input: &mut dyn Read, tensors: u64) -> io::Result<Option<i64>> {
    let mut sum = Some(0_i64);
    for _ in 0..tensors {
        text(input, NAME_MAX)?;
        let dimensions = u32::from_le_bytes(bytes(input)?);
        if dimensions > DIMENSIONS_MAX {
            return Err(bad("a tensor of more dimensions than any model has"));
        }
        let mut elements = Some(1_i64);
        for _ in 0..dimensions {
            let size = i64::try_from(number(input)?).ok();
            elements = elements.zip(size).and_then(|(elements, size)| elements.checked_mul(size));
        }
        // Its type and its offset.
        skip(input, 12)?;
        sum = sum.zip(elements).and_then(|(sum, elements)| sum.checked_add(elements));
    }
    Ok(sum)
}

fn value(input: &mut dyn Read, kind: u32, depth: u32) -> io::Result<Value> {
    Ok(match kind {
        8 => Value::Text(text(input, TEXT_MAX)?),
        9 => {
            list(input, depth)?;
            Value::Other
        }
        4 => Value::Number(u32::from_le_bytes(bytes(input)?).into()),
        5 => Value::Number(u64::try_from(i32::from_le_bytes(bytes(input)?)).unwrap_or(0)),
        10 | 11 => Value::Number(number(input)?),
        _ => {
            skip(input, width(kind)?)?;
            Value::Other
        }
    })
}

/// Skips a list, such as the tokens of the vocabulary.
fn list(input: &mut dyn Read, depth: u32) -> io::Result<()> {
    let (kind, len) = (u32::from_le_bytes(bytes(input)?), number(input)?);
    match kind {
        8 => (0..len).try_for_each(|_| {
            let len = number(input)?;
            skip(input, len)
        }),
        9 if depth < DEPTH_MAX => (0..len).try_for_each(|_| list(input, depth + 1)),
        9 => Err(bad("lists in lists")),
        _ => skip(input, len.checked_mul(width(kind)?).ok_or_else(|| bad("a list without end"))?),
    }
}

/// Bytes of a number of this type.
fn width(kind: u32) -> io::Result<u64> {
    match kind {
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(bad("a value of a type that GGUF does not have")),
    }
}

fn text(input: &mut dyn Read, max: u64) -> io::Result<String> {
    let len = number(input)?;
    if len > max {
        return Err(bad("a text longer than any model has"));
    }
    let mut text = Vec::new();
    input.take(len).read_to_end(&mut text)?;
    if text.len() as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(crate::json::utf8(&text).into_owned())
}

fn skip(input: &mut dyn Read, len: u64) -> io::Result<()> {
    let skipped = io::copy(&mut input.take(len), &mut io::sink())?;
    if skipped == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn number(input: &mut dyn Read) -> io::Result<u64> {
    Ok(u64::from_le_bytes(bytes(input)?))
}

fn bytes<const N: usize>(input: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bad(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// The name of a file type (`llama_ftype` in llama.h).
fn file_type(kind: u64) -> Option<String> {
    let name = match kind {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4_MOE",
        _ => return None,
    };
    Some(name.to_owned())
}
