//! Raw submission queue entries, doorbells, resets, memory that changes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| simulator::hostile::commands(bytes));
