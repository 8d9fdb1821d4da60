//! The memory of a model server's processes (Linux, `proc(5)`).

use std::collections::HashMap;
use std::net::SocketAddr;

use super::cgroup::Cgroup;
use super::gpu;
use super::process::{self, Pid};

/// The process that listens and those that it started: Ollama and vLLM compute in children.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    all: Vec<Pid>,
    /// That of the first one.
    group: Option<Cgroup>,
}

/// Bytes of memory at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What the processes have in RAM; what two of them share counts twice.
    pub resident: u64,
    /// What their control group has, with all that is in it.
    pub group: Option<u64>,
    /// What they have on GPUs.
    pub gpu: Option<u64>,
}

impl Memory {
    /// The most of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            group: self.group.max(other.group),
            gpu: self.gpu.max(other.gpu),
        }
    }
}

impl Processes {
    /// Those of the server that listens on an address; none if it is not to be found. Takes milliseconds.
    pub(crate) fn serving(address: SocketAddr) -> Self {
        let Some(root) = process::listening_on(address).filter(|pid| !process::is_proxy(*pid)) else {
            return Self::default();
        };
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for pid in process::processes() {
            if let Some(parent) = parent(pid) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut all = vec![root];
        let mut next = 0;
        while let Some(pid) = all.get(next) {
            all.extend(children.remove(pid).unwrap_or_default());
            next += 1;
        }
        Self { all, group: Cgroup::of(root) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What they have now, but for GPUs. `None` if none of them is left.
    pub(crate) fn memory(&mut self) -> Option<Memory> {
        let resident = self.all.iter().filter_map(|pid| resident(*pid)).reduce(u64::saturating_add)?;
        Some(Memory { resident, group: self.group.as_mut().and_then(Cgroup::memory), gpu: None })
    }

    /// What they have on GPUs now. Takes milliseconds where there are some.
    pub(crate) fn on_gpus(&self) -> impl FnOnce() -> Option<u64> + Send + use<> {
        let all = self.all.clone();
        move || gpu::memory(&all)
    }
}

fn resident(pid: Pid) -> Option<u64> {
    let sizes = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = sizes.split(' ').nth(1)?.parse().ok()?;
    // A process that has ended and was not waited for has none.
    Some(pages * rustix::param::page_size() as u64).filter(|bytes| *bytes > 0)
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses, and can have some itself.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_and_its_children() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let own = Processes::serving(address).memory().unwrap().resident;
        assert!((1 << 20..1 << 40).contains(&own), "{own}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let with_child = Processes::serving(address);
        assert!(with_child.all.contains(&std::process::id()) && with_child.all.contains(&child.id()), "{with_child:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Processes { all: vec![child.id()], group: None }.memory(), None);
        drop(listener);
        assert!(Processes::serving(address).is_empty());
    }
}
