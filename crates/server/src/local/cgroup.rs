//! The memory of a process's control group (Linux, cgroup v2): what a limit is compared with. Other than what its
//! processes have in RAM it counts what the kernel keeps for them, such as the cached pages of a model's file, and once.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use super::process::Pid;

/// The folder of a control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroup {
    folder: PathBuf,
    /// The most that it has ever had, as far as was read.
    peak: Option<u64>,
}

impl Cgroup {
    /// That of a process; none where there is no cgroup v2 that counts memory.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let mounts = read_to_string("/proc/self/mountinfo").ok()?;
        let groups = read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::at(folder(&mounts, &groups)?)
    }

    fn at(folder: PathBuf) -> Option<Self> {
        number(&folder, "memory.current")?;
        let peak = number(&folder, "memory.peak");
        Some(Self { folder, peak })
    }

    /// Bytes that it has now; or, if it had more than ever since the last look, the most of them. `None` if it is gone.
    pub(crate) fn memory(&mut self) -> Option<u64> {
        let current = number(&self.folder, "memory.current")?;
        // Kernels before 5.19 do not have it.
        let peak = number(&self.folder, "memory.peak");
        let before = std::mem::replace(&mut self.peak, peak);
        Some(if peak > before { peak.unwrap_or(current).max(current) } else { current })
    }
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// Where the files of a control group are, by `/proc/self/mountinfo` and a process's `/proc/PID/cgroup`.
fn folder(mounts: &str, groups: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Outside of our namespace there is nothing to be read.
    if group.split('/').any(|part| part == "..") {
        return None;
    }
    // `ID PARENT DEVICE ROOT MOUNT-POINT OPTIONS… - TYPE SOURCE OPTIONS`
    let mount = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4))?
    })?;
    Some(Path::new(mount).join(group))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_group() {
        let mounts = "23 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
            30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        for (groups, expect) in [
            ("0::/system.slice/ollama.service\n", Some("/sys/fs/cgroup/system.slice/ollama.service")),
            ("0::/\n", Some("/sys/fs/cgroup/")),
            ("4:memory:/a\n0::/b\n", Some("/sys/fs/cgroup/b")),
            ("4:memory:/a\n", None),
            ("0::/../other\n", None),
            ("", None),
        ] {
            assert_eq!(folder(mounts, groups), expect.map(PathBuf::from), "{groups}");
        }
        let older = "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(folder(older, "0::/\n"), None);
    }

    #[test]
    fn a_peak_between_two_looks_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let is = |current: &str, peak: &str| {
            std::fs::write(folder.path().join("memory.current"), format!("{current}\n")).unwrap();
            std::fs::write(folder.path().join("memory.peak"), format!("{peak}\n")).unwrap();
        };
        assert_eq!(Cgroup::at(folder.path().into()), None);
        is("100", "900");
        let mut group = Cgroup::at(folder.path().into()).unwrap();
        assert_eq!(group.memory(), Some(100), "what was before does not count");
        is("200", "950");
        assert_eq!(group.memory(), Some(950));
        assert_eq!(group.memory(), Some(200));
        std::fs::remove_file(folder.path().join("memory.peak")).unwrap();
        assert_eq!(group.memory(), Some(200), "older kernels");
        std::fs::remove_file(folder.path().join("memory.current")).unwrap();
        assert_eq!(group.memory(), None);
    }
}
