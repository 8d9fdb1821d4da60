//! The disk of this machine.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use super::{Disk, DiskFile};

/// Files of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

/// A file's entry in its folder is durable when the folder is.
fn sync_parent(path: &Path) -> io::Result<()> {
    // The parent of a bare name is the working folder, spelt "".
    let parent = path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    parent.map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

fn allocate(file: &File, size: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, size.max(1)) {
        // Some file systems cannot allocate ahead; a full disk then shows when it is written.
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(size),
        other => other.map_err(Into::into),
    }
}

#[expect(clippy::disallowed_methods, reason = "this module is where the ledger's writes are allowed")]
impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        // What is below has prompts and answers. Whoever wants others to read it can say so of the folder.
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        missing.into_iter().try_for_each(sync_parent)?;
        sync_parent(path)
    }

    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let allocated = if size > 0 { allocate(&file, size) } else { Ok(()) };
        // A file that could not get its space, or be made durable, is of no use: it would stand in the way of the next
        // attempt, and attempts that go on would fill the disk.
        let there = allocated.and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
        there.inspect_err(|_| drop(fs::remove_file(path)))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let new = path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
        // The mode above holds only if the file was not there before.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_parent(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        sync_parent(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        getrandom::fill(out).map_err(|e| io::Error::other(e.to_string()))
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            match self.0.read_at(&mut out[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
