//! C2SP tlog-cosignature, version 1: a witness states that it has seen no larger tree of a log than this one, and that
//! each tree of it that it has seen began with the one before.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::Malformed;
use crate::key::{KeyType, check_name};
use crate::note::{Note, SignatureLine};

/// The public half of a witness's key, written `name+hash+base64`.
#[derive(Clone, PartialEq, Eq)]
pub struct Witness {
    name: String,
    key: VerifyingKey,
}

/// A witness's key, written `PRIVATE+KEY+name+hash+base64`.
#[derive(Clone)]
pub struct Cosigner {
    name: String,
    key: SigningKey,
}

/// A cosignature that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// The name of the witness.
    pub witness: String,
    /// When it cosigned, in seconds since 1970-01-01 UTC by its clock.
    pub at: u64,
}

fn message(text: &str, at: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {at}\n{text}").into_bytes()
}

impl Witness {
    /// The name of the witness.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if the two have one key, whatever their names: cosignatures do not hold the name, so they are one witness.
    pub fn is_key_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// True if a signature line says that it is by this witness.
    pub fn claims(&self, line: &SignatureLine) -> bool {
        line.name == self.name && line.key_hash == KeyType::Cosignature.hash(&self.name, &self.key)
    }

    /// When this witness cosigned the note, the last time if it did more than once. `None` if it did not, or if one of its
    /// lines is wrong.
    pub fn cosigned(&self, note: &Note) -> Option<Cosigned> {
        let ours = note.signatures.iter().filter(|line| self.claims(line));
        let times: Option<Vec<_>> = ours.map(|line| self.verify(&note.text, &line.signature)).collect();
        let at = times?.into_iter().max()?;
        Some(Cosigned { witness: self.name.clone(), at })
    }

    /// The time of a cosignature that is right.
    fn verify(&self, text: &str, signature: &[u8]) -> Option<u64> {
        let (at, signature) = signature.split_first_chunk::<8>()?;
        let at = u64::from_be_bytes(*at);
        let signature = Signature::from_slice(signature).ok()?;
        let verified = self.key.verify_strict(&message(text, at), &signature);
        verified.is_ok().then_some(at).filter(|at| i64::try_from(*at).is_ok())
    }
}

/// Which of `witnesses` have cosigned a note. A key counts once, however often it is there.
pub fn cosigned(note: &Note, witnesses: &[Witness]) -> Vec<Cosigned> {
    let mut found: Vec<(&Witness, Cosigned)> = Vec::new();
    for witness in witnesses {
        if !found.iter().any(|(other, _)| other.is_key_of(witness)) {
            found.extend(witness.cosigned(note).map(|cosigned| (witness, cosigned)));
        }
    }
    found.into_iter().map(|(_, cosigned)| cosigned).collect()
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&KeyType::Cosignature.write_public(&self.name, &self.key))
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Witness {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (name, key) = KeyType::Cosignature.read_public(text, "key of a witness")?;
        Ok(Self { name, key })
    }
}

impl Cosigner {
    /// A key named `name` made from 32 random bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Malformed> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// The public half.
    pub fn witness(&self) -> Witness {
        Witness { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The secret half, `PRIVATE+KEY+name+hash+base64`.
    pub fn to_secret_text(&self) -> String {
        KeyType::Cosignature.write_secret(&self.name, &self.key)
    }

    /// Cosigns the text of a checkpoint `at` so many seconds after 1970-01-01 UTC.
    pub fn cosign(&self, text: &str, at: u64) -> SignatureLine {
        let signature = self.key.sign(&message(text, at)).to_bytes();
        SignatureLine {
            name: self.name.clone(),
            key_hash: KeyType::Cosignature.hash(&self.name, &self.key.verifying_key()),
            signature: [&at.to_be_bytes()[..], &signature].concat(),
        }
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.witness())
    }
}

impl FromStr for Cosigner {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (name, key) = KeyType::Cosignature.read_secret(text, "key of a witness")?;
        Ok(Self { name, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;
    use crate::note::Signer;

    fn note() -> Note {
        let checkpoint = Checkpoint { origin: "a/log".into(), size: 3, root: [9; 32] };
        checkpoint.sign(&Signer::from_seed("a/log", &[1; 32]).unwrap())
    }

    fn cosigner(seed: u8) -> Cosigner {
        Cosigner::from_seed(&format!("w/{seed}"), &[seed; 32]).unwrap()
    }

    fn with(lines: impl IntoIterator<Item = SignatureLine>) -> Note {
        let mut note = note();
        note.signatures.extend(lines);
        note.to_string().parse().unwrap()
    }

    #[test]
    fn a_cosignature_is_by_its_witness_over_its_text_and_time() {
        let (text, witness) = (note().text, cosigner(2).witness());
        let good = with([cosigner(2).cosign(&text, 77)]);
        assert_eq!(witness.cosigned(&good), Some(Cosigned { witness: "w/2".into(), at: 77 }));
        assert!(cosigner(3).witness().cosigned(&good).is_none());
        assert!(Checkpoint::open(&good, &Signer::from_seed("a/log", &[1; 32]).unwrap().verifier()).is_ok());
        for at in 0..72 {
            let mut changed = cosigner(2).cosign(&text, 77);
            changed.signature[at] ^= 1;
            assert!(witness.cosigned(&with([changed])).is_none(), "byte {at}");
        }
        let other = Note { text: text.replace('3', "4"), ..good };
        assert!(witness.cosigned(&other).is_none());
    }

    #[test]
    fn a_witness_counts_once_and_a_stranger_not_at_all() {
        let text = note().text;
        let same_key = Cosigner::from_seed("w/alias", &[2; 32]).unwrap();
        let note = with([
            cosigner(2).cosign(&text, 5),
            cosigner(2).cosign(&text, 7),
            cosigner(3).cosign(&text, 6),
            same_key.cosign(&text, 9),
        ]);
        let known = [cosigner(2).witness(), same_key.witness(), cosigner(2).witness(), cosigner(4).witness()];
        assert_eq!(cosigned(&note, &known), [Cosigned { witness: "w/2".into(), at: 7 }]);
        let by_its_other_name = with([same_key.cosign(&text, 9)]);
        assert_eq!(cosigned(&by_its_other_name, &known), [Cosigned { witness: "w/alias".into(), at: 9 }]);
        let mut wrong = cosigner(2).cosign(&text, 8);
        wrong.signature[9] ^= 1;
        let spoilt = with([cosigner(2).cosign(&text, 5), wrong]);
        assert!(cosigned(&spoilt, &known).is_empty(), "one of its lines is wrong");
    }

    #[test]
    fn keys_come_back_from_their_text_and_are_no_keys_of_logs() {
        let again: Cosigner = cosigner(2).to_secret_text().parse().unwrap();
        let text = again.witness().to_string();
        assert_eq!(text.parse::<Witness>().unwrap(), cosigner(2).witness());
        assert!(text.parse::<crate::note::Verifier>().is_err());
        let log = Signer::from_seed("w/2", &[2; 32]).unwrap();
        assert!(log.verifier().to_string().parse::<Witness>().is_err());
        assert!(log.to_secret_text().parse::<Cosigner>().is_err());
    }
}
