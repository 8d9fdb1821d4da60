#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (onrecord_fuzzing::target("otlp_logs").check)(bytes));
