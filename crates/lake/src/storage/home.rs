//! Which storage the table of a data folder is in. A note beside the table's place says so, once it is not the local folder:
//! a command that knows nothing but the data folder finds the table, and no start begins a second one elsewhere.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::bucket::Bucket;
use super::{Disk, StorageRef, file};
use crate::error::{Error, Result};
use crate::table::Sealed;

/// The file with the URL.
const NOTE: &str = "store";
/// The folder in which data files are written that then go to a bucket.
const DRAFTS: &str = "drafts";

/// The folder of a lake, and where its table is.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    /// `None` is the folder itself.
    store: Option<Url>,
    is_noted: bool,
}

impl Home {
    /// Of the lake in the folder `dir`, which is asked to keep its table in `wanted`.
    pub(crate) fn find(dir: &Path, wanted: Option<&Url>) -> Result<Self> {
        let noted = read(dir)?;
        let is_noted = noted.is_some();
        let store = match (noted, wanted.map(normal)) {
            (Some(noted), Some(wanted)) if noted != wanted => {
                let problem = format!(
                    "the records of this log are in {noted}, not in {wanted}; leave the setting at {noted}, or stop, copy \
                     everything below it to the new place, and write that into this file"
                );
                return Err(Error::corrupt(dir.join(NOTE).display(), problem));
            }
            (None, Some(wanted)) if table(dir).exists() => {
                let problem = format!(
                    "the records of this log are in this folder, not in {wanted}; leave the setting out, or move them: \
                     copy everything in the folder to {wanted} and remove it"
                );
                return Err(Error::corrupt(table(dir).display(), problem));
            }
            (noted, wanted) => noted.or(wanted),
        };
        Ok(Self { dir: dir.to_owned(), store, is_noted })
    }

    /// Where the table is, for people.
    pub(crate) fn place(&self) -> String {
        self.store.as_ref().map_or_else(|| table(&self.dir).display().to_string(), Url::to_string)
    }

    /// The table's storage.
    pub(crate) fn storage(&self) -> Result<StorageRef> {
        match &self.store {
            None => Ok(Arc::new(Disk::new(table(&self.dir)))),
            Some(url) => Ok(Arc::new(Bucket::connect(url, self.dir.join(DRAFTS))?)),
        }
    }

    /// Refuses a prefix that has the records of another log: each writes as if it were alone there.
    pub(crate) fn belongs_to(&self, table: &Sealed) -> Result<()> {
        let other = table.files.iter().find(|file| file.origin != table.origin);
        match (&self.store, other) {
            (Some(url), Some(file)) => {
                let problem = format!("the records of {:?} are there; give each log a prefix of its own", file.origin);
                Err(Error::corrupt(url, problem))
            }
            _ => Ok(()),
        }
    }

    /// Notes where the table is, now that it is known to be there.
    pub(crate) fn note(&self) -> Result<()> {
        match &self.store {
            Some(url) if !self.is_noted => file::write(&self.dir.join(NOTE), format!("{url}\n").as_bytes()),
            _ => Ok(()),
        }
    }

    /// Removes what an earlier run was writing. Only while nobody writes.
    pub(crate) fn remove_drafts(&self) -> Result<()> {
        let drafts = self.dir.join(DRAFTS);
        if drafts.exists() { file::remove_below(&drafts) } else { Ok(()) }
    }
}

/// The local folder of the table in that of the lake.
fn table(dir: &Path) -> PathBuf {
    dir.join("records")
}

/// Without a slash at its end, which means nothing.
fn normal(url: &Url) -> Url {
    let mut url = url.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url
}

fn read(dir: &Path) -> Result<Option<Url>> {
    let note = dir.join(NOTE);
    match std::fs::read_to_string(&note) {
        Ok(text) => {
            let url = Url::parse(text.trim()).map_err(|error| Error::corrupt(note.display(), error))?;
            Ok(Some(normal(&url)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(&note)(error)),
    }
}
