//! The digests of what was written: for every version of the table one file with a line for each of the files that
//! came with it, in the format of `sha256sum`, one for each file that it took the place of, and one for itself.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::storage::{Sha, Storage};

/// The folder of the sidecars in the table's folder.
pub(crate) const FOLDER: &str = "_onrecord";

/// What precedes the digest of a sidecar's own lines; `sha256sum --check` takes the line for a comment.
const OWN: &str = "# SHA-256 of the lines above: ";

/// What precedes the path of a file that the version took out of the table.
const REMOVED: &str = "# removed: ";

/// A file and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) digest: Sha,
    /// Relative to the table's folder.
    pub(crate) path: String,
}

/// What a sidecar says of its version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The files that came with it.
    pub(crate) entries: Vec<Entry>,
    /// The files that it took out of the table, which are there no more, or not much longer.
    pub(crate) removed: Vec<String>,
}

/// The path of a version's sidecar, relative to the table's folder.
pub(crate) fn path(version: u64) -> String {
    format!("{FOLDER}/{version:020}.sha256")
}

/// Writes the sidecar of `version` durably.
pub(crate) async fn write(storage: &dyn Storage, version: u64, listing: &Listing) -> Result<()> {
    let mut lines = String::new();
    for Entry { digest, path } in &listing.entries {
        let _ = writeln!(lines, "{}  {path}", hex(digest));
    }
    for path in &listing.removed {
        let _ = writeln!(lines, "{REMOVED}{path}");
    }
    let own: Sha = Sha256::digest(&lines).into();
    let _ = writeln!(lines, "{OWN}{}", hex(&own));
    storage.write(&path(version), lines.into()).await
}

/// What a sidecar lists; an error says what is wrong with it.
pub(crate) async fn read(storage: &dyn Storage, path: &str) -> Result<Listing> {
    let damaged = |problem: String| Error::corrupt(storage.place(path), problem);
    let bytes = storage.read(path).await?.ok_or_else(|| damaged("it is missing".to_owned()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text".to_owned()))?;
    parse(text).map_err(damaged)
}

fn parse(text: &str) -> Result<Listing, String> {
    let at = text.rfind(OWN).ok_or("its own digest is missing")?;
    let (lines, own) = text.split_at(at);
    let expected = format!("{OWN}{}\n", hex(&Sha256::digest(lines)));
    if own != expected {
        return Err("its own digest does not fit".to_owned());
    }
    let mut listing = Listing::default();
    for line in lines.lines() {
        if let Some(path) = line.strip_prefix(REMOVED) {
            listing.removed.push(path.to_owned());
            continue;
        }
        let (digest, path) = line.split_once("  ").ok_or_else(|| format!("not a digest and a path: {line:?}"))?;
        let digest = unhex(digest).ok_or_else(|| format!("not a SHA-256: {digest:?}"))?;
        listing.entries.push(Entry { digest, path: path.to_owned() });
    }
    Ok(listing)
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Sha> {
    let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes: Vec<_> = (0..32).map_while(byte).collect();
    (text.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "damages a file as a disk does")]
    async fn a_sidecar_comes_back_and_a_flipped_bit_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let storage = crate::storage::Disk::new(dir.path().to_owned());
        let entries = vec![
            Entry { digest: [7; 32], path: "_delta_log/00000000000000000001.json".into() },
            Entry { digest: [255; 32], path: "commit_date=2025-11-23/a.parquet".into() },
        ];
        let listing = Listing { entries, removed: vec!["commit_date=2025-11-23/b.parquet".into()] };
        write(&storage, 1, &listing).await.unwrap();
        let place = dir.path().join(path(1));
        assert_eq!(read(&storage, &path(1)).await.unwrap(), listing);
        let bytes = std::fs::read(&place).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&place, &changed).unwrap();
            assert!(read(&storage, &path(1)).await.is_err(), "byte {at}");
        }
    }
}
