//! Workloads in virtual time, whose numbers are known.

use std::path::Path;

use controller::{Config, Controller, LinkConfig, Parts, Peers, Switch};
use simtime::{Bandwidth, Duration};
use ssd::UnwrittenReads;
use workload::{Plan, Report, Simulated, run};

/// A drive on which a read of a page takes 50 us and nothing else takes time, and whose dies do not matter.
fn config() -> Config {
    let mut config = Config::default();
    config.flash.read_time = Duration::from_us(50).into();
    config.flash.channel_bandwidth = Bandwidth::from_bytes_per_s(0);
    config.flash.unwritten_reads = UnwrittenReads::Flash;
    config.flash.keep_data = false;
    config.host_link.bandwidth = Bandwidth::from_bytes_per_s(0);
    config.host_link.latency = Duration::ZERO;
    config.internal_link.bandwidth = Bandwidth::from_bytes_per_s(0);
    config.internal_link.latency = Duration::ZERO;
    config.command_time = Duration::ZERO;
    config
}

fn of(text: &str, config: &Config) -> Report {
    let plan = Plan::parse("test", text, Path::new(env!("CARGO_MANIFEST_DIR")), &[]).unwrap();
    let switch = plan.switch.map(|(rate, latency)| {
        let (bandwidth, latency) = (Bandwidth::from_bytes_per_s(rate), Duration::from_ns(latency));
        Switch::new(LinkConfig { bandwidth, latency })
    });
    let peers = Peers::new(switch.unwrap_or_default());
    let open = |_| {
        let parts = Parts { peers: Some(peers.clone()), ..Parts::default() };
        let drive = Controller::with_parts(config.clone(), parts).unwrap();
        simulator::open_drive(drive, 0, 4096).unwrap()
    };
    let drives = (0..plan.drive_count()).map(open).collect();
    run(&plan, &mut Simulated::new(drives), &mut |_| {}).unwrap()
}

/// One read at a time: as many as fit into the time, each as long as a page takes.
#[test]
fn a_closed_loop_has_one_operation_after_another() {
    let report = of("runtime = '10ms'\n[[job]]\nrw = 'read'\n", &config());
    let read = &report.jobs[0].read;
    assert_eq!((read.total_ios, read.lat_ns.min, read.lat_ns.max), (200, 50_000, 50_000));
    assert_eq!((read.io_bytes, read.bw_bytes), (200 * 4096, 20_000 * 4096));
    assert!((read.iops - 20_000.0).abs() < 1e-6);
    let text = "runtime = '10ms'\n[[job]]\nrw = 'read'\nthinktime = '50us'\n";
    assert_eq!(of(text, &config()).jobs[0].read.total_ios, 100);
    let text = "runtime = '10ms'\n[host]\ncommand_time = '150us'\n[[job]]\nrw = 'read'\n";
    let read = &of(text, &config()).jobs[0].read;
    assert_eq!((read.total_ios, read.slat_ns.max, read.clat_ns.max), (50, 150_000, 50_000));
}

#[test]
fn an_open_loop_keeps_its_rate_whatever_the_drive_does() {
    let text = "runtime = '100ms'\n[[job]]\nrw = 'randread'\nrate_iops = 50_000\n";
    let read = &of(text, &config()).jobs[0].read;
    // The last one ends after the time.
    assert!((4997..=5000).contains(&read.total_ios), "{}", read.total_ios);
    let poisson = format!("{text}rate_process = 'poisson'\n");
    let read = &of(&poisson, &config()).jobs[0].read;
    assert!((4750..5250).contains(&read.total_ios), "{}", read.total_ios);
    // One at a time cannot keep up: the wait is part of the latency.
    let read = &of(&format!("{text}iodepth = 1\n"), &config()).jobs[0].read;
    assert_eq!((read.total_ios, read.clat_ns.max), (2000, 50_000));
    assert!(read.lat_ns.max > 50_000_000, "{}", read.lat_ns.max);
}

