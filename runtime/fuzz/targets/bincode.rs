#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memocached::any_bytes::bincode(bytes));
