//! The scripts of `simulator::hostile` with random bytes, and with those that once broke the drive.
//! The fuzz targets in `fuzz/` look for more.

use simtime::Prng;
use simulator::hostile;

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Prng::new(seed).fill(&mut bytes);
    bytes
}

#[test]
fn random_commands_complete_once_and_leave_the_drive_working() {
    for seed in 0..400 {
        println!("seed {seed}");
        hostile::commands(&random(seed, 4000));
    }
}

#[test]
fn random_data_pointers_mean_what_the_specification_says() {
    for seed in 0..400 {
        println!("seed {seed}");
        hostile::data_pointers(&random(seed, 2000));
    }
}

#[test]
fn random_register_accesses_leave_the_drive_working() {
    for seed in 0..400 {
        println!("seed {seed}");
        hostile::registers(&random(seed, 1000));
    }
}

/// Found by fuzzing, each with what was wrong.
#[test]
fn findings_stay_mended() {
    // A completion place that the host freed was not seen before the next event, which never came.
    hostile::commands(include_bytes!("hostile/freed_place_unseen"));
}