/// Executions take units: of two units and a time of 100 us, 20 000 executions a second.
#[test]
fn units_bound_executions() {
    let mut config = config();
    config.compute.units = 2;
    let text = "runtime = '50ms'\nramp_time = '1ms'\n[[job]]\nprogram = 'declared'\ntime = '100us'\ninput = 'memory'\nbs = '4KiB'\niodepth = 8\n";
    let report = of(text, &config);
    let job = &report.jobs[0];
    assert_eq!(job.execute.total_ios, 1000);
    assert_eq!((job.steps.ran_ns.min, job.steps.ran_ns.max), (100_000, 100_000));
    // Eight share two: each waits for three others.
    assert_eq!((job.steps.waited_ns.min, job.execute.lat_ns.max), (300_000, 400_000));
    assert!((report.drives[0].units_busy - 1.0).abs() < 1e-9, "{}", report.drives[0].units_busy);
}

#[test]
fn the_hosts_processors_bound_what_it_processes() {
    let text = "runtime = '100ms'\n[host]\ncores = 2\n[[job]]\non = 'host'\nhost_bandwidth = '1GB/s'\nbs = '1MB'\niodepth = 16\nsize = '64MB'\n";
    let mut config = config();
    config.block_bytes = 512;
    let text = text.replace("MB'", "MiB'").replace("1GB/s", "1048576000B/s");
    let report = of(&text, &config);
    // A MiB takes a millisecond of one of two processors.
    assert!((198..=200).contains(&report.jobs[0].execute.total_ios));
}

/// What the host has read and still has in its memory takes no command.
#[test]
fn the_hosts_memory_keeps_what_was_used_last() {
    let text = |memory: &str| {
        format!(
            "[host]\nmemory = '{memory}'\n[[job]]\non = 'host'\nhost_bandwidth = '1GB/s'\nbs = '64KiB'\nsize = '1MiB'\nnumber_ios = 64\n"
        )
    };
    let mut config = config();
    config.flash.keep_data = false;
    let to_host = |memory| of(&text(memory), &config).drives[0].bytes.to_host;
    // In order, round and round: all of it fits, or what is needed next has just been forgotten.
    assert_eq!((to_host("1MiB"), to_host("960KiB"), to_host("0B")), (1 << 20, 4 << 20, 4 << 20));
}

#[test]
fn drives_on_one_clock_do_as_much_each() {
    let text =
        |count| format!("runtime = '10ms'\n[[drive]]\ncount = {count}\n[[job]]\nrw = 'read'\n");
    let report = of(&text(8), &config());
    assert_eq!((report.jobs[0].read.total_ios, report.drives.len()), (8 * 200, 8));
    assert_eq!(report.jobs[0].read.lat_ns.max, 50_000);
    let one = format!("{}drives = [3]\n", text(8));
    assert_eq!(of(&one, &config()).jobs[0].read.total_ios, 200);
}

/// Eight drives bring eight links, and the switch is one: each MiB of a drive takes a millisecond of its link.
#[test]
fn the_switch_bounds_what_drives_send_together() {
    let text = |switch: &str| {
        format!(
            "runtime = '100ms'\nramp_time = '20ms'\n{switch}[[drive]]\ncount = 8\n[[job]]\nrw = 'read'\nbs = '128KiB'\niodepth = 32\n"
        )
    };
    let mut config = config();
    config.flash.read_time = Duration::from_us(1).into();
    config.host_link.bandwidth = Bandwidth::from_bytes_per_s(1 << 30);
    let rate =
        |switch| of(&text(switch), &config).jobs[0].read.bw_bytes as f64 / f64::from(1 << 30);
    let (free, bound) = (
        rate(""),
        rate("[fabric]\nbandwidth = '3GiB/s'\n".replace("3GiB", "3221225472B").as_str()),
    );
    assert!((free / 8.0 - 1.0).abs() < 0.02, "{free}");
    assert!((bound / 3.0 - 1.0).abs() < 0.02, "{bound}");
}

