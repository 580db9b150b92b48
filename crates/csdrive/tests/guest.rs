//! The drive in a real guest: stock QEMU, stock kernel, stock tools (`csdrive vm run`).
//!
//! What is needed comes from Debian packages. Where they cannot be had, the tests are reported as ignored, with
//! the reason in their names; CI fetches them first, and fails if it cannot.

#[path = "guest/killed.rs"]
mod killed;
#[path = "guest/pmem.rs"]
mod pmem;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

/// Seconds after which a guest is ended: emulated processors are slow, and machines busy.
const PATIENCE: &str = "600";

/// What stock tools do with the drive.
const TOOLS: &str = r#"
set -ex
test "$(lsblk -dno NAME | grep nvme)" = nvme0n1
test "$(nvme get-ns-id /dev/ng0n1 | sed 's/.*://')" = 1
ls /dev/ng0n2 /dev/ng0n3
nvme list
nvme id-ctrl /dev/nvme0 > /dev/null
nvme id-ns /dev/nvme0n1 > /dev/null
nvme smart-log /dev/nvme0 > /dev/null
nvme endurance-log /dev/nvme0 --group-id=1 | grep -q "percent_used"
nvme error-log /dev/nvme0 > /dev/null
for set in 0 2 3 4; do nvme effects-log /dev/nvme0 --csi=$set > /dev/null; done
# These read registers through sysfs, for which the kernel is started with iomem=relaxed.
nvme effects-log /dev/nvme0 > /dev/null
nvme show-regs /dev/nvme0 > /dev/null
nvme get-feature /dev/nvme0 -f 7
nvme ns-descs /dev/nvme0 -n 2
nvme cmdset-ind-id-ns /dev/nvme0 -n 3
# An execution, and everything so far, leaves nothing in the kernel's log.
csdrive program load --index 1 double.bpf.o /dev/nvme0
csdrive exec --program 1 --range 0:4000 --range 1MiB:4000 /dev/nvme0
csdrive program unload --index 1 /dev/nvme0
dmesg | grep -E 'nvme.*(failed|unusual|UUID)|No UUID' && exit 1
mkfs.ext4 -q /dev/nvme0n1
mount /dev/nvme0n1 /mnt
fio --name=a --directory=/mnt --size=4M --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --direct=1 --verify=crc32c --minimal > /dev/null
fio --name=b --directory=/mnt --size=4M --rw=randwrite --bs=16k --ioengine=io_uring --iodepth=8 --direct=1 --verify=crc32c --minimal > /dev/null
echo kept > /mnt/file
umount /mnt
e2fsck -fn /dev/nvme0n1
fio --name=c --filename=/dev/ng0n1 --offset=8G --size=4M --rw=randwrite --bs=4k --ioengine=io_uring_cmd --cmd_type=nvme --iodepth=8 --verify=crc32c --minimal > /dev/null
nvme reset /dev/nvme0
sleep 1
D=$(basename $(readlink /sys/class/nvme/nvme0/device))
echo $D > /sys/bus/pci/drivers/nvme/unbind
test ! -e /dev/nvme0n1
echo $D > /sys/bus/pci/drivers/nvme/bind
n=0; while [ ! -b /dev/nvme0n1 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
sleep 0.5
mount /dev/nvme0n1 /mnt
test "$(cat /mnt/file)" = kept
umount /mnt
blkdiscard /dev/nvme0n1
test "$(head -c 1M /dev/nvme0n1 | tr -d '\0' | wc -c)" = 0
mkfs.xfs -q /dev/nvme0n1
mount /dev/nvme0n1 /mnt
cp /usr/bin/python3 /mnt
cmp /usr/bin/python3 /mnt/python3
umount /mnt
nvme telemetry-log /dev/nvme0 --output-file=telemetry --host-generate=1
test "$(head -c 8 telemetry | od -An -tx1 | tr -d ' ')" = 070000000002c5d1
test "$(tail -c +513 telemetry | head -c 1 | od -An -tx1 | tr -d ' ')" = c3
nvme subsystem-reset /dev/nvme0
# Linux notices when a command takes 30 s.
dd if=/dev/nvme0n1 of=/dev/null bs=4k count=1 iflag=direct
"#;

/// What the guest is besides its drive: packages as dpkg likes them, a compiler for programs, the host's folder.
const SYSTEM: &str = r#"
set -ex
test -z "$(dpkg --audit)"
printf 'unsigned long f(void *a) { return 7; }' > f.c
clang -target bpf -O2 -c f.c -o f.o
csdrive --version
python3 -c 'print(2 ** 70)'
cmp /share/from_host f.c
cp f.o /share/from_guest
"#;

/// A guest that starts anew: the drive keeps what it has.
const REBOOT: &str = r#"
set -ex
if [ "$(dd if=/dev/nvme0n1 bs=4k count=1 iflag=direct 2> /dev/null | head -c 5)" = again ]; then exit 9; fi
printf again | dd of=/dev/nvme0n1 bs=4k conv=sync oflag=direct
reboot
"#;

/// Two drives on a machine with two processors, 6 GiB, and a firmware that uses the drive first.
const LARGE: &str = r#"
set -ex
test "$(nproc)" = 2
test "$(lsblk -dno NAME | grep nvme | sort | tr '\n' ' ')" = "nvme0n1 nvme1n1 "
test "$(cat /sys/class/nvme/nvme?/subsysnqn | sort -u | wc -l)" = 2
for d in /dev/nvme0n1 /dev/nvme1n1; do
    fio --name=v --filename=$d --size=4M --rw=randwrite --bs=4k --ioengine=io_uring --iodepth=16 --direct=1 --verify=crc32c --minimal > /dev/null
done
# From the memory of one drive to that of the other, past the host. Linux may have numbered them the other way round.
head -c 1000000 /dev/urandom > numbers
csdrive memory write --start 4096 --file numbers /dev/nvme0
other=$(csdrive memory peers /dev/nvme1 --json | tr -d ' \n' | grep -o '"drive":[01],[^}]*"own":false' | cut -c9)
before=$(csdrive stat /dev/nvme0 --json | grep '"to_host"' | tr -dc 0-9)
csdrive memory copy --from 4096 --length 1000000 --start 8192 --from-drive $other /dev/nvme1
after=$(csdrive stat /dev/nvme0 --json | grep '"to_host"' | tr -dc 0-9)
test $((after - before)) -lt 100000
csdrive stat /dev/nvme1 --json | grep '"from_peers": 1000000'
csdrive memory read --start 8192 --length 1000000 --file back /dev/nvme1
cmp numbers back
"#;

/// A program that is in the repository.
const DOUBLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");

/// What a trial runs.
type Test = fn() -> Result<(), Failed>;

fn csdrive(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("csdrive runs")
}

fn vm(machine: &[&str], command: &[&str]) -> Output {
    csdrive(&[&["vm", "run", "--timeout", PATIENCE], machine, &["--"], command].concat())
}

fn expect(output: &Output, status: i32) -> Result<(), Failed> {
    if output.status.code() == Some(status) {
        return Ok(());
    }
    let [out, errors] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
    let lines: Vec<&str> = out.lines().collect();
    let tail = lines[lines.len().saturating_sub(40)..].join("\n");
    Err(format!("{}, not {status}\n{tail}\n{errors}", output.status).into())
}

/// Checks that the output has all of these.
fn expect_lines(output: &Output, lines: &[&str]) -> Result<(), Failed> {
    let text = String::from_utf8_lossy(&output.stdout);
    match lines.iter().find(|line| !text.contains(**line)) {
        None => Ok(()),
        Some(line) => Err(format!("no '{line}' in\n{text}").into()),
    }
}

fn stock_tools() -> Result<(), Failed> {
    expect(&vm(&["--file", DOUBLE], &["sh", "-c", TOOLS]), 0)
}

/// Twenty programs of 16 MiB on four units: the guest sees the modelled time, or its user is told how late they were.
fn programs_take_their_modelled_time_or_it_is_told() -> Result<(), Failed> {
    const SCRIPT: &str = "csdrive program load --index 1 double.bpf.o /dev/nvme0 > /dev/null && csdrive exec --json \
        --program 1 --range 0:16MiB --range 16MiB:16MiB --count 20 --depth 20 /dev/nvme0";
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("input");
    std::fs::write(&input, vec![1; 16 << 20])?;
    let modelled = csdrive(&["run", DOUBLE, "--json", "--input", &input.to_string_lossy()]);
    let modelled: serde_json::Value = serde_json::from_slice(&modelled.stdout)?;
    let compute = modelled["time_ns"]["compute"].as_f64().ok_or("no time")? / 1e9;
    // Twenty on four units.
    let modelled = 5.0 * compute;
    for cpus in ["1", "2"] {
        let output = vm(&["--json", "--cpus", cpus, "--file", DOUBLE], &["sh", "-c", SCRIPT]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let text = document["output"].as_str().unwrap_or_default();
        let seen: serde_json::Value = serde_json::from_str(text).map_err(|error| {
            format!("{error}: {document}\n{}", String::from_utf8_lossy(&output.stderr))
        })?;
        let seconds = seen["seconds"].as_f64().ok_or("no seconds")?;
        let drive = &document["drives"][0];
        let late = drive["late_max_ns"].as_f64().ok_or("no lateness")? / 1e9;
        // What is more than a tenth is explained by what was late, and by what the guest needs for it.
        let explained = modelled * 1.1 + late + 0.05;
        if seconds < modelled * 0.99 || seconds > explained {
            return Err(format!("modelled {modelled} s, seen {seconds} s: {drive}").into());
        }
    }
    Ok(())
}

fn seabios_root_ports_two_processors_two_drives_6_gib() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("small.toml");
    std::fs::write(&file, "[drive]\ncapacity = \"1GiB\"\n")?;
    let file = file.to_string_lossy();
    let machine = [
        "--root-ports",
        "--firmware",
        "seabios",
        "--cpus",
        "2",
        "--memory",
        "6G",
        "--drive",
        &file,
        "--drive",
        &file,
    ];
    expect(&vm(&machine, &["sh", "-c", LARGE]), 0)
}

fn a_program_with_stock_nvme_cli() -> Result<(), Failed> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let object = format!("{root}/programs/double.bpf.o");
    let script = format!("{root}/guest/passthru.sh");
    let output = vm(&["--file", &object, "--file", &script], &["sh", "passthru.sh"]);
    expect(&output, 0)?;
    let lines = [
        "doubled 64 numbers",
        "copied a block",
        "filled 256 bytes",
        "executed with range set 1 in group 1",
        "everything is gone again",
        "Invalid Field in Command",
        "all done",
    ];
    expect_lines(&output, &lines)
}

