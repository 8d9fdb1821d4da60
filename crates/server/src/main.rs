//! The audit log for small language models: gateway, API and command line in one binary.
fn main() {}