#[test]
fn input_from_another_drive_does_not_pass_the_host() {
    let text = "runtime = '50ms'\nramp_time = '10ms'\n[[drive]]\ncount = 2\n[[job]]\nprogram = 'declared'\ntime = '10us'\ninput = 'peer'\nfrom_drive = 0\ndrives = [1]\nbs = '1MiB'\niodepth = 4\n";
    let mut config = config();
    config.host_link.bandwidth = Bandwidth::from_bytes_per_s(1 << 30);
    let report = of(text, &config);
    let [from, to] = [report.drives[0].bytes, report.drives[1].bytes];
    // 50 ms at a GiB a second are 51 MiB.
    let count = report.jobs[0].execute.total_ios;
    assert!((50..=52).contains(&count), "{count}");
    assert_eq!((from.to_host, from.from_host, to.to_host), (0, 0, 0));
    assert_eq!(from.to_peers, to.from_peers);
    // The links are as busy as they can be, although nothing is the host's.
    assert!(report.drives[0].link_out_busy > 0.99 && report.drives[1].link_in_busy > 0.99);
    // Lists of sources and ranges go there, and nothing else.
    assert!(to.from_peers >= 50 << 20 && to.from_host < 100 * count, "{to:?}");
}

#[test]
fn amounts_end_jobs_and_others_go_on_until_then() {
    let text = "[[job]]\nname = 'a'\nrw = 'read'\nnumber_ios = 300\n[[job]]\nname = 'b'\nrw = 'read'\nio_size = '400KiB'\n[[job]]\nname = 'c'\nrw = 'randread'\n";
    let report = of(text, &config());
    let counts: Vec<u64> = report.jobs.iter().map(|job| job.read.total_ios).collect();
    assert_eq!(counts[..2], [300, 100]);
    assert!((150..=300).contains(&counts[2]), "{counts:?}");
    assert_eq!(report.jobs[0].elapsed_ns, report.elapsed_ns);
}

/// A job that goes on until another has ended is measured until then.
#[test]
fn jobs_without_an_end_have_the_rate_that_they_are_given() {
    let text = "[[job]]\nname = 'a'\nrw = 'read'\nnumber_ios = 2000\n[[job]]\nname = 'b'\nrw = 'randread'\nrate_iops = 1000\n";
    let report = of(text, &config());
    let rate = report.jobs[1].read.iops;
    assert!((980.0..1020.0).contains(&rate), "{rate}");
}

#[test]
fn what_the_ramp_time_missed_does_not_count() {
    let mut config = config();
    config.compute.units = 1;
    let text = "runtime = '10ms'\nramp_time = '10ms'\n[[job]]\nprogram = 'declared'\ntime = '100us'\ninput = 'memory'\nbs = '4KiB'\ngroup = { deadline = '10us' }\n";
    let job = &of(text, &config).jobs[0];
    assert_eq!((job.execute.total_ios, job.missed), (100, 100));
}

#[test]
fn of_nothing_no_latency_holds() {
    let text = "runtime = '1ms'\n[[job]]\nname = 'a'\nrw = 'randread'\nassert = ['write.p99 < 1us', 'write.count < 1', 'p99 < 1ms']\n[[job]]\nname = 'late'\nrw = 'read'\nstartdelay = '5ms'\nassert = ['p99 < 1ms']\n";
    let report = of(text, &config());
    let holds: Vec<bool> = report.assertions.iter().map(|judged| judged.holds).collect();
    assert_eq!(holds, [false, true, true, false]);
}

/// Two that begin at the same moment both read: what is on its way is not there.
#[test]
fn the_hosts_memory_has_what_was_read_only() {
    let text = "[host]\nmemory = '1GiB'\ncores = 16\n[[job]]\nnumjobs = 2\non = 'host'\nhost_bandwidth = '100GB/s'\nbs = '64KiB'\nsize = '64KiB'\nnumber_ios = 1\n";
    let report = of(text, &config());
    assert_eq!(report.drives[0].bytes.to_host, 2 * 65_536);
    assert!(report.jobs[0].execute.lat_ns.min > 50_000);
}