/// Two namespaces of blocks and two of memory; one more comes and goes three times while fio runs on the first.
fn namespaces_come_and_go_with_stock_nvme_cli() -> Result<(), Failed> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/guest");
    let (drive, script) = (format!("{root}/namespaces.toml"), format!("{root}/namespaces.sh"));
    let output = vm(&["--drive", &drive, "--file", &script], &["sh", "namespaces.sh"]);
    expect(&output, 0)?;
    let lines = [
        "attached: 5",
        "blocks: 262144 of 4096",
        "blocks: 2097152 of 512",
        "memory: 268435456",
        "memory: 67108864",
        "|second memory|",
        "created namespace 6; allocated: 6, attached: 5",
        "round 3: namespace 6 came and went",
        "fio found no error",
        "all done",
    ];
    expect_lines(&output, &lines)
}

/// nvme-cli's fdp commands and fio's placement.
fn placement_with_stock_tools() -> Result<(), Failed> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/guest/placement.sh");
    let machine = ["--set", "drive.fdp=true", "--set", "flash.streams=4", "--file", script];
    let output = vm(&machine, &["sh", "placement.sh"]);
    expect(&output, 0)?;
    let lines = [
        "handles in use: 4",
        "fio found no error",
        "written to each: 0 512 512 512",
        "after the update: 0",
        "host bytes: 6291456",
    ];
    expect_lines(&output, &lines)
}

