//! The manifest of an export: it ties the files and the rows in them to the leaves of the log that they were made from, and
//! is checked offline with nothing but the log's public key.
//!
//! Before it is written, the log takes a record of the export, with the digests of its files, as who exported them states them, and of its leaves.
//! The manifest has evidence of that record and, under the same checkpoint, one proof of all the leaves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batch::check_batch;
use crate::evidence::{Checked, Evidence, from_objects};
use crate::field::{self, Field};
use crate::{Group, Hash, Kind, Malformed, Map};

/// The value of `format` in a manifest.
pub const FORMAT: &str = "onrecord-export/v1";
/// The event of the access that an export is recorded as.
pub const EVENT: &str = "exported";

from_objects! { File Contents Manifest }

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct File {
    /// Its name, beside the manifest.
    pub name: String,
    /// Rows in it. They belong to as many leaves, in the order of the leaves, file by file.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
}

/// What an export consists of, and what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Contents {
    /// The view that the rows are of.
    pub view: String,
    /// The SQL condition that they meet, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The format of the files: `parquet`, `jsonl`, `csv`, `chat`, `ocsf`.
    pub rows: String,
    /// The files, in the order of their leaves.
    pub files: Vec<File>,
    /// The leaves whose records the rows are about, in order: first and count of each run.
    pub leaves: Vec<(u64, u64)>,
}

impl Contents {
    /// The files as `sha256sum` lists them.
    pub fn sums(&self) -> String {
        let lines: Vec<_> = self.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
        lines.concat()
    }

    /// What was asked for, as the record of the export has it.
    pub fn statement(&self) -> String {
        match &self.condition {
            None => self.view.clone(),
            Some(condition) => format!("{} WHERE {condition}", self.view),
        }
    }

    /// Rows in all files.
    pub fn row_count(&self) -> u64 {
        self.files.iter().fold(0, |rows, file| rows.saturating_add(file.rows))
    }

    /// The indexes of the leaves, all of a log of `size` leaves. Refused if they do not ascend, or are not as many as the
    /// rows. Only what can be true is written out: some bytes can claim more leaves than there is memory for.
    pub fn indexes(&self, size: u64) -> Result<Vec<u64>, Malformed> {
        let bad = |problem: String| Malformed::new("manifest", problem);
        let (mut next, mut count) = (0, 0_u64);
        for (first, run) in &self.leaves {
            if *first < next || *run == 0 {
                return Err(bad("the leaves do not ascend".into()));
            }
            next = first
                .checked_add(*run)
                .filter(|next| *next <= size)
                .ok_or_else(|| bad(format!("it has {run} leaves from {first} on, of a log of {size}")))?;
            count += *run;
        }
        if count != self.row_count() {
            return Err(bad("there are not as many leaves as rows".into()));
        }
        Ok(self.leaves.iter().flat_map(|(first, run)| *first..*first + *run).collect())
    }
}

/// The digest of an export's leaves.
pub fn leaves_digest(leaves: &[(u64, Hash)]) -> Hash {
    let digest = leaves
        .iter()
        .fold(Sha256::new(), |digest, (index, hash)| digest.chain_update(index.to_be_bytes()).chain_update(hash));
    digest.finalize().into()
}

/// A manifest. Written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Manifest {
    format: String,
    /// What was exported.
    pub contents: Contents,
    /// The leaf hashes, one after the other, in Base64.
    hashes: String,
    /// The batch proof likewise.
    proof: String,
    evidence: Evidence,
}

/// What a manifest proves.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedManifest {
    /// The record of the export, and the checkpoint.
    pub checked: Checked,
    /// The leaves that the rows are of, with their hashes.
    pub leaves: Vec<(u64, Hash)>,
}

impl Manifest {
    /// The manifest of `contents`, whose leaves have `hashes`; `proof` and `evidence` are of one checkpoint.
    pub fn new(contents: Contents, hashes: &[Hash], proof: &[Hash], evidence: Evidence) -> Self {
        let joined = |hashes: &[Hash]| BASE64.encode(hashes.concat());
        Self { format: FORMAT.to_owned(), contents, hashes: joined(hashes), proof: joined(proof), evidence }
    }