/// More is asked of a link than it can send.
#[test]
fn no_share_is_above_one() {
    let mut config = config();
    config.host_link.bandwidth = Bandwidth::from_bytes_per_s(10_000_000);
    let text = "runtime = '10ms'\n[[job]]\nrw = 'randread'\nbs = '128KiB'\niodepth = 64\n";
    let drive = &of(text, &config).drives[0];
    assert!((0.9..=1.0).contains(&drive.link_out_busy), "{}", drive.link_out_busy);
    assert!(drive.channels_busy <= 1.0 && drive.dies_busy <= 1.0, "{drive:?}");
}

#[test]
fn runs_are_functions_of_their_seed() {
    let text = |seed| {
        format!(
            "seed = {seed}\nruntime = '5ms'\n[[job]]\nrw = 'randrw'\nrwmixread = 70\nbssplit = '4KiB/70:16KiB/30'\nrandom_distribution = 'zipf:1.1'\niodepth = 16\nnumjobs = 3\n"
        )
    };
    let document = |seed| serde_json::to_string(&of(&text(seed), &Config::default())).unwrap();
    assert_eq!(document(3), document(3));
    assert_ne!(document(3), document(4));
    let report = of(&text(3), &Config::default());
    let (read, write) = (&report.jobs[0].read, &report.jobs[0].write);
    let share = read.total_ios as f64 / (read.total_ios + write.total_ios) as f64;
    assert!((0.6..0.8).contains(&share), "{share}");
    let mean = read.io_bytes as f64 / read.total_ios as f64 / 4096.0;
    assert!((1.5..2.3).contains(&mean), "{mean}: 1.9 blocks are expected");
}

/// A program of C whose result is known, on data from a file: copied, executed, read back, and as a stream.
#[test]
fn programs_work_on_data() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> = (0..65_536u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(folder.path().join("numbers.bin"), numbers).unwrap();
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/programs/double.bpf.o");
    std::fs::copy(object, folder.path().join("double.bpf.o")).unwrap();
    let common =
        "program = 'double.bpf.o'\nfile = 'numbers.bin'\nsize = '256KiB'\noutput_ratio = 1.0\n";
    let mut config = config();
    config.flash.keep_data = true;
    let of = |rest: &str| {
        let text = format!("[[job]]\n{common}{rest}");
        let plan = Plan::parse("test", &text, folder.path(), &[]).unwrap();
        let drive = simulator::open(config.clone(), 0, 4096).unwrap();
        run(&plan, &mut Simulated::new(vec![drive]), &mut |_| {}).unwrap()
    };
    // It returns how many numbers it doubled.
    let report = of("bs = '64KiB'\nnumber_ios = 8\noutput = 'flash'\niodepth = 2\n");
    assert_eq!((report.jobs[0].execute.total_ios, report.jobs[0].result_sum), (8, 8 * 16_384));
    assert_eq!(report.jobs[0].steps.output_ns.count, 8);
    assert_eq!((report.drives[0].bytes.to_host, report.drives[0].bytes.internal > 0), (0, true));
    let report = of("bs = '64KiB'\nnumber_ios = 4\noutput = 'host'\n");
    assert!(report.drives[0].bytes.to_host >= 4 * 65_536);
    let stream = "bs = '256KiB'\nnumber_ios = 2\noutput = 'none'\nstream = { chunk = '32KiB', in_flight = 2 }\n";
    let report = of(stream);
    assert_eq!((report.jobs[0].execute.total_ios, report.jobs[0].result_sum), (2, 2 * 65_536));
    assert_eq!(report.jobs[0].steps.ran_ns.count, 16);
    let report = of("bs = '64KiB'\nnumber_ios = 4\ninput = 'host'\n");
    assert_eq!(report.jobs[0].result_sum, 4 * 16_384);
}

