//! Checkpoints that witnesses have cosigned: in files like those of all checkpoints, with the witnesses' signature lines
//! behind the log's own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use onrecord_proof::KeyHistory;

use crate::checkpoints::{Checkpoints, Published};
use crate::disk::Disk;
use crate::{Error, clock};

/// The files, and the newest checkpoint in them.
#[derive(Debug)]
pub(crate) struct Cosigned {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files: Checkpoints,
    last: Mutex<Option<Published>>,
}

/// Where the files are in the folder of a log. It is there once something was cosigned.
pub(crate) fn folder(log: &Path) -> PathBuf {
    log.join("cosigned")
}

impl Cosigned {
    /// Reads what is there. `signed` is the last checkpoint of the log, which none of these can be beyond.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        log: &Path,
        keys: &KeyHistory,
        signed: Option<&Published>,
    ) -> Result<Self, Error> {
        let dir = folder(log);
        let files = Checkpoints::new(Arc::clone(disk), &dir);
        let last = if disk.list(&dir).is_ok() { files.recover(keys)? } else { None };
        let signed = signed.map_or(0, |signed| signed.checkpoint.size);
        if let Some(size) = last.as_ref().map(|last| last.checkpoint.size).filter(|size| *size > signed) {
            let problem = format!("witnesses have cosigned {size} leaves, the last checkpoint has {signed}");
            return Err(Error::Rollback { problem });
        }
        Ok(Self { disk: Arc::clone(disk), dir, files, last: Mutex::new(last) })
    }

    pub(crate) fn last(&self) -> Option<Published> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn keep(&self, cosigned: Published) -> Result<(), Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|last| last.checkpoint.size >= cosigned.checkpoint.size) {
            return Ok(());
        }
        if last.is_none() {
            self.disk.create_dir(&self.dir).map_err(|e| Error::io("create", &self.dir, &e))?;
        }
        self.files.append(&cosigned.note, clock::now())?;
        *last = Some(cosigned);
        Ok(())
    }
}