/// Linux's view of zones, nvme-cli's zns commands, blkzone, fio's zonemode=zbd, and a program on what a zone holds.
fn zones_with_stock_tools() -> Result<(), Failed> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let drive = format!("{root}/guest/zones.toml");
    let (script, program) =
        (format!("{root}/guest/zones.sh"), format!("{root}/programs/grep-count.bpf.o"));
    let machine = ["--drive", &drive, "--file", &script, "--file", &program];
    let output = vm(&machine, &["sh", "zones.sh"]);
    expect(&output, 0)?;
    let lines = [
        "namespace 1: host-managed, 32 zones, at most 4 open and 6 active",
        "namespace 2: none",
        "Zone Invalid Write",
        "appended data to LBA 0",
        "appended to block 1",
        "8.00 KiB  explicitly opened",
        "found: 1",
        "zcond:14(fu)",
        "fio found no error",
        "write amplification 1.00",
    ];
    expect_lines(&output, &lines)
}

/// A guest's ext4 stands every crash; a file that nobody synced does not.
fn a_file_system_after_every_crash() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let crashes = |sync: &str| -> Result<Output, Failed> {
        let history = folder.path().join(format!("history-{sync}"));
        let history = history.to_str().expect("a temporary path is UTF-8");
        let machine = ["--set", "drive.capacity=64MiB", "--history", history];
        let script = format!(
            "set -e; mkfs.ext4 -q /dev/nvme0n1; mount /dev/nvme0n1 /mnt; sync; csdrive mark /dev/nvme0 ready
            for n in 1 2 3; do
                echo data $n > /mnt/f$n; {sync} /mnt/f$n; csdrive mark /dev/nvme0 f$n; mkdir /mnt/d$n; mv /mnt/f$n /mnt/d$n/f
            done"
        );
        expect(&vm(&machine, &["sh", "-c", &script]), 0)?;
        // All that was marked is there, under one of its names.
        let check = "PATH=$PATH:/usr/sbin:/sbin; e2fsck -fp $CSDRIVE_IMAGE; [ $? -le 1 ] || exit 1
            for n in $(grep ^f $CSDRIVE_MARKS | tr -d f); do
                { debugfs -R \"cat /f$n\" $CSDRIVE_IMAGE; debugfs -R \"cat /d$n/f\" $CSDRIVE_IMAGE; } 2> /dev/null | grep -q \"data $n\" ||
                    { echo \"f$n was synced, and is gone\"; exit 1; }
            done";
        Ok(csdrive(&[
            "crashtest",
            "--workload",
            history,
            "--after",
            "ready",
            "--states",
            "300",
            "--check",
            check,
        ]))
    };
    let output = crashes("sync")?;
    expect(&output, 0)?;
    expect_lines(&output, &["no state fails"])?;
    let output = crashes(":")?;
    expect(&output, 1)?;
    expect_lines(&output, &["f1 was synced, and is gone"])
}

/// Statuses, quotes and output come through as they are.
fn status_and_output_of_a_command() -> Result<(), Failed> {
    let output = vm(&[], &["sh", "-c", "printf 'a b\\n%s' \"$1\"; exit 42", "-", "it's $HOME"]);
    expect(&output, 42)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.ends_with("a b\nit's $HOME") {
        return Err(format!("{text:?}").into());
    }
    Ok(())
}

fn a_system_with_a_compiler_and_a_shared_folder() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("from_host"), "unsigned long f(void *a) { return 7; }")?;
    let share = folder.path().to_string_lossy();
    expect(&vm(&["--share", &share], &["sh", "-c", SYSTEM]), 0)?;
    let object = std::fs::read(folder.path().join("from_guest"))?;
    if !object.starts_with(b"\x7FELF") {
        return Err("what the guest wrote is no object file".into());
    }
    Ok(())
}

