//! Writes what each target begins with below a folder, for the fuzzer.

use std::fs;
use std::path::Path;

use onrecord_fuzzing::{TARGETS, seeds};

fn main() -> std::io::Result<()> {
    let dir = std::env::args_os().nth(1).ok_or_else(|| std::io::Error::other("usage: seeds DIR"))?;
    for target in TARGETS {
        let dir = Path::new(&dir).join(target.name);
        fs::create_dir_all(&dir)?;
        for (n, seed) in seeds(target.name).iter().enumerate() {
            #[expect(clippy::disallowed_methods, reason = "files of a fuzzer, written anew before each run")]
            fs::write(dir.join(format!("seed-{n:04}")), seed)?;
        }
    }
    Ok(())
}
