//! PRP entries, PRP lists and SGLs in hostile memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| simulator::hostile::data_pointers(bytes));
