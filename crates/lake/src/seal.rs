//! Sealing: hot rows become a data file of the table.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::MutexGuard;

use crate::data_file::{DataFileWriter, Written};
use crate::error::{Error, Result};
use crate::lake::{Inner, Lake, compare};
use crate::table::{Sealed, Table};

/// Payload that is read from the log and converted at once, in bytes.
const CHUNK: usize = 4 << 20;

/// What a seal has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// First leaf index of the new file.
    pub from: u64,
    /// One after its last leaf index.
    pub until: u64,
    /// Size of the new file in bytes.
    pub bytes: u64,
    /// The version of the table that the file came with.
    pub version: u64,
}

/// The steps of a seal, and of the replacement of data files, in order, and what a crash after each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The data file is durable and in no version. It is removed when the table is opened; its rows are in the log, or in
    /// the files that it was going to replace.
    DataFile,
    /// The new version is durable, and with it the cursor: the rows are sealed, and never sealed again. The digests
    /// are computed when the table is opened.
    Commit,
    /// The digests are durable. The log does not know yet that the rows are sealed; it is told when the lake is opened.
    /// Files that were replaced are still there; they go when the lake is opened.
    Sidecar,
}

impl Lake {
    /// Seals what is hot, up to one file's worth: rows that were committed on one day (UTC), as many as
    /// [`LakeOptions`](crate::LakeOptions) let one file have. `None` if nothing is hot.
    ///
    /// When this returns, the rows are durable in the table, and the log has been told to let go of them. Works on the
    /// calling thread and blocks it on the disk; the server leaves it to a [`Sealer`](crate::Sealer).
    pub async fn seal(&self) -> Result<Option<Seal>> {
        let inner = &*self.inner;
        let (mut slot, mut table) = inner.take_table().await?;
        let seal = inner.seal(&mut table).await?;
        *slot = Some(table);
        inner.log.release(inner.versions.releasable());
        Ok(seal)
    }
}

impl Inner {
    async fn seal(&self, table: &mut Table) -> Result<Option<Seal>> {
        let from = self.versions.current().cursor;
        let until = self.log.size().min(from + self.options.file_rows);
        if from >= until {
            return Ok(None);
        }
        let Written { add, entry, leaves, bytes } = self.write_file(from, until).await?;
        self.crash_after(Step::DataFile)?;
        let version = table.commit(add, leaves.end - 1).await?;
        self.crash_after(Step::Commit)?;
        table.conclude(&[entry], Vec::new()).await?;
        self.crash_after(Step::Sidecar)?;
        self.versions.publish(table.sealed().await?);
        Ok(Some(Seal { from: leaves.start, until: leaves.end, bytes, version }))
    }

    /// Writes the data file for `from..until`, or fewer leaves.
    async fn write_file(&self, from: u64, until: u64) -> Result<Written> {
        let read = |from| self.log.read(from, until, CHUNK).map_err(Error::Log);
        let mut rows = read(from)?;
        let first = rows.first().ok_or_else(|| Error::corrupt("the log", format!("no leaf {from}")))?;
        let mut file = DataFileWriter::create(&self.storage, &self.origin, from..until, first.committed_at, None)?;
        loop {
            if rows.iter().zip(file.end()..).any(|(row, index)| row.index != index) || rows.is_empty() {
                return Err(Error::corrupt("the log", format!("leaves after {} are not in order", file.end())));
            }
            let added = file.add(&rows)?;
            if added < rows.len() || file.end() == until || file.payload() >= self.options.file_bytes {
                return file.finish(now_ms()).await;
            }
            rows = read(file.end())?;
        }
    }

    /// The table, and its place. That is empty until the table is put back: whoever fails in the middle of a change leaves
    /// it to the next one to open the table again.
    pub(crate) async fn take_table(&self) -> Result<(MutexGuard<'_, Option<Table>>, Table)> {
        let mut slot = self.table.lock().await;
        let table = match slot.take() {
            Some(table) => table,
            None => Box::pin(self.reopen()).await?,
        };
        Ok((slot, table))
    }

    /// Opens the table again after a change of it that failed half-way, as a new start of the program would.
    async fn reopen(&self) -> Result<Table> {
        let table = Table::open(Arc::clone(&self.storage), &self.origin).await?;
        let sealed: Sealed = table.sealed().await?;
        compare(&sealed, self.log.as_ref())?;
        table.remove_orphans().await?;
        self.versions.publish(sealed);
        Ok(table)
    }

    /// Where tests stop a seal like a crash would.
    #[cfg(test)]
    pub(crate) fn crash_after(&self, step: Step) -> Result<()> {
        let crash = *self.crash_after.lock().unwrap();
        if crash == Some(step) { Err(Error::corrupt("test", format!("crash after {step:?}"))) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(crate) fn crash_after(&self, _step: Step) -> Result<()> {
        Ok(())
    }
}

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