    /// Checks the manifest against the log's public key: the leaves are in the log, and it recorded that files with these
    /// digests were exported as rows of these leaves. The files themselves are for the caller to hash.
    pub fn check(&self, key: &crate::KeyHistory) -> Result<CheckedManifest, Malformed> {
        let bad = |problem: &str| Err(Malformed::new("manifest", problem));
        if self.format != FORMAT {
            return bad(&format!("its format is {:?}, not {FORMAT:?}", self.format));
        }
        // What a name is must be clear from the lines that are hashed.
        if self.contents.files.iter().any(|file| file.name.contains(char::is_control)) {
            return bad("a file's name has control characters");
        }
        let checked = self.evidence.check(key)?;
        let hashes = split(&self.hashes)?;
        if self.contents.row_count() != hashes.len() as u64 {
            return bad("there are not as many leaf hashes as rows");
        }
        let leaves: Vec<_> = self.contents.indexes(checked.checkpoint.size)?.into_iter().zip(hashes).collect();
        check_batch(&leaves, checked.checkpoint.size, &split(&self.proof)?, &checked.checkpoint.root)?;
        let Some(said) = exported(&checked) else { return bad("its evidence does not show the record of an export") };
        let same = |field: &Field, expect: &[u8]| said.get(field.name).and_then(|v| v.as_bytes()) == Some(expect);
        if !same(&field::EXPORT_FILES, &Sha256::digest(self.contents.sums())) {
            return bad("the log recorded other files");
        }
        if !same(&field::EXPORT_LEAVES, &leaves_digest(&leaves)) {
            return bad("the log recorded other leaves");
        }
        if said.get(field::STATEMENT.name).and_then(|said| said.as_text()) != Some(&self.contents.statement()) {
            return bad("the log recorded another view or condition");
        }
        Ok(CheckedManifest { checked, leaves })
    }
}

/// What the record of the export says.
fn exported(checked: &Checked) -> Option<&Map> {
    let entry = checked.entries.first().filter(|entry| entry.leaf.kind == Kind::Access)?;
    let context = entry.groups.iter().find(|(group, _)| *group == Group::Context);
    let fields = context.and_then(|(_, fields)| fields.as_ref())?;
    (fields.get(field::EVENT.name).and_then(|event| event.as_text()) == Some(EVENT)).then_some(fields)
}

