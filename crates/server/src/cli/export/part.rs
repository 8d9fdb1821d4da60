//! One file of an export.

#![expect(clippy::disallowed_methods, reason = "files that somebody asked for, not data of the log")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use onrecord_lake::datafusion::arrow::array::{AsArray as _, RecordBatch};
use onrecord_lake::datafusion::arrow::compute::cast;
use onrecord_lake::datafusion::arrow::datatypes::{DataType, UInt64Type};
use onrecord_proof::manifest;
use sha2::{Digest as _, Sha256};

use super::rows::{Rows, Writer};

/// A file that is being written. It has its name only once it is whole.
pub(super) struct Part {
    path: PathBuf,
    new: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
    rows: Rows,
    writer: Option<Writer>,
    leaves: Vec<u64>,
}

impl Part {
    pub(super) fn create(path: &Path, rows: Rows) -> anyhow::Result<Self> {
        let new = path.with_added_extension("new");
        let file = File::create(&new).with_context(|| format!("writing {}", new.display()))?;
        let (path, leaves) = (path.to_owned(), Vec::new());
        Ok(Self { path, new, file, digest: Sha256::new(), bytes: 0, rows, writer: None, leaves })
    }

    pub(super) const fn rows(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let leaves = leaves(batch)?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::new(self.rows, &batch.schema())?),
        };
        let mut out = Vec::new();
        let kept = writer.write(batch, &mut out)?;
        for (leaf, _) in leaves.into_iter().zip(kept).filter(|(_, kept)| *kept) {
            if self.leaves.last().is_some_and(|last| *last >= leaf) {
                bail!("a record has several rows here, and an export has one for each; export another view");
            }
            self.leaves.push(leaf);
        }
        self.add(&out)
    }

    fn add(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).with_context(|| format!("writing {}", self.new.display()))
    }

    /// Makes the file durable under its name. `None`, and no file, if it has no rows.
    pub(super) fn finish(mut self, name: &str) -> anyhow::Result<Option<(manifest::File, Vec<u64>)>> {
        if self.leaves.is_empty() {
            fs::remove_file(&self.new)?;
            return Ok(None);
        }
        if let Some(writer) = self.writer.take() {
            self.add(&writer.finish()?)?;
        }
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.new, &self.path))
            .with_context(|| format!("writing {}", self.path.display()))?;
        let (rows, sha256) = (self.rows(), hex(&self.digest.finalize()));
        Ok(Some((manifest::File { name: name.to_owned(), rows, bytes: self.bytes, sha256 }, self.leaves)))
    }
}

/// The leaf index of each row.
fn leaves(batch: &RecordBatch) -> anyhow::Result<Vec<u64>> {
    let column = batch
        .column_by_name("leaf_index")
        .context("this view has no leaf_index, so its rows are not tied to records; export another one")?;
    Ok(cast(column, &DataType::UInt64)?.as_primitive::<UInt64Type>().values().to_vec())
}

/// The size and the SHA-256 of a file.
pub(super) fn digest(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut digest, mut bytes) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hex(&digest.finalize()))),
            read => {
                digest.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
