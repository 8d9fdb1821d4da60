//! The body of `add-checkpoint`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_proof::note::Note;
use onrecord_proof::{Hash, Malformed};

/// Hashes of a consistency proof at most, as the specification has it: a tree has no more than 63 levels.
const PROOF_MAX: usize = 63;

/// A checkpoint that a witness is to cosign, with the proof that its tree begins with the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the last tree that the witness has cosigned, 0 if there is none.
    pub old: u64,
    /// The consistency proof from there, empty from 0.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub note: Note,
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for AddCheckpoint {
    type Err = Malformed;

    fn from_str(body: &str) -> Result<Self, Malformed> {
        let wrong = |problem: &str| Malformed { what: "request", problem: problem.to_owned() };
        let (head, note) =
            body.split_once("\n\n").ok_or_else(|| wrong("it has no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(number);
        let old = old.ok_or_else(|| wrong("its first line is not `old` with a size"))?;
        let proof: Option<Vec<_>> = lines.map(hash).collect();
        let proof = proof.ok_or_else(|| wrong("a line of the proof is not a hash in Base64"))?;
        if proof.len() > PROOF_MAX {
            return Err(wrong("the proof has more than 63 hashes"));
        }
        Ok(Self { old, proof, note: note.parse()? })
    }
}

/// A decimal number in its one form.
pub(super) fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

fn hash(line: &str) -> Option<Hash> {
    BASE64.decode(line).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use onrecord_proof::note::Signer;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn requests_come_back_from_their_text(old: u64, proof in prop::collection::vec(any::<Hash>(), 0..=63), text in "[a-z]{1,9}") {
            let note = Signer::from_seed("a/log", &[1; 32]).unwrap().sign(format!("{text}\n"));
            let request = AddCheckpoint { old, proof, note };
            prop_assert_eq!(request.to_string().parse::<AddCheckpoint>().unwrap(), request);
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(body in "(old [0-9]{0,3}\n)?([A-Za-z=]{0,44}\n){0,3}\n?.{0,60}") {
            prop_assert!(body.parse::<AddCheckpoint>().is_err());
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let note = Signer::from_seed("a/log", &[1; 32]).unwrap().sign("text\n".to_owned());
        let good = AddCheckpoint { old: 7, proof: vec![[1; 32]], note: note.clone() }.to_string();
        assert!(good.parse::<AddCheckpoint>().is_ok());
        for bad in [
            good.replace("old 7", "old 07"),
            good.replace("old 7", "old -7"),
            good.replace("old 7\n", "old 7\r\n"),
            good.replace("old", "Old"),
            good.replacen("AQ", "A", 1),
            AddCheckpoint { old: 7, proof: vec![[1; 32]; 64], note }.to_string(),
        ] {
            assert!(bad.parse::<AddCheckpoint>().is_err(), "{bad}");
        }
    }
}
