//! What a log asks a witness, and what it makes of the answer.

use onrecord_proof::cosignature::Witness;
use onrecord_proof::merkle::{HashReader, consistency_proof};
use onrecord_proof::note::{Note, SignatureLine};

use super::AddCheckpoint;
use super::request::number;
use crate::Published;

/// A witness as a log knows it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its key.
    pub witness: Witness,
    /// Size of the last tree that it cosigned, as far as is known.
    known: u64,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It has cosigned.
    Cosigned(Vec<SignatureLine>),
    /// It remembers another size than was thought; ask again.
    Again,
    /// It has cosigned a larger tree of this log: this one was put back to an older state, or two have its key.
    Ahead(u64),
    /// It has cosigned a tree that this one does not begin with.
    Forked(u64),
    /// It did not cosign for another reason.
    Refused(String),
}

impl Asked {
    /// A witness that may have cosigned `last`, the last cosigned checkpoint of the log.
    pub fn new(witness: Witness, last: Option<&Published>) -> Self {
        let seen = last.filter(|last| witness.cosigned(&last.note).is_some());
        Self { witness, known: seen.map_or(0, |last| last.checkpoint.size) }
    }

    /// What to send to it so that it cosigns `published`, from the hashes of the log's tree.
    pub fn request<R: HashReader>(&self, reader: &R, published: &Published) -> Result<AddCheckpoint, R::Error> {
        // A witness that is ahead is asked from 0, and tells its size.
        let size = published.checkpoint.size;
        let old = if self.known > size { 0 } else { self.known };
        Ok(AddCheckpoint { old, proof: consistency_proof(reader, old, size)?, note: published.note.clone() })
    }

    /// What a witness means by its answer to the request for `published`.
    pub fn answer(&mut self, published: &Published, status: u16, body: &str) -> Answered {
        let size = published.checkpoint.size;
        match (status, body.strip_suffix('\n').and_then(number)) {
            (200, _) => self.cosigned(published, body),
            (409, Some(theirs)) if theirs > size => Answered::Ahead(theirs),
            (409, Some(theirs)) if theirs != self.known => {
                self.known = theirs;
                Answered::Again
            }
            // Asked from there, it would have cosigned if its tree were this one.
            (409, _) if self.known == size => Answered::Forked(size),
            (422, _) => Answered::Forked(self.known),
            _ => Answered::Refused(format!("status {status}: {}", body.trim().chars().take(200).collect::<String>())),
        }
    }

