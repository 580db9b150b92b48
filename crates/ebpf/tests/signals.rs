//! Faults that are not the engine's go on to whoever handled them before.
//!
//! Each case runs in a process of its own: this test starts itself again with [`CASE`] set.
#![cfg(target_arch = "x86_64")] // elsewhere compiled code does not fault, so there is no handler
#![expect(clippy::disallowed_methods, reason = "a test, not a model")]
#![expect(unsafe_code, reason = "makes the faults it tests")]

mod harness;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use ebpf::{Engine, FaultKind, Worker};
use harness::{EXIT, PAGES, insn, program, run_with};

const CASE: &str = "CSDRIVE_SIGNAL_CASE";

/// Runs a program that faults, so that the handler is installed and works.
fn fault_of_a_program() {
    let wild = program(&[insn(0xB7, 2, 0, 0, 64), insn(0x79, 0, 2, 0, 0), EXIT]);
    let seen = run_with(&mut Worker::new(Engine::Tier1), &wild, &[0; 4096], PAGES, 100);
    assert!(matches!(seen.result.unwrap_err().kind, FaultKind::Memory(_)));
}

fn foreign_fault() {
    let nowhere = std::hint::black_box(16 as *const u8);
    // SAFETY: it is not: the fault is what is tested, in a process made for it.
    let value = unsafe { nowhere.read_volatile() };
    unreachable!("read {value}");
}

#[expect(unconditional_recursion, reason = "that is what is tested")]
fn overflow_the_stack(n: u64) -> u64 {
    let big = std::hint::black_box([n; 512]);
    overflow_the_stack(n + 1) + big[n as usize % 512]
}

extern "C" fn own_handler(_: libc::c_int) {
    // SAFETY: ends the process.
    unsafe { libc::_exit(7) };
}

/// What the child does; it never returns.
fn child(case: &str) -> ! {
    match case {
        "handler" => {
            let handler = own_handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
            // SAFETY: the handler only ends the process.
            unsafe { libc::signal(libc::SIGSEGV, handler) };
            fault_of_a_program();
            foreign_fault();
        }
        "none" => {
            fault_of_a_program();
            foreign_fault();
        }
        "overflow" => {
            fault_of_a_program();
            let depth = std::thread::spawn(|| overflow_the_stack(0)).join();
            unreachable!("{depth:?}");
        }
        other => panic!("no case {other}"),
    }
    unreachable!("case {case} survived");
}

fn run(case: &str) -> Output {
    let this = std::env::current_exe().unwrap();
    let test = "faults_that_are_not_ours_go_on_to_whoever_handled_them_before";
    Command::new(this).args(["--exact", test, "--nocapture"]).env(CASE, case).output().unwrap()
}

#[test]
fn faults_that_are_not_ours_go_on_to_whoever_handled_them_before() {
    if let Ok(case) = std::env::var(CASE) {
        child(&case);
    }
    let own = run("handler");
    assert_eq!(own.status.code(), Some(7), "the handler of before: {own:?}");
    let none = run("none");
    assert_eq!(none.status.signal(), Some(libc::SIGSEGV), "the default action: {none:?}");
    let overflow = run("overflow");
    let text = String::from_utf8_lossy(&overflow.stderr);
    assert!(text.contains("has overflowed its stack"), "Rust's own handler: {overflow:?}");
}
