//! Signed checkpoints, every one kept: one file for each day, notes one after the other with a blank line between.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onrecord_proof::note::Note;
use onrecord_proof::{Checkpoint, KeyHistory};

use crate::Error;
use crate::clock::day;
use crate::disk::{Disk, DiskFile};

/// What separates two notes. A note holds one blank line, before its signatures, and ends in a single newline, so that
/// a signature line followed by this ends a note.
const END: &str = "\n";

/// A checkpoint with its signed note.
#[derive(Debug, Clone)]
pub struct Published {
    /// The note.
    pub note: Note,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// The files with the checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The newest file and where its last whole note ends. A note that failed half-way is overwritten.
    newest: Mutex<Option<(String, u64)>>,
}

/// The checkpoints of one file and, if its last one was cut off, where that starts and how many bytes there are of it.
pub(crate) struct Day {
    pub path: PathBuf,
    pub published: Vec<Published>,
    pub torn: Option<(u64, usize)>,
    /// Where its last whole checkpoint ends.
    end: u64,
}

impl Checkpoints {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned(), newest: Mutex::default() }
    }

    /// The names of the files, oldest first.
    pub(crate) fn days(&self) -> Result<Vec<String>, Error> {
        self.disk.list(&self.dir).map_err(|e| Error::io("list", &self.dir, &e))
    }

    /// Reads one file. A checkpoint that does not verify is an error; one that was cut off while it was written is not.
    pub(crate) fn read(&self, name: &str, keys: &KeyHistory) -> Result<Day, Error> {
        let path = self.dir.join(name);
        let bytes = self.disk.read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let mut day = Day { path, published: Vec::new(), torn: None, end: 0 };
        let mut at = 0;
        while at < bytes.len() {
            let Some(len) = note_len(&bytes[at..]) else {
                if !is_cut_off(&bytes[at..]) {
                    return Err(Error::corrupt(&day.path, at as u64, "this is not a signed checkpoint"));
                }
                day.torn = Some((at as u64, bytes.len() - at));
                break;
            };
            let text = std::str::from_utf8(&bytes[at..at + len]);
            let text = text.map_err(|_| Error::corrupt(&day.path, at as u64, "the checkpoint is not UTF-8"))?;
            let published = open(text, keys).map_err(|e| Error::corrupt(&day.path, at as u64, e.to_string()))?;
            day.published.push(published);
            at += len + END.len();
            day.end = at as u64;
        }
        Ok(day)
    }

    /// The newest checkpoint; what was cut off behind it is removed.
    pub(crate) fn recover(&self, keys: &KeyHistory) -> Result<Option<Published>, Error> {
        for name in self.days()?.into_iter().rev() {
            let day = self.read(&name, keys)?;
            if let Some((at, _)) = day.torn {
                tracing::warn!(file = %day.path.display(), at, "cut off a checkpoint that was not written whole");
                self.cut(&day.path, at)?;
            }
            self.lock().get_or_insert((name, day.end));
            if let Some(last) = day.published.into_iter().next_back() {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// Appends a checkpoint to the file of the day of `now` (microseconds since 1970-01-01 UTC), durably. If the clock was
    /// set back, that of the newest day: the last checkpoint is always in the newest file.
    pub(crate) fn append(&self, note: &Note, now: i64) -> Result<(), Error> {
        let mut newest = self.lock();
        let today = day(now);
        let known = newest.clone().filter(|(name, _)| *name >= today);
        let (name, end) = known.map_or((today, None), |(name, end)| (name, Some(end)));
        let path = self.dir.join(&name);
        let file = match self.disk.open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.disk.create(&path, 0),
            other => other,
        };
        let file = file.map_err(|e| Error::io("open", &path, &e))?;
        let len = file.len().map_err(|e| Error::io("read", &path, &e))?;
        let end = end.unwrap_or(len);
        *newest = Some((name.clone(), end));
        let text = format!("{note}{END}");
        let cut = if len > end { file.set_len(end) } else { Ok(()) };
        let written = cut.and_then(|()| file.write_at(end, text.as_bytes())).and_then(|()| file.sync());
        written.map_err(|e| Error::io("write", &path, &e))?;
        *newest = Some((name, end + text.len() as u64));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(String, u64)>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, path: &Path, at: u64) -> Result<(), Error> {
        let cut = |file: Box<dyn DiskFile>| file.set_len(at).and_then(|()| file.sync());
        self.disk.open(path).and_then(cut).map_err(|e| Error::io("truncate", path, &e))
    }
}

/// The length of the note at the start of `bytes`, if it and what separates it from the next one are there: the first
/// empty line ends its text, the second one the note.
fn note_len(bytes: &[u8]) -> Option<usize> {
    let empty_line = |from: usize| bytes[from..].windows(2).position(|pair| pair == b"\n\n").map(|at| from + at);
    let text = empty_line(0)?;
    empty_line(text + 2).map(|at| at + 1)
}

/// True if the write of a note can have left this: it does not end as a note does, or it ends before its signature.
fn is_cut_off(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    !bytes.ends_with(b"\n\n") || lines <= 3
}

/// The bytes of the shortest checkpoint, with what separates it from the next one, that can follow one over `size`
/// leaves: origin, size and root, then the signature of the log. One of which there is less was cut off; one of which there
/// is as much, and that is not whole all the same, has been changed.
pub(crate) fn shortest(origin: &str, size: u64) -> usize {
    // A hash of 32 bytes and a signature of 64 with 4 of the key, in base64.
    const ROOT: usize = 44;
    const SIGNATURE: usize = 92;
    let text = origin.len() + 1 + size.to_string().len() + 1 + ROOT + 1;
    text + 1 + "— ".len() + origin.len() + 1 + SIGNATURE + 1 + END.len()
}

fn open(text: &str, keys: &KeyHistory) -> Result<Published, onrecord_proof::Malformed> {
    let note: Note = text.parse()?;
    let checkpoint = keys.open(&note)?;
    Ok(Published { note, checkpoint })
}

#[cfg(test)]
mod tests {
    use onrecord_proof::note::Signer;

    use super::*;
    use crate::disk::FaultyDisk;

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn a_clock_that_was_set_back_does_not_hide_the_last_checkpoint() {
        let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new());
        let open = || Checkpoints::new(Arc::clone(&disk), Path::new("checkpoints"));
        let signer = Signer::from_seed("test/log", &[1; 32]).unwrap();
        let sizes = [(1, 2 * DAY), (2, DAY), (3, 0), (4, DAY), (5, 3 * DAY), (6, 2 * DAY)];
        let mut checkpoints = open();
        for (size, now) in sizes {
            let checkpoint = Checkpoint { origin: "test/log".into(), size, root: [0; 32] };
            checkpoints.append(&checkpoint.sign(&signer), now).unwrap();
            if size % 2 == 0 {
                checkpoints = open();
                let last = checkpoints.recover(&signer.verifier().into()).unwrap().unwrap();
                assert_eq!(last.checkpoint.size, size);
            }
        }
        assert_eq!(checkpoints.days().unwrap(), ["1970-01-03", "1970-01-04"]);
    }
}
