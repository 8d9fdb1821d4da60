//! What this machine tells of a model server that runs on it.

mod cgroup;
mod gpu;
pub(crate) mod memory;
pub(crate) mod model_file;
pub(crate) mod process;
