//! The keys of a log, one after the other. Each names the next one, and up to where it signs itself.

use std::fmt;
use std::str::FromStr;

use crate::note::{Note, Signer, Verifier};
use crate::{Checkpoint, Malformed};

/// The first line of a statement. None of the lines behind it is a number, so it is no checkpoint.
const HEADER: &str = "onrecord/v1/key-rotation";

/// The statement that a key gave way to another one, signed by both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    note: Note,
    from: Verifier,
    to: Verifier,
    size: u64,
}

/// The public keys of a log, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHistory {
    first: Verifier,
    rotations: Vec<Rotation>,
}

impl Rotation {
    /// The text that both keys sign: from which key to which, and the size of the last tree that the old one signs.
    pub fn text(from: &Verifier, to: &Verifier, size: u64) -> String {
        format!("{HEADER}\n{from}\n{to}\nsize {size}\n")
    }

    /// A statement by two keys that are at hand.
    pub fn sign(from: &Signer, to: &Signer, size: u64) -> Result<Self, Malformed> {
        let mut note = from.sign(Self::text(&from.verifier(), &to.verifier(), size));
        note.signatures.extend(to.sign(note.text.clone()).signatures);
        Self::open(&note)
    }

    /// Reads a statement and checks that both keys have signed it.
    pub fn open(note: &Note) -> Result<Self, Malformed> {
        let wrong = |problem: &str| Malformed::new("key rotation", problem);
        let lines: Vec<_> = note.text.lines().collect();
        let [HEADER, from, to, size] = lines[..] else { return Err(wrong("it is not of its four lines")) };
        let (from, to): (Verifier, Verifier) = (from.parse()?, to.parse()?);
        let size = size.strip_prefix("size ").and_then(|size| size.parse().ok());
        let size = size.ok_or_else(|| wrong("its last line is not `size` with a number"))?;
        if Self::text(&from, &to, size) != note.text {
            return Err(wrong("it is not in its one form"));
        }
        if from.name() != to.name() || from == to {
            return Err(wrong("it is not about two keys of one log"));
        }
        if !from.verify(note) || !to.verify(note) {
            return Err(wrong("it is not signed by both keys"));
        }
        Ok(Self { note: note.clone(), from, to, size })
    }

    /// The statement as a note.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The key that ends.
    pub const fn from(&self) -> &Verifier {
        &self.from
    }

    /// The key that begins.
    pub const fn to(&self) -> &Verifier {
        &self.to
    }

    /// Size of the last tree that the old key signs, and of the first that the new one may sign.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl From<Verifier> for KeyHistory {
    fn from(first: Verifier) -> Self {
        Self { first, rotations: Vec::new() }
    }
}

impl KeyHistory {
    /// The name of the log.
    pub fn name(&self) -> &str {
        self.first.name()
    }

    /// The newest key.
    pub fn current(&self) -> &Verifier {
        self.rotations.last().map_or(&self.first, |rotation| &rotation.to)
    }

    /// What made each key but the first, oldest first.
    pub fn rotations(&self) -> &[Rotation] {
        &self.rotations
    }

    /// The keys, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &Verifier> {
        std::iter::once(&self.first).chain(self.rotations.iter().map(|rotation| &rotation.to))
    }

    /// Adds the next key.
    pub fn rotate(&mut self, rotation: Rotation) -> Result<(), Malformed> {
        let problem = match self.rotations.last() {
            _ if rotation.from != *self.current() => "it is not by the newest key",
            _ if self.keys().any(|key| *key == rotation.to) => "it goes back to a key that was given up",
            Some(last) if rotation.size < last.size => "it ends a key before it began",
            _ => {
                self.rotations.push(rotation);
                return Ok(());
            }
        };
        Err(Malformed::new("key rotation", problem))
    }

    /// Follows statements of somebody else from the newest key on. Those before it are passed over.
    pub fn follow(&mut self, statements: &[Rotation]) -> Result<(), Malformed> {
        let known = statements.iter().position(|rotation| rotation.from == *self.current());
        let next = known.map_or(&[][..], |at| &statements[at..]);
        next.iter().try_for_each(|rotation| self.rotate(rotation.clone()))
    }

    /// Reads a checkpoint that a key that was in force at its size has signed. Others may have signed it too.
    pub fn open(&self, note: &Note) -> Result<Checkpoint, Malformed> {
        let keys: Vec<_> = self.keys().enumerate().collect();
        let (mut unsigned, mut out_of_force) = (None, None);
        for (at, key) in keys.into_iter().rev() {
            match Checkpoint::open(note, key).map(|checkpoint| self.in_force(at, checkpoint)) {
                Ok(Ok(checkpoint)) => return Ok(checkpoint),
                Ok(Err(error)) => out_of_force = out_of_force.or(Some(error)),
                Err(error) => unsigned = unsigned.or(Some(error)),
            }
        }
        Err(out_of_force.or(unsigned).unwrap_or_else(|| Malformed::new("checkpoint", "there is no key")))
    }

    fn in_force(&self, key: usize, checkpoint: Checkpoint) -> Result<Checkpoint, Malformed> {
        let until = self.rotations.get(key).map_or(u64::MAX, Rotation::size);
        let from = key.checked_sub(1).and_then(|before| self.rotations.get(before)).map_or(0, Rotation::size);
        if (from..=until).contains(&checkpoint.size) {
            return Ok(checkpoint);
        }
        let problem = format!("its key signed from {from} to {until} leaves, and not {}", checkpoint.size);
        Err(Malformed::new("checkpoint", problem))
    }
}

