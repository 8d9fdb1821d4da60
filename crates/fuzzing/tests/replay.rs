//! Every target on its seeds, on the corpus that the fuzzer left, and on mutations of both.
//!
//! Mutations come from a seed, always the same unless `ONRECORD_FUZZ_SEED` says which; a failure prints the seed and the
//! bytes. `ONRECORD_FUZZ_ROUNDS` says how many there are.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use onrecord_fuzzing::{Mutator, TARGETS, Target, seeds};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn check(target: Target, bytes: &[u8], origin: &str) {
    let holds = catch_unwind(|| (target.check)(bytes)).is_ok();
    assert!(holds, "{} does not hold, {origin}: b\"{}\"", target.name, bytes.escape_ascii());
}

fn replay(name: &str) {
    let target = onrecord_fuzzing::target(name);
    let inputs = [seeds(name), corpus(name)].concat();
    for input in &inputs {
        check(target, input, "a seed or of the corpus");
    }
    let seed = number("ONRECORD_FUZZ_SEED").unwrap_or(1);
    let mut mutator = Mutator::new(seed);
    for round in 0..number("ONRECORD_FUZZ_ROUNDS").unwrap_or(1000) {
        let [one, other] = [(); 2].map(|()| mutator.below(inputs.len()));
        let bytes = mutator.mutate(&inputs[one], &inputs[other]);
        check(target, &bytes, &format!("ONRECORD_FUZZ_SEED={seed}, round {round}"));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed_and_can_be_fuzzed() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), tested);
            let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
            for name in tested {
                let program = fs::read_to_string(programs.join(format!("{name}.rs"))).unwrap();
                assert!(program.contains(&format!("target(\"{name}\")")), "{program}");
            }
            assert_eq!(fs::read_dir(programs).unwrap().count(), tested.len());
        }
    };
}

targets! {
    cbor leaf record note checkpoint tile_path evidence key segment add_checkpoint
    request answer sse ndjson compressed injection otlp_json otlp_protobuf otlp_logs serving gguf
}