fn split(joined: &str) -> Result<Vec<Hash>, Malformed> {
    let bytes = BASE64.decode(joined).map_err(|e| Malformed::new("manifest", e.to_string()))?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() { Ok(hashes.to_vec()) } else { Err(Malformed::new("manifest", "a hash is cut")) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::KeyHistory;
    use crate::batch::batch_proof;
    use crate::evidence::Proved;
    use crate::merkle::tests::Levels;
    use crate::merkle::{Frontier, inclusion_proof};
    use crate::note::Signer;
    use crate::{Checkpoint, GroupSet, Record};

    fn file(name: &str, rows: u64) -> File {
        File { name: name.into(), rows, bytes: 9, sha256: "ab".repeat(32) }
    }

    fn contents() -> Contents {
        let files = vec![file("part-00000.jsonl", 2), file("part-00001.jsonl", 2)];
        let leaves = vec![(1, 3), (6, 1)];
        Contents { view: "interactions".into(), condition: None, rows: "jsonl".into(), files, leaves }
    }

    /// A log of nine records, the last of which says that `contents` were exported.
    fn manifest(said: impl FnOnce(&mut Record)) -> (Manifest, KeyHistory) {
        let signer = Signer::from_seed("a/log", &[1; 32]).unwrap();
        let contents = contents();
        let (mut levels, mut frontier) = (Levels::default(), Frontier::default());
        let hash = |n: u8| Record::new(Uuid::from_bytes([n; 16]), Kind::Interaction, 1, [n; 32]).leaf(5).hash();
        (0..8).for_each(|n| levels.push(&mut frontier, hash(n)));
        let hashes: Vec<_> = [1, 2, 3, 6].into_iter().map(hash).collect();
        let leaves: Vec<_> = contents.indexes(8).unwrap().into_iter().zip(hashes.iter().copied()).collect();
        let mut record = Record::new(Uuid::from_bytes([99; 16]), Kind::Access, 1, [99; 32]);
        record.set(&field::EVENT, EVENT);
        record.set(&field::STATEMENT, contents.statement());
        record.set(&field::EXPORT_FILES, <[u8; 32]>::from(Sha256::digest(contents.sums())));
        record.set(&field::EXPORT_LEAVES, leaves_digest(&leaves));
        said(&mut record);
        levels.push(&mut frontier, record.leaf(5).hash());
        let checkpoint = Checkpoint { origin: "a/log".into(), size: 9, root: frontier.root() };
        let proved =
            Proved { index: 8, committed_at: 5, record: &record, proof: inclusion_proof(&levels, 8, 9).unwrap() };
        let reveal: GroupSet = [Group::Context].into_iter().collect();
        let evidence = Evidence::new(&checkpoint.sign(&signer), &[proved], reveal);
        let proof = batch_proof(&levels, &[1, 2, 3, 6], 9).unwrap();
        (Manifest::new(contents, &hashes, &proof, evidence), signer.verifier().into())
    }

    #[test]
    fn a_manifest_proves_its_leaves() {
        let (manifest, key) = manifest(|_| ());
        let read: Manifest = serde_json::from_str(&serde_json::to_string(&manifest).unwrap()).unwrap();
        let checked = read.check(&key).unwrap();
        assert_eq!(checked.leaves.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2, 3, 6]);
        assert_eq!(manifest.contents.sums().lines().count(), 2);
    }

    #[test]
    fn hostile_manifests_are_refused() {
        let (good, key) = manifest(|_| ());
        let check = |change: &dyn Fn(&mut Manifest)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check(&key).unwrap_err().to_string()
        };
        assert!(check(&|m| m.format = "onrecord-export/v2".into()).contains("format"));
        assert!(check(&|m| m.contents.files[0].sha256 = "ac".repeat(32)).contains("other files"));
        assert!(check(&|m| m.contents.files[0].name = "other".into()).contains("other files"));
        assert!(check(&|m| m.contents.files[0].name = "two\nlines".into()).contains("control characters"));
        assert!(check(&|m| m.contents.view = "records".into()).contains("another view"));
        assert!(check(&|m| m.contents.condition = Some("true".into())).contains("another view or condition"));
        assert!(check(&|m| m.contents.files.truncate(1)).contains("as many leaf hashes as rows"));
        assert!(check(&|m| m.contents.files[0].rows += 1).contains("as many leaf hashes as rows"));
        assert!(check(&|m| m.contents.files[0].rows = u64::MAX).contains("as many leaf hashes as rows"));
        assert!(check(&|m| m.contents.leaves = vec![(1, 3)]).contains("as many leaves as rows"));
        assert!(check(&|m| m.contents.leaves = vec![(1, 4)]).contains("batch proof"));
        assert!(check(&|m| m.contents.leaves = vec![(6, 1), (1, 3)]).contains("ascend"));
        assert!(check(&|m| m.contents.leaves = vec![(1, 3), (u64::MAX, 1)]).contains("of a log of 9"));
        assert!(check(&|m| m.contents.leaves = vec![(1, u64::MAX)]).contains("of a log of 9"));
        assert!(check(&|m| m.hashes = String::new()).contains("leaf hashes"));
        assert!(check(&|m| m.proof = String::new()).contains("too few"));
        assert!(check(&|m| m.proof = "AAAA".into()).contains("cut"));
        let stranger = Signer::from_seed("a/log", &[2; 32]).unwrap().verifier();
        assert!(good.check(&stranger.into()).is_err());
        let other_leaves = manifest(|record| record.set(&field::EXPORT_LEAVES, [0; 32])).0;
        assert!(other_leaves.check(&key).unwrap_err().to_string().contains("other leaves"));
        let other_event = manifest(|record| record.set(&field::EVENT, "query")).0;
        assert!(other_event.check(&key).unwrap_err().to_string().contains("record of an export"));
    }
}
