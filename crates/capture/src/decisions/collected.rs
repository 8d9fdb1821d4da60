//! The decisions of one answer while it is received: their text, a summary, and when they came.

use super::{Summary, read_items};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::list::List;

/// Bytes of the times of one answer: some hundred thousand tokens.
const TIMES_MAX: usize = 1 << 20;

/// What is known of the decisions of one answer.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// The items as they came.
    items: List,
    summary: Summary,
    /// They come beside the answer, and what is still in it is a part of the same.
    beside: bool,
    /// Tokens since the last mark.
    new: u64,
    /// Pairs of numbers: microseconds since the one before, and tokens.
    times: Vec<u8>,
    /// The last of the pairs, which is not in `times` yet.
    open: Option<(i64, u64)>,
    closed_at: i64,
}

impl Decisions {
    /// Appends the items of a list; false if it is none.
    pub(crate) fn extend(&mut self, list: &RawValue, budget: &mut Budget) -> bool {
        json::in_list(list, |items| self.push(items, budget))
    }

    /// Appends a list, or one item, that comes beside the answer.
    pub(crate) fn push_beside(&mut self, decisions: &str, budget: &mut Budget) {
        let list = decisions.trim();
        let items = list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(list);
        self.beside = true;
        if !items.trim().is_empty() {
            self.append(items, budget);
        }
    }

    /// Appends one item, or several with commas between them.
    pub(crate) fn push(&mut self, items: &str, budget: &mut Budget) {
        if !self.beside {
            self.append(items, budget);
        }
    }

    fn append(&mut self, items: &str, budget: &mut Budget) {
        if self.items.push(items, budget) {
            read_items(items, |token| {
                self.summary.add(&token);
                self.new += 1;
            });
        }
    }

    /// True if tokens came since the last [mark](Self::mark).
    pub(crate) const fn has_new(&self) -> bool {
        self.new > 0
    }

    /// Takes note of when the tokens came that are new. Zero of them stand for an event that says something without
    /// telling of how many tokens; several events at once are told apart by nobody.
    pub(crate) fn mark(&mut self, at_us: i64) {
        let new = std::mem::take(&mut self.new);
        match &mut self.open {
            Some((at, count)) if *at == at_us && (*count == 0 || new == 0) => *count += new,
            _ => {
                self.close();
                self.open = Some((at_us, new));
            }
        }
    }

    fn close(&mut self) {
        if let (Some((at, count)), true) = (self.open.take(), self.times.len() < TIMES_MAX) {
            varint(u64::try_from(at - self.closed_at).unwrap_or(0), &mut self.times);
            varint(count, &mut self.times);
            self.closed_at = at;
        }
    }

    pub(crate) fn items(&self) -> &str {
        self.items.items()
    }

    pub(crate) const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Appends the times: how many bytes they take, then the pairs.
    pub(crate) fn write_times(&mut self, out: &mut Vec<u8>) {
        self.close();
        varint(self.times.len() as u64, out);
        out.extend_from_slice(&self.times);
    }
}

/// Appends a number in LEB128: seven bits a byte, the lowest first, the highest bit set if more follow.
fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the start.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 300, 1 << 35, u64::MAX] {
            let mut bytes = Vec::new();
            varint(number, &mut bytes);
            let mut rest = &bytes[..];
            assert_eq!((take_varint(&mut rest), rest.len()), (Some(number), 0));
        }
        assert_eq!(take_varint(&mut &[0x80][..]), None);
        assert_eq!(take_varint(&mut &[0xff; 11][..]), None);
    }
}
