//! C2SP checkpoints: the signed statement of a tree's size and root.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::note::{Note, Signer, Verifier};
use crate::{Hash, Malformed};

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log, also the name of its key.
    pub origin: String,
    /// How many leaves the tree has.
    pub size: u64,
    /// The root hash over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: origin, size and root in Base64, a line each.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// Signs the checkpoint.
    pub fn sign(&self, signer: &Signer) -> Note {
        signer.sign(self.to_text())
    }

    /// Reads the text of a note. Extension lines after the root are allowed and passed over.
    pub fn from_text(text: &str) -> Result<Self, Malformed> {
        // Not `lines`, to which a carriage return at the end is nothing: one log would have several names.
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(Malformed::new("checkpoint", "it has fewer than three lines"));
        };
        let number: u64 = size.parse().map_err(|_| Malformed::new("checkpoint", format!("its size is {size:?}")))?;
        let bytes = BASE64.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        let root = bytes.ok_or_else(|| Malformed::new("checkpoint", format!("its root is {root:?}")))?;
        if number.to_string() != size || origin.is_empty() {
            return Err(Malformed::new("checkpoint", "its origin or size is not in its one form"));
        }
        Ok(Self { origin: origin.to_owned(), size: number, root })
    }

    /// Reads a signed checkpoint and checks that `verifier` signed it and that it is of that log.
    pub fn open(note: &Note, verifier: &Verifier) -> Result<Self, Malformed> {
        let checkpoint = Self::from_text(&note.text)?;
        if checkpoint.origin != verifier.name() {
            let problem = format!("it is of the log {:?}, not of {:?}", checkpoint.origin, verifier.name());
            return Err(Malformed::new("checkpoint", problem));
        }
        if !verifier.verify(note) {
            return Err(Malformed::new("checkpoint", format!("it has no valid signature by {verifier}")));
        }
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_ends_of_lines_are_not_its_own() {
        let checkpoint = Checkpoint { origin: "a/log".into(), size: 3, root: [9; 32] };
        let text = checkpoint.to_text();
        assert_eq!(Checkpoint::from_text(&text).unwrap(), checkpoint);
        assert!(Checkpoint::from_text(&text.replace('\n', "\r\n")).is_err());
        let named = Checkpoint::from_text(&text.replacen('\n', "\r\n", 1)).unwrap();
        assert_eq!(named.origin, "a/log\r", "another log");
        assert_eq!(Checkpoint::from_text(&named.to_text()).unwrap(), named);
    }

    #[test]
    fn a_signed_checkpoint_opens_with_its_key_only() {
        let signer = Signer::from_seed("a/log", &[1; 32]).unwrap();
        let checkpoint = Checkpoint { origin: "a/log".into(), size: 3, root: [9; 32] };
        let note: Note = checkpoint.sign(&signer).to_string().parse().unwrap();
        assert_eq!(Checkpoint::open(&note, &signer.verifier()).unwrap(), checkpoint);
        let stranger = Signer::from_seed("a/log", &[2; 32]).unwrap();
        assert!(Checkpoint::open(&note, &stranger.verifier()).is_err());
        let other = Signer::from_seed("b/log", &[1; 32]).unwrap();
        assert!(Checkpoint::open(&note, &other.verifier()).is_err());
    }

    #[test]
    fn texts_of_the_wrong_form_are_refused() {
        let root = BASE64.encode([0; 32]);
        for text in [
            String::new(),
            format!("\n1\n{root}\n"),
            format!("a\n01\n{root}\n"),
            format!("a\n-1\n{root}\n"),
            "a\n1\nAAAA\n".into(),
        ] {
            assert!(Checkpoint::from_text(&text).is_err(), "{text:?}");
        }
    }
}
