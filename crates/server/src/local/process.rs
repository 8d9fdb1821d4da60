//! Finding a model server's process by the port that it listens on, and reading how it was started (Linux, `proc(5)`).
//!
//! Elsewhere, in another namespace or without the right to look, there is no answer, which is never an error.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::auth::{MASK, is_secret};

/// The id of a process.
pub(crate) type Pid = u32;

/// State of a socket that listens, in `/proc/net/tcp` (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";
/// Arguments that are kept of a command line.
const ARGUMENTS_MAX: usize = 256;
/// Bytes that are kept of an argument.
const ARGUMENT_MAX: usize = 4096;

/// The process that listens on `address`, or on its port for all addresses. Of several that share the socket the oldest,
/// which is the one that the others were forked from.
///
/// Looks at the open files of every process that may be looked at: milliseconds, so not for the way of a call.
pub(crate) fn listening_on(address: SocketAddr) -> Option<Pid> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let sockets: Vec<_> = tables.iter().flat_map(|table| listeners(table, address)).collect();
    if sockets.is_empty() {
        return None;
    }
    let links: Vec<_> = sockets.iter().map(|inode| PathBuf::from(format!("socket:[{inode}]"))).collect();
    let mut owners: Vec<_> = processes().filter(|pid| has_open(*pid, &links)).collect();
    owners.sort_unstable();
    owners.first().copied()
}

/// How a process was started, secrets masked. Empty if that cannot be read.
pub(crate) fn command_line(pid: Pid) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = bytes.split(|byte| *byte == 0).filter(|argument| !argument.is_empty()).take(ARGUMENTS_MAX);
    masked(
        arguments.map(|argument| String::from_utf8_lossy(&argument[..argument.len().min(ARGUMENT_MAX)]).into_owned()),
    )
}

/// True if a process passes connections on to a server that is somewhere else, e.g. in a container.
pub(crate) fn is_proxy(pid: Pid) -> bool {
    let program = command_line(pid).into_iter().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().trim_end_matches(':');
    ["docker-proxy", "rootlessport", "ssh", "kubectl", "socat", "sshd"].contains(&name)
}

/// Where a path that a process names is for us: relative to its working folder, and in its own root if it has another.
pub(crate) fn path_as_seen_by(pid: Pid, path: &str) -> PathBuf {
    let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    let inside = folder.join(OsStr::from_bytes(path.as_bytes()));
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    match std::fs::read_link(&root) {
        Ok(own) if own != Path::new("/") => root.join(inside.strip_prefix("/").unwrap_or(&inside)),
        _ => inside,
    }
}

/// The inodes of the sockets that listen on `address`, in a table of the form of `/proc/net/tcp`.
fn listeners(table: &str, address: SocketAddr) -> Vec<u64> {
    let listens = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let here = port == address.port() && *state == LISTEN && covers(parse_ip(ip)?, address.ip());
        here.then(|| inode.parse().ok())?
    };
    table.lines().skip(1).filter_map(listens).collect()
}

/// True if a socket bound to `bound` takes connections to `to`.
fn covers(bound: IpAddr, to: IpAddr) -> bool {
    bound.to_canonical() == to.to_canonical() || bound.is_unspecified() && (bound.is_ipv6() || to.is_ipv4())
}

/// An address as the kernel prints it: words of 32 bits in the machine's order, in hexadecimal digits.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

pub(super) fn processes() -> impl Iterator<Item = Pid> {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok())
}

fn has_open(pid: Pid, links: &[PathBuf]) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| links.contains(&link))
}

/// Arguments without what follows an option that takes secrets, up to the next option: vLLM's `--api-key` takes several.
fn masked(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut hides = false;
    let mask = |argument: String| {
        let is_option = argument.starts_with('-');
        if hides && !is_option {
            return MASK.to_owned();
        }
        let (name, value) = argument.split_once('=').map_or((&*argument, None), |(name, value)| (name, Some(value)));
        hides = is_option && value.is_none() && is_secret(name);
        if value.is_some() && is_secret(name) { format!("{name}={MASK}") } else { argument }
    };
    arguments.map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 42 1 0 100 0 0 10 0\n\
             1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000 0 43 1 0 20 4 30 10 -1\n\
             2: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 44 1 0 100 0 0 10 0\n\
             nonsense\n";
        let find = |address: &str| listeners(table, address.parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!(find("127.0.0.1:8080"), [42]);
            assert_eq!(find("[::ffff:127.0.0.1]:8080"), [42]);
            assert_eq!(find("127.0.0.2:8080"), Vec::<u64>::new());
        }
        assert_eq!(find("127.0.0.1:8081"), [44]);
        assert_eq!(find("[::1]:8081"), Vec::<u64>::new());
    }

    #[test]
    fn secrets_of_a_command_line_are_masked() {
        for (line, shown) in [
            (
                "server --api-key k --hf-token=t -m model.gguf --max-tokens 5 API_KEY=x",
                "server --api-key *** --hf-token=*** -m model.gguf --max-tokens 5 API_KEY=***",
            ),
            ("serve m --api-key k1 k2 a=b --port 1 x", "serve m --api-key *** *** *** --port 1 x"),
            ("serve --api-keys k1 k2 -v --token=t k", "serve --api-keys *** *** -v --token=*** k"),
        ] {
            assert_eq!(masked(line.split(' ').map(str::to_owned)).join(" "), shown);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pid = listening_on(address).unwrap();
        assert_eq!(pid, std::process::id());
        assert_eq!(command_line(pid).first(), std::env::args().next().as_ref());
        assert_eq!(path_as_seen_by(pid, "Cargo.toml"), std::env::current_dir().unwrap().join("Cargo.toml"));
        drop(listener);
        assert_eq!(listening_on(address), None);
    }
}