/// What `csdrive` does to a drive by io_uring passthrough, and what it says when it may not.
const DEVICE: &str = r#"
set -ex
refused() { if "$@"; then exit 1; fi; }
csdrive check /dev/nvme0
csdrive program load --index 3 double.bpf.o /dev/ng0n3
csdrive program list -o json /dev/nvme0n1 | grep -q '"active": true'
python3 -c 'import sys, struct; sys.stdout.buffer.write(struct.pack("<1000I", *range(1000)))' > numbers
csdrive memory write --start 1MiB --file numbers /dev/nvme0
test "$(csdrive exec -p 3 -r 0:4000 -r 1MiB:4000 /dev/nvme0)" = 1000
csdrive memory read --start 0 --length 4000 --file doubled /dev/nvme0
python3 -c 'import struct; d = open("doubled", "rb").read(); assert struct.unpack("<1000I", d) == tuple(range(0, 2000, 2))'
set=$(csdrive ranges create -r 0:4000 -r 1MiB:4000 /dev/nvme0)
csdrive exec -p 3 --set $set --count 10000 --depth 64 --json /dev/nvme0
csdrive ranges delete --id $set /dev/nvme0
refused csdrive exec -p 9 /dev/nvme0 2> error
grep 'No Program' error
refused setpriv --reuid 65534 csdrive exec /dev/nvme0 2> error
grep 'CAP_SYS_ADMIN' error
refused csdrive exec /dev/vda 2> error
grep 'no drive' error
csdrive program deactivate --index 3 /dev/nvme0
csdrive program unload --index 3 /dev/nvme0
# Native programs: whatever they do ends with a status, here and nowhere else.
cc -shared -fPIC -O2 -w -I . -o hostile.so hostile.c
for how in null endless fork_bomb hundred_gib opens traces_parent ignores_signals exits; do
    csdrive program load --index 5 --function $how hostile.so /dev/nvme0
    refused csdrive exec -p 5 -r 0:4096 /dev/nvme0 2> error
    grep "native program $how" error
    csdrive program unload --index 5 /dev/nvme0
