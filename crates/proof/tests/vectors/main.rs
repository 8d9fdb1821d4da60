//! The test vectors of `FORMAT.md` in `testdata/v1/`: made from the inputs written here, and compared with what is
//! stored, so that a change of the format fails. `UPDATE_VECTORS=1` writes them.
#![allow(clippy::unwrap_used)]

mod cbor;
mod evidence;
mod notes;
mod records;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

fn is_update() -> bool {
    std::env::var_os("UPDATE_VECTORS").is_some()
}

/// Compares `made` with the stored text, or stores it.
#[expect(clippy::disallowed_methods, reason = "vectors are written on request, into the sources")]
fn check_text(name: &str, made: &str) {
    let path = folder().join(name);
    if is_update() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(made, stored, "{name} is not what the format gives");
}

/// The same for JSON, whose order of keys depends on features of serde_json that other crates turn on.
fn check(name: &str, made: &Json) {
    let path = folder().join(name);
    if is_update() {
        return check_text(name, &format!("{made:#}\n"));
    }
    let stored: Json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(*made, stored, "{name} is not what the format gives");
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
