//! The memory of a model server's processes (Linux, `proc(5)`).

use std::collections::HashMap;
use std::net::SocketAddr;

use super::process::{self, Pid};

/// The process that listens and those that it started: Ollama and vLLM compute in children.
#[derive(Debug, Default)]
pub(crate) struct Processes(Vec<Pid>);

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
        Self(all)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of their memory that are in RAM now; what two of them share counts twice. `None` if none of them is left.
    pub(crate) fn resident(&self) -> Option<u64> {
        self.0.iter().filter_map(|pid| resident(*pid)).reduce(u64::saturating_add)
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
        let own = Processes::serving(address).resident().unwrap();
        assert!((1 << 20..1 << 40).contains(&own), "{own}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let with_child = Processes::serving(address);
        assert!(with_child.0.contains(&std::process::id()) && with_child.0.contains(&child.id()), "{with_child:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Processes(vec![child.id()]).resident(), None);
        drop(listener);
        assert!(Processes::serving(address).is_empty());
    }
}