done
csdrive program load --index 5 --function grows hostile.so /dev/nvme0
test "$(csdrive exec -p 5 -r 0:4096 /dev/nvme0)" = -12
# Polling: only if the driver has queues for it.
refused csdrive check --polled /dev/nvme0 2> error
grep 'nvme.poll_queues=1' error
D=$(basename $(readlink /sys/class/nvme/nvme0/device))
echo 1 > /sys/module/nvme/parameters/poll_queues
echo $D > /sys/bus/pci/drivers/nvme/unbind
echo $D > /sys/bus/pci/drivers/nvme/bind
n=0; while [ ! -e /dev/ng0n3 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
test "$(cat /sys/block/nvme0n1/queue/io_poll)" = 1
csdrive check --polled /dev/nvme0
csdrive bench transport --milliseconds 200 --json /dev/nvme0
csdrive bench transport --milliseconds 200 --polled --json /dev/nvme0
"#;

/// A drive that is reset, and hosts that are killed, while a program runs (5 s): errors that say so, and what comes next
/// works.
const INTERRUPTED: &str = r#"
set -ex
refused() { if "$@"; then exit 1; fi; }
jobs_are() { csdrive group list --json /dev/nvme0 | grep -q "\"jobs\": $1"; }
until_jobs_are() { set +x; until jobs_are $1; do :; done; set -x; }
csdrive program load --index 3 double.bpf.o /dev/nvme0
csdrive ranges create -r 0:4096 -r 4096:4096 /dev/nvme0
execute="csdrive exec -p 3 --set 1 /dev/nvme0"
$execute 2> error &
until_jobs_are 1
nvme reset /dev/nvme0
refused wait $!
grep 'the drive was reset' error
$execute &
until_jobs_are 1
kill -9 $!
csdrive program list /dev/nvme0
refused csdrive program unload --index 3 /dev/nvme0 2> error
grep 'wait for executions to end' error
until_jobs_are 0
csdrive program unload --index 3 /dev/nvme0
mkdir /mnt/f
csdrive fs mount /dev/nvme0 /mnt/f
cp double.bpf.o /mnt/f/programs/d
truncate -s 4096 /mnt/f/memory/in /mnt/f/memory/out
sh -c 'echo d out in > /mnt/f/run' &
until_jobs_are 1
nvme reset /dev/nvme0
refused wait $!
grep 'the drive was reset' /mnt/f/run
echo d out in > /mnt/f/run
grep 'result 1024' /mnt/f/run
sh -c 'echo d out in > /mnt/f/run' &
until_jobs_are 1
kill -9 $(pidof csdrive)
refused wait $!
csdrive fs mount /dev/nvme0 /mnt/f
ls /mnt/f/memory
csdrive fs unmount /mnt/f
"#;

/// Every example in C, Rust and for the shell, as examples/README.md says; and each program with the same inputs in a process.
const EXAMPLES: &str = r#"
set -ex
cd /share
for name in double vadd grep filter nearest lz4; do
    cc -std=c11 -Wall -Werror -I . -o /root/$name host/c/$name.c -L . -lcsdrive -Wl,-rpath,/share
done
sh host/all.sh /dev/nvme0 programs /root rust > /root/all
cat /root/all
grep '^18 examples passed$' /root/all
bash /share/same.sh
"#;

fn device_commands() -> Result<(), Failed> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let files = [
        "examples/programs/double.bpf.o",
        "crates/native_programs/tests/sources/hostile.c",
        "crates/bpf_clang/include/cemu_def.h",
    ];
    let files = files.map(|file| format!("{root}/{file}"));
    let mut machine: Vec<&str> = files.iter().flat_map(|file| ["--file", file]).collect();
    machine.extend(["--set", "compute.native_upload=true"]);
    machine.extend(["--set", "compute.native_time_limit=500ms"]);
    expect(&vm(&machine, &["sh", "-c", DEVICE]), 0)
}

