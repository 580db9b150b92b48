//! C programs with the library: the examples, and one that misuses it, on a drive that is served by the test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use controller::Config;
use emulator::{Doorbells, Options, Server};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Where the library was built: beside the test, or beside its folder.
fn library() -> PathBuf {
    let mut folder = std::env::current_exe().expect("tests are files");
    folder.pop();
    let found =
        [folder.clone(), folder.join("..")].into_iter().find(|f| f.join("libcsdrive.so").exists());
    found.unwrap_or_else(|| panic!("no libcsdrive.so in {} or above", folder.display()))
}

fn compile(source: &Path, to: &Path, is_static: bool) {
    let library = library();
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-I"]);
    cc.arg(Path::new(REPOSITORY).join("crates/libcsdrive/include")).arg("-o").arg(to).arg(source);
    if is_static {
        cc.arg(library.join("libcsdrive.a")).args(["-lpthread", "-ldl", "-lm"]);
    } else {
        cc.arg("-L")
            .arg(&library)
            .arg("-lcsdrive")
            .arg(format!("-Wl,-rpath,{}", library.display()));
    }
    let output = cc.output().expect("cc is installed: Rust links with it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs something while a drive is served.
fn with_drive(act: impl FnOnce(&Path) -> Output) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("drive");
    let config = Config { memory_bytes: 4 << 20, ..Config::default() };
    let options = Options {
        config,
        socket: socket.clone(),
        doorbells: Doorbells::Messages,
        remote: None,
        programs: controller::ProgramLoaders::default(),
        store: None,
        freezer: None,
        neighbours: None,
        records: None,
        history: None,
    };
    let server = Server::new(options).expect("a drive");
    let stopper = server.stopper();
    let thread = std::thread::spawn(move || server.run(|_| {}));
    let output = act(&socket);
    stopper.stop();
    thread.join().expect("no panic").expect("the drive was served");
    let [out, errors] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
    assert!(output.status.success(), "{}\n{out}\n{errors}", output.status);
    out.into_owned()
}

/// Compiles an example and runs it with its program; what it prints.
fn run_example(name: &str, program: &str, is_static: bool) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let binary = folder.path().join(name);
    let examples = Path::new(REPOSITORY).join("examples");
    compile(&examples.join(format!("host/c/{name}.c")), &binary, is_static);
    let object = examples.join(format!("programs/{program}.bpf.o"));
    with_drive(|socket| Command::new(&binary).arg(socket).arg(&object).output().unwrap())
}

#[test]
fn double_works_with_either_library() {
    for is_static in [false, true] {
        let text = run_example("double", "double", is_static);
        let [numbers, executions, refused] = text.lines().collect::<Vec<_>>()[..] else {
            panic!("{text}");
        };
        assert_eq!(numbers, "double: 1024 numbers, all as on the host");
        assert_eq!(executions, "10000 executions, 64 at a time");
        assert!(refused.starts_with("196h: ") && refused.contains("No Program"), "{refused}");
    }
}

#[test]
fn the_other_examples_work() {
    for (name, program, begin) in [
        ("vadd", "vadd", "vadd: 5000 sums, "),
        ("grep", "grep-count", "grep: 1503 of 2000 lines "),
        ("filter", "filter", "filter: 196 of 2000 records "),
        ("nearest", "nearest", "nearest: the 10 nearest of 3000 vectors, "),
        ("lz4", "lz4", "lz4: words, 99993 bytes to "),
    ] {
        let text = run_example(name, program, false);
        assert!(text.starts_with(begin), "{text}");
    }
}

/// What must be refused, by number and in words.
const MISUSE: &str = r#"
#include <libcsdrive.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static csdrive *last;

/* Whatever is gone by then, the library is not. */
static void at_end(void)
{
    if (csdrive_unload(last, 77) != 0x196 || !strstr(csdrive_error(), "No Program"))
        puts("at the end it does not work");
    csdrive_close(last);
}

static void expect(int number, int expected, const char *words)
{
    if (number != expected || !strstr(csdrive_error(), words))
        printf("got %d (%s), not %d (%s)\n", number, csdrive_error(), expected, words);
}

