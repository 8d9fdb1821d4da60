//! Changes to bytes that look a little like what they are, from a seed.

/// Words that parsers look for.
const WORDS: [&[u8]; 28] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"data: ",
    b"data: [DONE]\n\n",
    b"event: ",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xe2\x80\x94 ",
    b"\"choices\":[",
    b"\"logprobs\":",
    b"\"tool_calls\":[",
];

/// A source of mutations that gives the same ones for the same seed.
#[derive(Debug, Clone)]
pub struct Mutator(u64);

impl Mutator {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    /// `bytes` with one to four changes; some take a piece out of `other`.
    pub fn mutate(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, other);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        let piece = at..(at + 1 + self.below(64)).min(bytes.len());
        match self.below(8) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.next() as u8),
            2 => drop(bytes.drain(piece.start.min(piece.end)..piece.end)),
            3 => bytes.truncate(at),
            4 => {
                let word = WORDS[self.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            5 => {
                let twice = bytes[piece.start.min(piece.end)..piece.end].to_vec();
                bytes.splice(at..at, twice);
            }
            6 => {
                let from = self.below(other.len());
                let until = (from + 1 + self.below(256)).min(other.len());
                bytes.splice(at..at, other[from.min(until)..until].iter().copied());
            }
            _ => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = [0, 0x7f, 0x80, 0xff][self.below(4)]),
        }
    }
}