fn resets_and_kills_while_a_program_runs() -> Result<(), Failed> {
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");
    let times = ["--set", "compute.run_time=declared", "--set", "compute.declared_time=5s"];
    let machine = [&times[..], &["--file", object]].concat();
    expect(&vm(&machine, &["sh", "-c", INTERRUPTED]), 0)
}

/// Five executions, one after the other, of a program that takes a tenth of a second and more of this machine's time.
const SLOW: &str = "
set -e
csdrive program load double.bpf.o /dev/nvme0
csdrive exec --range 0:24MiB --range 32MiB:24MiB --count 5 --json /dev/nvme0
";

/// What the guest's own clock says of executions that are declared to take 5 ms.
fn a_frozen_guest_sees_the_modelled_time() -> Result<(), Failed> {
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");
    let seconds = |freeze: &[&str]| -> Result<(f64, serde_json::Value), Failed> {
        let settings = ["compute.engine=interpreter", "compute.run_time=declared"];
        let settings = [settings[0], settings[1], "compute.declared_time=5ms", "compute.units=1"];
        let settings = settings.map(|setting| ["--set", setting]).concat();
        let machine = [&settings[..], &["--file", object, "--json"], freeze].concat();
        let output = vm(&machine, &["sh", "-c", SLOW]);
        expect(&output, 0)?;
        let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let said = document["output"].as_str().ok_or("the command says something")?;
        let start = said.find('{').ok_or("it is a document")?;
        let said: serde_json::Value = serde_json::from_str(&said[start..])?;
        let seconds = said["seconds"].as_f64().ok_or("it has a time")?;
        Ok((seconds / 5.0, document["drives"][0]["frozen"].clone()))
    };
    let (late, _) = seconds(&[])?;
    let (frozen, statistics) = seconds(&["--freeze"])?;
    let of = |key: &str| statistics[key].as_f64().unwrap_or_default();
    // What QEMU took to stop and to go on: the guest runs meanwhile.
    let cost = of("cost_ns") / of("count").max(1.0) / 1e9;
    if !(0.1..10.0).contains(&late) {
        return Err(
            format!("{late} s without freezing; it should be as late as this machine").into()
        );
    }
    // The way there and back in an emulated guest is some milliseconds, more beside other work.
    if !(0.005..0.005 + cost + 0.03).contains(&frozen) || of("count") < 5.0 {
        return Err(format!("{frozen} s, QEMU's part {cost} s: {statistics}").into());
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_folder(&path, &to)?;
        } else {
            std::fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

fn examples_in_c_rust_and_shell() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = std::env::current_exe()?;
    let built = built.parent().ok_or("tests are in a folder")?;
    let share = tempfile::tempdir()?;
    copy_folder(&root.join("examples"), share.path())?;
    let header = root.join("crates/libcsdrive/include/libcsdrive.h");
    let same = root.join("crates/csdrive/tests/guest/same.sh");
    for file in [header, same, built.join("libcsdrive.so")] {
        let name = file.file_name().ok_or("a file has a name")?;
        std::fs::copy(&file, share.path().join(name))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let rust = share.path().join("rust");
    std::fs::create_dir(&rust)?;
    for name in ["double", "vadd", "grep", "filter", "nearest", "lz4"] {
        let file = built.join("../examples").join(name);
        std::fs::copy(&file, rust.join(name)).map_err(|error| {
            format!("{}: {error}; cargo build -p client --examples", file.display())
        })?;
    }
    let share = share.path().to_string_lossy();
    expect(&vm(&["--share", &share], &["sh", "-c", EXAMPLES]), 0)
}

fn the_drive_as_a_file_system() -> Result<(), Failed> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"));
    let [script, exerciser] =
        ["fdmfs.sh", "fsx.py"].map(|name| format!("{root}/tests/guest/{name}"));
    let examples = format!("{root}/../../examples");
    let files = [&script, &exerciser].map(|file| ["--file", file]);
    let drive = ["--set", "memory.size=128MiB", "--share", &examples];
    let machine = [&drive, files.as_flattened()].concat();
    expect(&vm(&machine, &["bash", "fdmfs.sh"]), 0)
}

fn commands_of_femus_hosts() -> Result<(), Failed> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest/femu.py");
    let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs");
    let folder = format!("compute.native_directory={programs}");
    let machine = ["--set", "dialect=femu", "--set", &folder, "--file", script];
    let program = format!("{programs}/double.bpf.o");
    let output = vm(&machine, &["python3", "femu.py", &program]);
    expect(&output, 0)?;
    expect_lines(&output, &["all of it"])
}

