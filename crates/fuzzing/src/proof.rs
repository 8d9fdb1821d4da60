//! The formats of `crates/proof`. Each value has one spelling, so what is accepted is written back as it came.

use std::sync::LazyLock;

use onrecord_proof::cosignature::Witness;
use onrecord_proof::evidence::Evidence;
use onrecord_proof::note::{Note, Signer, Verifier};
use onrecord_proof::tile::{EntryBundle, Tile};
use onrecord_proof::{Checkpoint, Group, KeyHistory, Leaf, Malformed, Record, Value};
use uuid::Uuid;

/// The log of the test vectors, so that some signatures are right.
static LOG: LazyLock<Verifier> = LazyLock::new(|| {
    let vectors = include_str!("../../proof/testdata/v1/notes.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).expect("the vectors are JSON");
    let key = vectors["public_key"].as_str().expect("there is a key");
    key.parse().expect("the key of the vectors is one")
});

pub(crate) fn cbor(bytes: &[u8]) {
    if let Ok(value) = Value::from_bytes(bytes) {
        assert_eq!(value.to_bytes(), bytes);
    }
}

pub(crate) fn leaf(bytes: &[u8]) {
    if let Ok(leaf) = Leaf::from_bytes(bytes) {
        assert_eq!(leaf.to_bytes(), bytes);
    }
}

pub(crate) fn record(bytes: &[u8]) {
    let Ok(mut record) = Record::from_bytes(bytes) else { return };
    assert_eq!(record.to_bytes(), bytes);
    let leaf = record.leaf(0);
    if let Ok(prepared) = record.prepare() {
        assert_eq!(prepared.into_leaf(0), leaf, "the two ways to a leaf");
    }
    // What is disposed of is not needed for the leaf.
    for group in Group::ALL {
        record.erase(group, Uuid::nil());
    }
    assert_eq!(record.leaf(0), leaf, "an erased record is the same leaf");
    assert_eq!(Record::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
}

pub(crate) fn note(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(note) = text.parse::<Note>() else { return };
    assert_eq!(note.to_string(), text);
    if let Ok(checkpoint) = Checkpoint::open(&note, &LOG) {
        assert!(text.starts_with(&checkpoint.to_text()));
    }
}

/// The text of a checkpoint: what is read is read again from what is written of it.
pub(crate) fn checkpoint(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(checkpoint) = Checkpoint::from_text(text) else { return };
    assert_eq!(Checkpoint::from_text(&checkpoint.to_text()), Ok(checkpoint.clone()));
    let signer = Signer::from_seed(&checkpoint.origin, &[1; 32]);
    if let Ok(signer) = signer {
        let note: Note = checkpoint.sign(&signer).to_string().parse().expect("what was signed is a note");
        assert_eq!(Checkpoint::open(&note, &signer.verifier()), Ok(checkpoint));
    }
}

pub(crate) fn tile_path(bytes: &[u8]) {
    let Ok(path) = str::from_utf8(bytes) else { return };
    if let Ok(tile) = Tile::from_path(path) {
        assert_eq!(tile.path(), path);
        assert!((1..=256).contains(&tile.width) && tile.needs() >= u64::from(tile.width));
    }
    if let Ok(bundle) = EntryBundle::from_path(path) {
        assert_eq!(bundle.path(), path);
        assert!(bundle.leaves().end - bundle.leaves().start <= 256);
    }
}

/// Evidence that holds still holds when it was written and read again.
pub(crate) fn evidence(bytes: &[u8]) {
    let Ok(evidence) = serde_json::from_slice::<Evidence>(bytes) else { return };
    let known = KeyHistory::from(LOG.clone());
    let Ok(checked) = evidence.check(&known) else { return };
    for entry in &checked.entries {
        assert!(entry.index < checked.checkpoint.size);
        let _ = entry.to_string();
    }
    let again = serde_json::to_string(&evidence).expect("evidence is JSON");
    let again: Evidence = serde_json::from_str(&again).expect("what was written can be read");
    // As text: a record may hold NaN, which is not equal to itself.
    assert_eq!(format!("{:?}", again.check(&known)), format!("{:?}", Ok::<_, Malformed>(checked)));
}

/// Keys in the texts in which they are given: of a log, all of them, and of a witness.
pub(crate) fn key(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(verifier) = text.parse::<Verifier>() {
        assert_eq!(verifier.to_string().parse::<Verifier>().map(|key| key.to_string()), Ok(verifier.to_string()));
    }
    if let Ok(witness) = text.parse::<Witness>() {
        assert_eq!(witness.to_string().parse::<Witness>().map(|key| key.to_string()), Ok(witness.to_string()));
    }
    if let Ok(history) = text.parse::<KeyHistory>() {
        assert_eq!(history.to_string().parse::<KeyHistory>(), Ok(history));
    }
    let _ = text.parse::<Signer>();
}
