#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memocached::tests::any_input::configuration(bytes));