fn copies_within_the_drive() -> Result<(), Failed> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest/copies.py");
    let machine = ["--set", "memory.size=512MiB", "--memory", "2G", "--file", script];
    expect(&vm(&machine, &["python3", "copies.py"]), 0)
}

fn reboot_of_the_guest() -> Result<(), Failed> {
    expect(&vm(&[], &["sh", "-c", REBOOT]), 9)
}

/// A guest that sleeps, with a port for ssh; and QEMU's process.
fn sleeping_guest() -> Result<(Child, u32), Failed> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let guest = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["vm", "run", "--timeout", PATIENCE, "--ssh-port", &port.to_string()])
        .args(["--", "sh", "-c", "sleep 8; exit 3"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let start = Instant::now();
    let mut hello = [0; 8];
    while hello != *b"SSH-2.0-" {
        if start.elapsed() > Duration::from_secs(120) {
            return Err("no ssh in the guest".into());
        }
        std::thread::sleep(Duration::from_millis(100));
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            // An error means that it is not there yet.
            let _ = stream.read_exact(&mut hello);
        }
    }
    let id = guest.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    let qemu = children.split_whitespace().next().ok_or("csdrive has no child")?.parse()?;
    Ok((guest, qemu))
}

fn signal(process: u32, name: &str) -> Result<(), Failed> {
    // The shell's own: a small system has no other.
    let command = format!("kill -{name} {process}");
    let status = Command::new("sh").args(["-c", &command]).status()?;
    if status.success() { Ok(()) } else { Err(format!("kill -{name}: {status}").into()) }
}

/// True once a process is gone.
fn is_gone(process: u32) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn a_stalled_guest_goes_on() -> Result<(), Failed> {
    let (guest, qemu) = sleeping_guest()?;
    signal(qemu, "STOP")?;
    std::thread::sleep(Duration::from_secs(3));
    signal(qemu, "CONT")?;
    expect(&guest.wait_with_output()?, 3)
}

fn qemu_killed() -> Result<(), Failed> {
    let (guest, qemu) = sleeping_guest()?;
    signal(qemu, "KILL")?;
    let output = guest.wait_with_output()?;
    expect(&output, 1)?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !text.contains("ended without a status") {
        return Err(text.into_owned().into());
    }
    Ok(())
}

fn csdrive_ended_or_killed_leaves_no_qemu() -> Result<(), Failed> {
    for (name, status) in [("TERM", Some(143)), ("KILL", None)] {
        let (guest, qemu) = sleeping_guest()?;
        signal(guest.id(), name)?;
        let output = guest.wait_with_output()?;
        if output.status.code() != status || !is_gone(qemu) {
            return Err(format!("{name}: {}; QEMU gone: {}", output.status, is_gone(qemu)).into());
        }
    }
    Ok(())
}

