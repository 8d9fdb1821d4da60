//! Files for results that somebody asked for, which are not data of the log.

#![expect(clippy::disallowed_methods, reason = "a result is written again if it is lost")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A file that is in its place once it is whole. Until then, and if it does not come to that, what was there before stays.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    place: PathBuf,
    /// Where it is while it is written. `None` for what is no file, as a pipe, which is written to at once.
    unfinished: Option<PathBuf>,
}

impl NewFile {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        // The file that a link leads to is replaced, not the link.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_special = place.metadata().is_ok_and(|there| !there.is_file());
        let unfinished = (!is_special).then(|| place.with_added_extension(format!("{}.new", std::process::id())));
        let file = File::create(unfinished.as_ref().unwrap_or(&place));
        let file = file.with_context(|| format!("writing {}", place.display()))?;
        Ok(Self { file, place, unfinished })
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).with_context(|| format!("writing {}", self.place.display()))
    }

    /// All of it is written.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        if let Some(unfinished) = self.unfinished.take() {
            fs::rename(&unfinished, &self.place).with_context(|| format!("writing {}", self.place.display()))?;
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            // It may be gone already; and who asked for the result hears of the error that led here.
            drop(fs::remove_file(unfinished));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        for (before, is_finished, after) in [
            (None, false, None),
            (None, true, Some("ab")),
            (Some("old"), false, Some("old")),
            (Some("old"), true, Some("ab")),
        ] {
            drop(fs::remove_file(&path));
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            let mut file = NewFile::create(&path).unwrap();
            file.write_all(b"a").unwrap();
            file.write_all(b"b").unwrap();
            if is_finished {
                file.finish().unwrap();
            } else {
                drop(file);
            }
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), after);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), usize::from(after.is_some()));
        }
    }

    #[test]
    fn what_a_link_leads_to_is_replaced_and_what_is_no_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["rows.csv", "link.csv"].map(|name| folder.path().join(name));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut file = NewFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert!(link.is_symlink() && fs::read_to_string(&path).unwrap() == "new");
        let mut nowhere = NewFile::create(Path::new("/dev/null")).unwrap();
        nowhere.write_all(b"x").unwrap();
        nowhere.finish().unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    }
}
