#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| macros::any_text::attribute(text));