/// Tests of times that a guest sees.
const ALONE: [&str; 3] = [
    "programs_take_their_modelled_time_or_it_is_told",
    "a_frozen_guest_sees_the_modelled_time",
    "a_stalled_guest_goes_on",
];

/// Runs a test, with no other beside it if it is one of [`ALONE`].
fn beside_others(name: &str, test: Test) -> Result<(), Failed> {
    static TESTS: RwLock<()> = RwLock::new(());
    // A test that failed has changed nothing here.
    if ALONE.contains(&name) {
        let _alone = TESTS.write().unwrap_or_else(PoisonError::into_inner);
        test()
    } else {
        let _others = TESTS.read().unwrap_or_else(PoisonError::into_inner);
        test()
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    // A guest without KVM takes one processor.
    arguments.test_threads = Some(2);
    let tests: [(&str, Test); 23] = [
        ("status_and_output_of_a_command", status_and_output_of_a_command),
        ("stock_tools", stock_tools),
        (
            "programs_take_their_modelled_time_or_it_is_told",
            programs_take_their_modelled_time_or_it_is_told,
        ),
        (
            "a_system_with_a_compiler_and_a_shared_folder",
            a_system_with_a_compiler_and_a_shared_folder,
        ),
        ("device_commands", device_commands),
        ("resets_and_kills_while_a_program_runs", resets_and_kills_while_a_program_runs),
        ("a_frozen_guest_sees_the_modelled_time", a_frozen_guest_sees_the_modelled_time),
        ("examples_in_c_rust_and_shell", examples_in_c_rust_and_shell),
        ("the_drive_as_a_file_system", the_drive_as_a_file_system),
        ("commands_of_femus_hosts", commands_of_femus_hosts),
        ("copies_within_the_drive", copies_within_the_drive),
        ("reboot_of_the_guest", reboot_of_the_guest),
        ("a_stalled_guest_goes_on", a_stalled_guest_goes_on),
        ("qemu_killed", qemu_killed),
        ("csdrive_ended_or_killed_leaves_no_qemu", csdrive_ended_or_killed_leaves_no_qemu),
        ("a_program_with_stock_nvme_cli", a_program_with_stock_nvme_cli),
        ("namespaces_come_and_go_with_stock_nvme_cli", namespaces_come_and_go_with_stock_nvme_cli),
        ("placement_with_stock_tools", placement_with_stock_tools),
        ("zones_with_stock_tools", zones_with_stock_tools),
        ("killed_under_fio", killed::killed_under_fio),
        ("persistent_memory", pmem::persistent_memory),
        (AFTER_CRASHES, a_file_system_after_every_crash),
        (
            "seabios_root_ports_two_processors_two_drives_6_gib",
            seabios_root_ports_two_processors_two_drives_6_gib,
        ),
    ];
    let why = if arguments.list { None } else { missing() };
    let trials = tests
        .into_iter()
        .map(|(name, test)| match why.clone().or_else(|| missing_for(name)) {
            None => Trial::test(name, move || beside_others(name, test)),
            Some(why) => {
                Trial::test(format!("{name} (SKIPPED: {why})"), || Ok(())).with_ignored_flag(true)
            }
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// The test that looks at a guest's file system on this machine.
const AFTER_CRASHES: &str = "a_file_system_after_every_crash";

/// What a test lacks besides a guest.
fn missing_for(name: &str) -> Option<String> {
    let has_tools = || {
        let places = ["/usr/sbin/e2fsck", "/sbin/e2fsck"];
        places.iter().any(|place| Path::new(place).exists())
    };
    let is_missing = name == AFTER_CRASHES && !has_tools();
    is_missing.then(|| "e2fsck is not installed: apt-get install e2fsprogs".to_owned())
}

/// Why there can be no guest, if so.
fn missing() -> Option<String> {
    let output = vm(&[], &["true"]);
    if output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or("csdrive vm fails").to_owned();
    // Only what cannot be fetched is an excuse.
    let is_excuse = last.contains("apt-") || last.contains("mirror") || last.contains("Debian");
    assert!(is_excuse, "{text}");
    Some(last)
}