/// The first key, then each statement behind an empty line.
impl fmt::Display for KeyHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.first)?;
        self.rotations.iter().try_for_each(|rotation| write!(f, "\n{}", rotation.note))
    }
}

impl FromStr for KeyHistory {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split(HEADER);
        let mut history = Self::from(parts.next().unwrap_or_default().parse::<Verifier>()?);
        for rest in parts {
            let note: Note = format!("{HEADER}{}\n", rest.trim_end_matches('\n')).parse()?;
            history.rotate(Rotation::open(&note)?)?;
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> Signer {
        Signer::from_seed("a/log", &[seed; 32]).unwrap()
    }

    fn history() -> KeyHistory {
        let mut history = KeyHistory::from(key(1).verifier());
        history.rotate(Rotation::sign(&key(1), &key(2), 10).unwrap()).unwrap();
        history.rotate(Rotation::sign(&key(2), &key(3), 20).unwrap()).unwrap();
        history
    }

    fn signed(seed: u8, size: u64) -> Note {
        Checkpoint { origin: "a/log".into(), size, root: [0; 32] }.sign(&key(seed))
    }

    #[test]
    fn each_key_signs_its_own_part_of_the_log() {
        let history = history();
        for (seed, good) in [(1, 0..=10), (2, 10..=20), (3, 20..=30)] {
            for size in 0..=30 {
                assert_eq!(history.open(&signed(seed, size)).is_ok(), good.contains(&size), "{seed} {size}");
            }
        }
        assert!(history.open(&signed(4, 20)).is_err());
    }

    #[test]
    fn one_of_several_signatures_is_enough_if_its_key_was_in_force() {
        for (others, size, good) in [([1, 3], 15, false), ([1, 2], 15, true), ([2, 3], 15, true), ([1, 3], 5, true)] {
            let mut note = signed(others[0], size);
            note.signatures.extend(signed(others[1], size).signatures);
            assert_eq!(history().open(&note).is_ok(), good, "{others:?} {size}");
        }
    }

    #[test]
    fn a_history_comes_back_from_its_text() {
        let text = history().to_string();
        assert_eq!(text.parse::<KeyHistory>().unwrap(), history());
        assert_eq!(key(1).verifier().to_string().parse::<KeyHistory>().unwrap(), key(1).verifier().into());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let parsed = String::from_utf8(bytes).ok().and_then(|text| text.parse::<KeyHistory>().ok());
            assert!(parsed.is_none_or(|parsed| parsed == history()), "byte {at}");
        }
    }

    #[test]
    fn statements_are_followed_from_the_key_that_is_known() {
        for seed in 1..=3 {
            let mut known = KeyHistory::from(key(seed).verifier());
            known.follow(history().rotations()).unwrap();
            assert_eq!(*known.current(), key(3).verifier());
        }
        let mut other = KeyHistory::from(key(9).verifier());
        other.follow(history().rotations()).unwrap();
        assert_eq!(*other.current(), key(9).verifier(), "they are not about this key");
        let mut known = KeyHistory::from(key(1).verifier());
        let gap = [history().rotations()[0].clone(), Rotation::sign(&key(3), &key(4), 30).unwrap()];
        assert!(known.follow(&gap).is_err());
    }

    #[test]
    fn rotations_that_do_not_go_on_are_refused() {
        for (from, to, size) in [(1, 4, 30), (3, 1, 30), (3, 4, 19)] {
            assert!(
                history().rotate(Rotation::sign(&key(from), &key(to), size).unwrap()).is_err(),
                "{from} {to} {size}"
            );
        }
        assert!(Rotation::sign(&key(1), &key(1), 1).is_err());
        assert!(Rotation::sign(&key(1), &Signer::from_seed("b/log", &[2; 32]).unwrap(), 1).is_err());
        let alone = key(1).sign(Rotation::text(&key(1).verifier(), &key(2).verifier(), 3));
        assert!(Rotation::open(&alone).is_err(), "the new key has not signed");
    }
}