    fn cosigned(&mut self, published: &Published, body: &str) -> Answered {
        let lines = body.lines().filter_map(|line| line.parse().ok());
        let lines: Vec<SignatureLine> = lines.filter(|line| self.witness.claims(line)).collect();
        let note = Note { text: published.note.text.clone(), signatures: lines };
        if self.witness.cosigned(&note).is_none() {
            return Answered::Refused("its answer has no valid cosignature by its key".into());
        }
        self.known = published.checkpoint.size;
        Answered::Cosigned(note.signatures)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use onrecord_proof::{Kind, Record};
    use uuid::Uuid;

    use super::super::{Refusal, Witness};
    use super::*;
    use crate::disk::{Disk, Fault, FaultyDisk};
    use crate::{Ledger, Options};

    fn ledger(disk: &FaultyDisk) -> Ledger {
        let options = Options { origin: Some("test/log".into()), ..Options::default() };
        Ledger::open_on(Arc::new(disk.clone()), Path::new("/log"), &options).unwrap()
    }

    fn grow(ledger: &Ledger, records: u128) -> Published {
        for _ in 0..records {
            let id = Uuid::from_u128(ledger.reader().size().into());
            ledger.append(&Record::new(id, Kind::Step, 1, [1; 32])).unwrap().wait().unwrap();
        }
        ledger.reader().checkpoint_now().unwrap().unwrap()
    }

    fn witness(disk: &FaultyDisk, ledger: &Ledger) -> Witness {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        Witness::open_on(disk, Path::new("/witness"), Some("test/witness"), vec![ledger.reader().keys()]).unwrap()
    }

    /// What HTTP does.
    fn exchange(asked: &mut Asked, witness: &Witness, ledger: &Ledger, published: &Published) -> Answered {
        let body = asked.request(&ledger.reader(), published).unwrap().to_string();
        match witness.add_checkpoint(&body) {
            Ok(line) => asked.answer(published, 200, &format!("{line}\n")),
            Err(Refusal::OtherSize(size)) => asked.answer(published, 409, &format!("{size}\n")),
            Err(Refusal::OtherRoot(_)) => asked.answer(published, 409, ""),
            Err(Refusal::Inconsistent(_)) => asked.answer(published, 422, ""),
            Err(other) => Answered::Refused(other.to_string()),
        }
    }

    #[test]
    fn a_log_that_grows_is_cosigned_and_the_witness_remembers_it_over_a_crash() {
        let (log, memory) = (FaultyDisk::new(), FaultyDisk::new());
        let ledger = ledger(&log);
        let kept = witness(&memory, &ledger);
        let mut asked = Asked::new(kept.witness(), None);
        for records in [1, 7, 300] {
            let published = grow(&ledger, records);
            assert!(matches!(exchange(&mut asked, &kept, &ledger, &published), Answered::Cosigned(_)));
            assert!(matches!(exchange(&mut asked, &kept, &ledger, &published), Answered::Cosigned(_)), "once more");
        }
        let crashed = memory.snapshot();
        crashed.crash(1);
        let again = witness(&crashed, &ledger);
        assert_eq!(again.last()[0].size, 308);
        // Somebody who does not know what it has seen is told.
        let mut fresh = Asked::new(again.witness(), None);
        let published = grow(&ledger, 5);
        assert_eq!(exchange(&mut fresh, &again, &ledger, &published), Answered::Again);
        assert!(matches!(exchange(&mut fresh, &again, &ledger, &published), Answered::Cosigned(_)));
    }

    #[test]
    fn a_witness_that_has_lost_its_memory_is_no_fork() {
        let (log, memory) = (FaultyDisk::new(), FaultyDisk::new());
        let ledger = ledger(&log);
        let kept = witness(&memory, &ledger);
        let before = memory.snapshot();
        let mut asked = Asked::new(kept.witness(), None);
        let older = grow(&ledger, 4);
        assert!(matches!(exchange(&mut asked, &kept, &ledger, &older), Answered::Cosigned(_)));
        let between = memory.snapshot();
        let published = grow(&ledger, 5);
        assert!(matches!(exchange(&mut asked, &kept, &ledger, &published), Answered::Cosigned(_)));
        for put_back in [between, before] {
            let put_back = witness(&put_back, &ledger);
            let mut asked = asked.clone();
            assert_eq!(exchange(&mut asked, &put_back, &ledger, &published), Answered::Again);
            assert!(matches!(exchange(&mut asked, &put_back, &ledger, &published), Answered::Cosigned(_)));
        }
    }

    #[test]
    fn a_log_that_was_rolled_back_or_forked_is_found_out() {
        let (log, memory) = (FaultyDisk::new(), FaultyDisk::new());
        let first = ledger(&log);
        let older = grow(&first, 9);
        let kept = witness(&memory, &first);
        let mut asked = Asked::new(kept.witness(), None);
        exchange(&mut asked, &kept, &first, &older);
        let copy = log.snapshot();
        let newer = grow(&first, 20);
        assert!(matches!(exchange(&mut asked, &kept, &first, &newer), Answered::Cosigned(_)));
        let fork = ledger(&copy);
        let mut asked = Asked::new(kept.witness(), None);
        assert_eq!(exchange(&mut asked, &kept, &fork, &older), Answered::Ahead(29));
        for (records, found) in [(20, Answered::Again), (0, Answered::Forked(29)), (4, Answered::Forked(29))] {
            let forked = grow(&fork, records);
            assert_eq!(exchange(&mut asked, &kept, &fork, &forked), found, "{records}");
        }
        assert_eq!(kept.last()[0].root, newer.checkpoint.root);
    }

    #[test]
    fn what_is_not_durable_is_not_cosigned() {
        let (log, memory) = (FaultyDisk::new(), FaultyDisk::new());
        let ledger = ledger(&log);
        let kept = witness(&memory, &ledger);
        let mut asked = Asked::new(kept.witness(), None);
        let published = grow(&ledger, 3);
        memory.arm(0, Fault::NotDone);
        let answer = exchange(&mut asked, &kept, &ledger, &published);
        assert!(matches!(answer, Answered::Refused(_)), "{answer:?}");
        assert!(kept.last().is_empty());
        assert!(matches!(exchange(&mut asked, &kept, &ledger, &published), Answered::Cosigned(_)), "then it is");
    }

    #[test]
    fn strangers_and_their_logs_are_refused() {
        let (log, memory) = (FaultyDisk::new(), FaultyDisk::new());
        let ledger = ledger(&log);
        let kept = witness(&memory, &ledger);
        let sign = |name: &str, seed| onrecord_proof::note::Signer::from_seed(name, &[seed; 32]).unwrap();
        let signed = |name: &str, size| {
            let checkpoint = onrecord_proof::Checkpoint { origin: name.into(), size, root: [0; 32] };
            AddCheckpoint { old: 1, proof: vec![], note: checkpoint.sign(&sign(name, 9)) }.to_string()
        };
        assert_eq!(kept.add_checkpoint(&signed("other/log", 3)), Err(Refusal::UnknownLog("other/log".into())));
        assert_eq!(kept.add_checkpoint(&signed("test/log", 3)), Err(Refusal::Forbidden("test/log".into())));
        assert!(matches!(kept.add_checkpoint("old 3\n\nnothing"), Err(Refusal::Bad(_))));
        let published = grow(&ledger, 3);
        let beyond = AddCheckpoint { old: 4, proof: vec![], note: published.note };
        assert!(matches!(kept.add_checkpoint(&beyond.to_string()), Err(Refusal::Bad(_))));
    }
}
