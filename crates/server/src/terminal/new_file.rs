//! Files for results that somebody asked for.

#![expect(clippy::disallowed_methods, reason = "a result, not data of the log: whoever asked can ask again")]

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::NamedTempFile;

/// What is asked of the system for a new file; the umask takes from it.
const MODE: u32 = 0o666;

/// A file that is in its place once it is whole. Until then, and if it does not come to that, what was there before stays.
#[derive(Debug)]
pub(crate) struct NewFile {
    place: PathBuf,
    file: Writing,
}

#[derive(Debug)]
enum Writing {
    Beside(NamedTempFile),
    /// What is no file, as a pipe, is written to at once.
    There(File),
}

impl NewFile {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        // The file that a link leads to is replaced, not the link.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let file = Writing::begin(&place).with_context(|| format!("writing {}", place.display()))?;
        Ok(Self { place, file })
    }

    /// All of it is written.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        if let Writing::Beside(file) = self.file {
            file.persist(&self.place).with_context(|| format!("writing {}", self.place.display()))?;
        }
        Ok(())
    }
}

impl Writing {
    fn begin(place: &Path) -> io::Result<Self> {
        if place.metadata().is_ok_and(|there| !there.is_file()) {
            return File::options().write(true).open(place).map(Self::There);
        }
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(folder).map(Self::Beside)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Writing::Beside(file) => file.write(bytes),
            Writing::There(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn whoever_reads_other_results_reads_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::write(folder.path().join("usual"), "").unwrap();
        NewFile::create(&folder.path().join("rows.csv")).unwrap().finish().unwrap();
        assert_eq!(mode("rows.csv"), mode("usual"));
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
