//! What must hold of every parser of bytes from outside or from disk, whatever it is given.
//!
//! A target is a function that panics if something does not hold: that a parser does not panic is the least; most
//! formats here have one spelling of a value, so what was read must be written back as it came. The fuzzer in `fuzz/`
//! looks for bytes that break a target; `tests/replay.rs` gives each target what is in `testdata/` of the crates, what the
//! fuzzer found to be worth keeping, and mutations of both.

mod capture;
mod disk;
mod mutate;
mod outside;
mod proof;
mod seeds;

pub use mutate::Mutator;
pub use seeds::seeds;

/// One parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also of its program in `fuzz/fuzz_targets` and of its corpus in `fuzz/corpus`.
    pub name: &'static str,
    /// Gives it these bytes, and panics if something does not hold.
    pub check: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 21] = [
    Target { name: "cbor", check: proof::cbor },
    Target { name: "leaf", check: proof::leaf },
    Target { name: "record", check: proof::record },
    Target { name: "note", check: proof::note },
    Target { name: "checkpoint", check: proof::checkpoint },
    Target { name: "tile_path", check: proof::tile_path },
    Target { name: "evidence", check: proof::evidence },
    Target { name: "key", check: proof::key },
    Target { name: "segment", check: disk::segment },
    Target { name: "add_checkpoint", check: disk::add_checkpoint },
    Target { name: "request", check: capture::request },
    Target { name: "answer", check: capture::answer },
    Target { name: "sse", check: capture::sse },
    Target { name: "ndjson", check: capture::ndjson },
    Target { name: "compressed", check: capture::compressed },
    Target { name: "injection", check: capture::injection },
    Target { name: "otlp_json", check: outside::otlp_json },
    Target { name: "otlp_protobuf", check: outside::otlp_protobuf },
    Target { name: "otlp_logs", check: outside::otlp_logs },
    Target { name: "serving", check: outside::serving },
    Target { name: "gguf", check: outside::gguf },
];

/// The target of that name.
///
/// # Panics
///
/// If there is none.
pub fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no target {name}"))
}
