//! C2SP signed notes with Ed25519 keys.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::Malformed;
use crate::key::{KeyType, check_name, is_name};

/// The public half of a log's key, written `name+hash+base64`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: VerifyingKey,
}

/// A log's key, written `PRIVATE+KEY+name+hash+base64`.
#[derive(Clone)]
pub struct Signer {
    name: String,
    key: SigningKey,
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    /// Who signed.
    pub name: String,
    /// The first four bytes of the key's hash.
    pub key_hash: u32,
    /// What follows the hash: for Ed25519 the 64 bytes of the signature.
    pub signature: Vec<u8>,
}

/// A text with signatures that have yet to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text, with its final newline.
    pub text: String,
    /// At least one signature.
    pub signatures: Vec<SignatureLine>,
}

impl Verifier {
    /// The name of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if one of the note's signatures is by this key, and is right.
    pub fn verify(&self, note: &Note) -> bool {
        let hash = KeyType::Note.hash(&self.name, &self.key);
        let ours = note.signatures.iter().filter(|line| line.name == self.name && line.key_hash == hash);
        let right = |line: &SignatureLine| {
            let signature = Signature::from_slice(&line.signature);
            signature.is_ok_and(|signature| self.key.verify_strict(note.text.as_bytes(), &signature).is_ok())
        };
        let mut ours = ours.peekable();
        ours.peek().is_some() && ours.all(right)
    }
}

impl Verifier {
    /// The note over `text` with a signature that was made elsewhere. Refused if it is not right.
    pub fn note(&self, text: String, signature: Vec<u8>) -> Result<Note, Malformed> {
        let key_hash = KeyType::Note.hash(&self.name, &self.key);
        let note = Note { text, signatures: vec![SignatureLine { name: self.name.clone(), key_hash, signature }] };
        if self.verify(&note) {
            return Ok(note);
        }
        Err(Malformed::new("signature", format!("it is none by {self} over the text")))
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&KeyType::Note.write_public(&self.name, &self.key))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Verifier {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (name, key) = KeyType::Note.read_public(text, "public key")?;
        Ok(Self { name, key })
    }
}

impl Signer {
    /// A key named `name` made from 32 random bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Malformed> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// The public half.
    pub fn verifier(&self) -> Verifier {
        Verifier { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The secret half, `PRIVATE+KEY+name+hash+base64`.
    pub fn to_secret_text(&self) -> String {
        KeyType::Note.write_secret(&self.name, &self.key)
    }

    /// Signs `text`, which must end in a newline and hold no empty last line.
    pub fn sign(&self, text: String) -> Note {
        let signature = self.key.sign(text.as_bytes()).to_bytes().to_vec();
        let key_hash = KeyType::Note.hash(&self.name, &self.key.verifying_key());
        Note { text, signatures: vec![SignatureLine { name: self.name.clone(), key_hash, signature }] }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier())
    }
}

impl FromStr for Signer {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (name, key) = KeyType::Note.read_secret(text, "signing key")?;
        Ok(Self { name, key })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, key_hash, signature } = self;
        let bytes = [&key_hash.to_be_bytes(), &signature[..]].concat();
        write!(f, "\u{2014} {name} {}", BASE64.encode(bytes))
    }
}

impl FromStr for SignatureLine {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<Self, Malformed> {
        read_line(line).ok_or_else(|| Malformed::new("signature line", format!("{line:?}")))
    }
}

impl FromStr for Note {
    type Err = Malformed;

    fn from_str(note: &str) -> Result<Self, Malformed> {
        let wrong = |problem: &str| Malformed::new("signed note", problem);
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(wrong("it has control characters"));
        }
        let at = note.rfind("\n\n").ok_or_else(|| wrong("it has no blank line before its signatures"))?;
        let (text, lines) = (&note[..=at], &note[at + 2..]);
        let lines = lines.strip_suffix('\n').ok_or_else(|| wrong("its last line is cut off"))?;
        let signatures = lines.split('\n').map(read_line).collect::<Option<_>>();
        Ok(Self { text: text.to_owned(), signatures: signatures.ok_or_else(|| wrong("a signature line is wrong"))? })
    }
}

fn read_line(line: &str) -> Option<SignatureLine> {
    let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = BASE64.decode(encoded).ok()?;
    let (hash, signature) = bytes.split_at_checked(4)?;
    let key_hash = u32::from_be_bytes(hash.try_into().ok()?);
    (is_name(name) && !signature.is_empty()).then(|| SignatureLine {
        name: name.to_owned(),
        key_hash,
        signature: signature.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use signed_note::{StandardVerifier, VerifierList};

    use super::*;

    fn signer() -> Signer {
        Signer::from_seed("example.org/log", &[7; 32]).unwrap()
    }

    #[test]
    fn keys_come_back_from_their_text() {
        let signer = signer();
        let again: Signer = signer.to_secret_text().parse().unwrap();
        assert_eq!(again.verifier(), signer.verifier());
        assert_eq!(signer.verifier().to_string().parse::<Verifier>().unwrap(), signer.verifier());
    }

    #[test]
    fn another_implementation_accepts_the_note() {
        let note = signer().sign("example.org/log\n1\nroot\n".to_owned());
        let theirs = signed_note::Note::from_bytes(note.to_string().as_bytes()).unwrap();
        let verifier = StandardVerifier::new(&signer().verifier().to_string()).unwrap();
        let (good, other) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        assert_eq!((good.len(), other.len()), (1, 0));
    }

    #[test]
    fn a_note_that_was_changed_does_not_verify() {
        let note = signer().sign("a\nb\n".to_owned());
        let text = note.to_string();
        assert!(signer().verifier().verify(&text.parse().unwrap()));
        let mut survivors = 0;
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let parsed = String::from_utf8(bytes).ok().and_then(|text| text.parse::<Note>().ok());
            survivors += usize::from(parsed.is_some_and(|note| signer().verifier().verify(&note)));
        }
        assert_eq!(survivors, 0);
    }

    #[test]
    fn keys_and_notes_of_the_wrong_form_are_refused() {
        let key = signer().verifier().to_string();
        for bad in ["", "a+b", "a+00000000+AQ==", &key.replace("example", "exbmple"), &key[..key.len() - 4]] {
            assert!(bad.parse::<Verifier>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "text\n",
            "text\n\n",
            "text\n\n\u{2014} name\n",
            "text\n\n\u{2014} name AAAA",
            "t\r\n\n\u{2014} n AAAAAAA=\n",
        ] {
            assert!(bad.parse::<Note>().is_err(), "{bad:?}");
        }
        for name in ["", "with space", "with\u{1}control", "a+b"] {
            assert!(Signer::from_seed(name, &[0; 32]).is_err(), "{name:?}");
        }
    }
}
