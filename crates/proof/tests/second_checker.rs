//! The checker in Python, written from FORMAT.md alone, agrees on every test vector.

use std::process::Command;

fn python() -> Command {
    Command::new(std::env::var_os("ONRECORD_TEST_PYTHON").unwrap_or_else(|| "python3".into()))
}

#[test]
fn it_agrees_on_every_vector() {
    if python().arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no python3");
        eprintln!("NOT RUN: there is no python3 to run contrib/onrecord_check.py with");
        return;
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let script = format!("{root}/contrib/test_onrecord_check.py");
    let run = python().args(["-B", &script, &format!("{root}/crates/proof/testdata/v1")]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains(" checks agree"), "{said}{}", String::from_utf8_lossy(&run.stderr));
}