int main(int argc, char **argv)
{
    (void)argc;
    csdrive *drive = (csdrive *)1;
    expect(csdrive_open(NULL, &drive), -EINVAL, "path is NULL");
    expect(csdrive_open("/nowhere", NULL), -EINVAL, "drive is NULL");
    expect(csdrive_open("/nowhere", &drive), -ENOENT, "csdrive serve");
    if (drive)
        puts("a drive that was not opened");
    expect(csdrive_open("/dev/null", &drive), -ENODEV, "no drive");
    expect(csdrive_open_with(argv[1], 6, &drive), -EINVAL, "CSDRIVE_POLLED");
    expect(csdrive_load(NULL, 0, "", 0), -EINVAL, "drive is NULL");
    expect(csdrive_open_with(argv[1], CSDRIVE_POLLED, &drive), 0, "");
    expect(csdrive_memory_fill(drive, 0, 4096), 0, "");
    csdrive_close(drive);
    csdrive_close(NULL);

    expect(csdrive_open(argv[1], &drive), 0, "");
    char buffer[16] = {0};
    static char block[4096];
    csdrive_geometry geometry;
    expect(csdrive_use_namespace(drive, 2), 0, "");
    expect(csdrive_use_namespace(drive, 9), -ENODEV, "namespace 9");
    expect(csdrive_get_geometry(drive, &geometry), 0, "");
    if (geometry.memory_bytes != 4 << 20)
        puts("another geometry");
    /* Any place and length; what is around them stays. */
    memset(block, 9, 16);
    expect(csdrive_memory_write(drive, 0, block, 16), 0, "");
    expect(csdrive_memory_write(drive, 3, "abcdef", 6), 0, "");
    expect(csdrive_memory_write(drive, 13, "g", 1), 0, "");
    memcpy(block + 3, "abcdef", 6);
    block[13] = 'g';
    expect(csdrive_memory_read(drive, 0, buffer, 16), 0, "");
    if (memcmp(buffer, block, 16))
        puts("other bytes");
    expect(csdrive_memory_read(drive, 5, buffer, 2), 0, "");
    if (memcmp(buffer, "cd", 2))
        puts("other bytes at an odd place");
    expect(csdrive_memory_copy(drive, 0, 16, 64), 0, "");
    expect(csdrive_memory_read(drive, 64, buffer, 16), 0, "");
    if (memcmp(buffer, block, 16))
        puts("another copy");
    expect(csdrive_memory_fill(drive, 2, 4), -EINVAL, "not a multiple of 4");
    expect(csdrive_memory_copy(drive, 0, 2, 64), -EINVAL, "not a multiple of 4");
    expect(csdrive_memory_write(drive, geometry.memory_bytes, buffer, 4), -EINVAL, "4194304 bytes");
    expect(csdrive_memory_read(drive, UINT64_MAX - 3, buffer, 8), -EINVAL, "4194304 bytes");
    expect(csdrive_memory_read(drive, 0, NULL, 8), -EINVAL, "buffer is NULL");
    expect(csdrive_memory_read(drive, 0, NULL, 0), 0, "");
    expect(csdrive_read_blocks(drive, geometry.blocks, 1, block), 0x080, "LBA Out of Range");
    expect(csdrive_read_blocks(drive, 0, UINT64_MAX, buffer), -E2BIG, "blocks");
    expect(csdrive_load(drive, 0, "not a program", 13), 0x18e, "ELF");
    expect(csdrive_load_file(drive, 0, "/nowhere.o"), -ENOENT, "/nowhere.o");
    expect(csdrive_load_file(drive, 0, "/nowhere.c"), -ENOENT, "/nowhere.c");
    expect(csdrive_execute(drive, NULL, NULL), -EINVAL, "execution is NULL");
    csdrive_execution execution = {.range_count = 3};
    expect(csdrive_execute(drive, &execution, NULL), -EINVAL, "ranges is NULL");
    memset(block, 7, sizeof block);
    expect(csdrive_memory_write(drive, 8192, block, sizeof block), 0, "");
    expect(csdrive_copy_to_blocks(drive, 8192, 3, 1), 0, "");
    memset(block, 0, sizeof block);
    expect(csdrive_read_blocks(drive, 3, 1, block), 0, "");
    if (block[0] != 7 || block[4095] != 7)
        puts("another block");
    expect(csdrive_copy_to_blocks(drive, 2, 3, 1), -EINVAL, "not a multiple of 4");
    expect(csdrive_copy_to_blocks(drive, 0, geometry.blocks, 1), 0x080, "LBA Out of Range");
    uint8_t group = 7;
    expect(csdrive_group_create(drive, 0, &group), 0x002, "Invalid Field");
    expect(csdrive_group_create(drive, 500, NULL), -EINVAL, "id is NULL");
    expect(csdrive_group_create(drive, 500, &group), 0, "");
    expect(csdrive_group_configure(drive, group, 500, 10, 0), 0x002, "Invalid Field");
    expect(csdrive_group_configure(drive, group, 500, 9, 1000), 0, "");
    expect(csdrive_group_change(drive, group, 1000), 0, "");
    expect(csdrive_group_delete(drive, group), 0, "");
    expect(csdrive_group_delete(drive, group), 0x1c8, "group list");
    execution = (csdrive_execution){0};
    uint64_t numbers = 0;
    csdrive_range ranges[4] = {{0, 4096, 0}, {4096, 4096, 0}, {8192, 4096, 0}, {12288, 4096, 0}};
    expect(csdrive_load_file(drive, 0, argv[2]), 0, "");
    expect(csdrive_ranges_create(drive, ranges, 4, &execution.range_set), 0, "");
    expect(csdrive_execute_stream(drive, &execution, 0, 10, 1, 65, &numbers), -EINVAL, "in_flight");
    expect(csdrive_execute_stream(drive, &execution, UINT64_MAX, 2, 1, 2, &numbers), -EINVAL, "blocks");
    expect(csdrive_execute_stream(drive, &execution, 0, UINT64_MAX, UINT32_MAX, 64, &numbers), -E2BIG, "beyond what a command can say");
    execution.ranges = ranges;
    execution.range_count = 4;
    expect(csdrive_execute_stream(drive, &execution, 0, 10, 1, 2, &numbers), -EINVAL, "4 ranges of a streaming execution");
    execution.ranges = NULL;
    execution.range_count = 0;
    expect(csdrive_execute_stream(drive, &execution, geometry.blocks, 1, 1, 2, &numbers), 0x080, "LBA Out of Range");
    expect(csdrive_execute_stream(drive, &execution, 0, 10, 1, 2, &numbers), 0, "");
    if (numbers != 10 * 1024)
        printf("%llu numbers\n", (unsigned long long)numbers);
    csdrive_stream stream = {.first = 0, .count = 10, .chunk_blocks = 1, .in_flight = 2, .cut_bytes = 96};
    expect(csdrive_stream_execute(drive, &execution, NULL, &numbers), -EINVAL, "stream is NULL");
    stream.flags = CSDRIVE_STREAM_EARLY;
    expect(csdrive_stream_execute(drive, &execution, &stream, &numbers), 0, "");
    if (numbers != 10 * 1024 - 24)
        printf("%llu numbers\n", (unsigned long long)numbers);
    stream.overlap_blocks = 1;
    expect(csdrive_stream_execute(drive, &execution, &stream, &numbers), -EINVAL, "overlap_blocks");
    expect(csdrive_memory_copy_from(drive, 1, 2, 0, 4096, 0), 0x002, "Invalid Field");
    expect(csdrive_ranges_delete(drive, execution.range_set), 0, "");
    expect(csdrive_unload(drive, 0), 0, "");
    csdrive_done done;
    expect(csdrive_wait(drive, &done, 1), -ECHILD, "no command is under way");
    size_t ended = 7;
    csdrive_done many[4];
    expect(csdrive_poll(drive, many, 4, 0, NULL), -EINVAL, "ended is NULL");
    expect(csdrive_poll(drive, many, 4, 0, &ended), -ECHILD, "no command is under way");
    execution.range_count = 0;
    for (int i = 0; i < 3; i++)
        expect(csdrive_submit(drive, &execution, NULL), 0, "");
    int all = 0;
    while (all < 3) {
        expect(csdrive_poll(drive, many, 4, 1000, &ended), 0, "");
        for (size_t i = 0; i < ended; i++)
            if (many[i].status != 0x196)
                printf("status %03xh\n", many[i].status);
        all += ended;
        if (ended == 0)
            puts("none in a second");
    }
    last = drive;
    atexit(at_end);
    return 0;
}
"#;

#[test]
fn misuse_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("misuse.c");
    std::fs::write(&source, MISUSE).unwrap();
    let program = folder.path().join("misuse");
    compile(&source, &program, false);
    let double = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");
    let text =
        with_drive(|socket| Command::new(&program).arg(socket).arg(double).output().unwrap());
    assert_eq!(text, "", "the program prints what is not as it should be");
}