#[test]
fn traces_say_when_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..10)
        .map(|n| {
            format!(
                "{},{},{},4096\n",
                f64::from(n) * 1e-3,
                if n % 2 == 0 { "R" } else { "W" },
                n * 8192
            )
        })
        .collect();
    std::fs::write(folder.path().join("trace.csv"), lines).unwrap();
    let text = "[[job]]\ntrace = 'trace.csv'\nnumber_ios = 100\n";
    let plan = Plan::parse("test", text, folder.path(), &[]).unwrap();
    let drive = simulator::open(config(), 0, 64).unwrap();
    let report = run(&plan, &mut Simulated::new(vec![drive]), &mut |_| {}).unwrap();
    let job = &report.jobs[0];
    assert_eq!((job.read.total_ios, job.write.total_ios), (5, 5));
    assert!((9_000_000..9_100_000).contains(&job.elapsed_ns), "{}", job.elapsed_ns);
}

/// A trace of another machine: 512-byte sectors of a larger disk, ten times as fast.
#[test]
fn traces_of_other_machines_are_brought_into_the_region() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..20u64)
        .map(|n| {
            let (time, kind) =
                (128_166_372_003_061_629 + n * 100_000, if n % 4 == 0 { "Write" } else { "Read" });
            format!("{time},hm,1,{kind},{},4608,413\n", n * 123_456_789_504)
        })
        .collect();
    std::fs::write(folder.path().join("hm_1.csv"), lines).unwrap();
    let text =
        "[[job]]\ntrace = 'hm_1.csv'\ntrace_wrap = true\ntrace_speed = 10.0\nsize = '1MiB'\n";
    let run = |text: &str| {
        let plan = Plan::parse("test", text, folder.path(), &[]).unwrap();
        let drive = simulator::open(config(), 0, 64).unwrap();
        run(&plan, &mut Simulated::new(vec![drive]), &mut |_| {})
    };
    let job = run(text).unwrap().jobs.remove(0);
    assert_eq!((job.read.total_ios, job.write.total_ios), (15, 5));
    // In whole blocks, and 19 times 10 ms in a tenth of the time.
    assert!(job.read.io_bytes.is_multiple_of(4096) && job.read.io_bytes >= 15 * 8192);
    assert!((19_000_000..19_200_000).contains(&job.elapsed_ns), "{}", job.elapsed_ns);
    let error = run(&text.replace("trace_wrap = true\n", "")).unwrap_err().to_string();
    assert!(error.contains("trace_wrap = true"), "{error}");
}

#[test]
fn deadlines_that_are_missed_and_tenants_are_told() {
    let mut config = config();
    config.compute.units = 1;
    let job = |name: &str, rest: &str| {
        format!(
            "[[job]]\nname = '{name}'\ntenant = 'both'\nprogram = 'declared'\ntime = '100us'\ninput = 'memory'\nbs = '4KiB'\n{rest}"
        )
    };
    let text = format!(
        "runtime = '10ms'\n{}{}",
        job("a", "iodepth = 4\ngroup = { deadline = '250us' }\nassert = ['missed > 10']\n"),
        job("b", "group = { weight = 300 }\n")
    );
    let report = of(&text, &config);
    assert!(report.jobs[0].missed > 10 && report.jobs[1].missed == 0 && report.holds());
    let all: u64 = report.jobs.iter().map(|job| job.execute.total_ios).sum();
    assert_eq!((report.tenants.len(), report.tenants[0].total_ios), (1, all));
}

#[test]
fn assertions_are_judged() {
    let text = "runtime = '5ms'\nassert = ['drive.write_amplification == 1', 'r.max < 50us']\n[[job]]\nname = 'r'\nrw = 'read'\nassert = ['p99 <= 50us', 'iops > 19_000']\n";
    let report = of(&text.replace("19_000", "19000"), &config());
    let holds: Vec<bool> = report.assertions.iter().map(|judged| judged.holds).collect();
    assert_eq!(holds, [true, true, true, false]);
    assert_eq!(report.assertions[3].value, Some(50_000.0));
    assert!(!report.holds());
}
