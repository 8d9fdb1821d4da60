//! The GPU memory of processes, as the NVIDIA driver's library (NVML) tells. It is loaded where there is one; elsewhere
//! there is no answer, which is never an error.

use std::sync::OnceLock;

use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;

use super::process::Pid;

/// The library under the name that a driver installs; the other one comes with packages for developers.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// What a process has on one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    gpu: u32,
    pid: Pid,
    bytes: u64,
}

/// Bytes that some processes have on all GPUs of this machine; `None` if they have none. The first time that it is asked it
/// looks for the driver, so not on a thread that must not wait.
pub(crate) fn memory(of: &[Pid]) -> Option<u64> {
    static DRIVER: OnceLock<Option<Nvml>> = OnceLock::new();
    let driver = DRIVER.get_or_init(|| {
        let by_name = || Nvml::builder().lib_path(LIBRARY.as_ref()).init();
        by_name().or_else(|_| Nvml::init()).inspect_err(|error| tracing::debug!(%error, "GPU memory is not read")).ok()
    });
    sum(&shares(driver.as_ref()?), of)
}

/// Of all processes that compute or draw. A GPU that does not answer has none.
fn shares(driver: &Nvml) -> Vec<Share> {
    let mut all = Vec::new();
    for gpu in 0..driver.device_count().unwrap_or(0) {
        let Ok(device) = driver.device_by_index(gpu) else { continue };
        let lists = [device.running_compute_processes(), device.running_graphics_processes()];
        all.extend(lists.into_iter().flatten().flatten().filter_map(|process| share(gpu, &process)));
    }
    all
}

fn share(gpu: u32, process: &ProcessInfo) -> Option<Share> {
    match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(Share { gpu, pid: process.pid, bytes }),
        UsedGpuMemory::Unavailable => None,
    }
}

/// What the processes have together. One that computes and draws is in both lists of a GPU, with the same number.
fn sum(shares: &[Share], of: &[Pid]) -> Option<u64> {
    let is_first =
        |at: usize| !shares[..at].iter().any(|other| (other.gpu, other.pid) == (shares[at].gpu, shares[at].pid));
    let ours = (0..shares.len()).filter(|at| of.contains(&shares[*at].pid) && is_first(*at));
    ours.map(|at| shares[at].bytes).reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: Pid, used_gpu_memory: UsedGpuMemory) -> ProcessInfo {
        ProcessInfo { pid, used_gpu_memory, gpu_instance_id: None, compute_instance_id: None }
    }

    #[test]
    fn the_memory_of_processes_on_all_gpus() {
        let used = |gpu, pid, bytes| share(gpu, &process(pid, UsedGpuMemory::Used(bytes))).unwrap();
        let shares = [used(0, 7, 100), used(0, 8, 1), used(1, 7, 20), used(1, 9, 5), used(0, 7, 100)];
        assert_eq!(sum(&shares, &[7]), Some(120));
        assert_eq!(sum(&shares, &[7, 9, 10]), Some(125));
        assert_eq!(sum(&shares, &[10]), None);
        assert_eq!(share(0, &process(7, UsedGpuMemory::Unavailable)), None);
    }

    #[test]
    fn without_a_driver_there_is_no_answer() {
        if !std::path::Path::new("/proc/driver/nvidia").exists() {
            assert_eq!(memory(&[std::process::id()]), None);
        }
    }
}
