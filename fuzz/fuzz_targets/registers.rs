//! Register accesses of any place, size and value.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| simulator::hostile::registers(bytes));
