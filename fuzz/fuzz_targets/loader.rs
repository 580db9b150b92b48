//! Objects: whatever is in them, loading refuses or succeeds.
//! Seeds: `cargo +nightly fuzz run loader corpus/loader ../examples/programs ../crates/ebpf/tests`.
#![no_main]

use ebpf::Program;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if Program::load(bytes, None).is_err() {
        let _ = Program::load(bytes, Some("entry"));
    }
});
