//! Identify data structures and log pages as bytes: each field where the specification has it, with
//! the value it must have on a known drive. Nothing here uses the drive's own structures.

use client::commands;
use client::{DmaMemory, GroupOptions, QueueId};
use controller::Config;
use nvme_spec::CommandSet;
use nvme_spec::NvmOpcode;
use simulator::Session;

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);
const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");

fn session() -> Session {
    let mut config = Config { memory_bytes: 16 << 20, ..Config::default() };
    config.flash.capacity_bytes = 64 << 20;
    simulator::open(config, 0, 64).unwrap()
}

fn identify(session: &mut Session, cns: u8, nsid: u32, csi: u8) -> Vec<u8> {
    let page = session.identify(cns, nsid, CommandSet(csi)).unwrap();
    assert_eq!(page.len(), 4096);
    page
}

fn log(session: &mut Session, lid: u8, nsid: u32, csi: u8, len: u64) -> Vec<u8> {
    let entry = commands::get_log(lid, nsid, CommandSet(csi), 0, len);
    let buffer = session.transport.driver.port.ram.allocate(len);
    session.transport.driver.port.ram.put(buffer.address, &vec![0xEE; len as usize]);
    let prps = session.transport.driver.port.ram.prps(&buffer, len);
    let done = session.transport.driver.execute(ADMIN, commands::with_data(entry, prps)).unwrap();
    assert!(done.status.is_success(), "log {lid:#x}: {}", done.status);
    session.transport.driver.port.ram.view(buffer.address, len).to_vec()
}

/// A field: first byte, length, name, value (little endian).
type Field = (usize, usize, &'static str, u128);

#[track_caller]
fn check(page: &[u8], fields: &[Field]) {
    for &(at, len, name, expected) in fields {
        let mut bytes = [0; 16];
        bytes[..len].copy_from_slice(&page[at..at + len]);
        let got = u128::from_le_bytes(bytes);
        assert_eq!(got, expected, "{name}, bytes {}:{at}", at + len - 1);
    }
}

/// Every byte outside the fields (of at most 16 bytes) and the ranges is zero.
#[track_caller]
fn check_rest_is_zero(page: &[u8], fields: &[Field], ranges: &[(usize, usize)]) {
    for (at, byte) in page.iter().enumerate() {
        let is_field = fields.iter().any(|(start, len, _, _)| (*start..start + len).contains(&at));
        let is_known = is_field || ranges.iter().any(|(from, to)| (*from..*to).contains(&at));
        assert!(is_known || *byte == 0, "byte {at} is {byte:#x}");
    }
}

/// Base 2.1, Figure 312; NVM Command Set 1.2, Figure 118.
#[test]
fn identify_controller() {
    let page = identify(&mut session(), 0x01, 0, 0);
    let fields = [
        (0, 2, "VID", 0xC5D0),
        (2, 2, "SSVID", 0xC5D0),
        (72, 1, "RAB", 3),
        (73, 3, "IEEE", 0xD1_C502),
        (77, 1, "MDTS", 8),
        (78, 2, "CNTLID", 0),
        (80, 4, "VER", 0x2_0100),
        (92, 4, "OAES", 1 << 8),
        (96, 4, "CTRATT", 1 << 4),
        (111, 1, "CNTRLTYPE", 1),
        (134, 1, "CRCAP", 1),
        (253, 1, "NVMSR", 1),
        (256, 2, "OACS", 1 << 1 | 1 << 3 | 1 << 4 | 1 << 8),
        (258, 1, "ACL", 3),
        (259, 1, "AERL", 3),
        (260, 1, "FRMW", 0b11),
        (261, 1, "LPA", 0b10_1110),
        (262, 1, "ELPE", 63),
        (263, 1, "NPSS", 0),
        (266, 2, "WCTEMP", 343),
        (268, 2, "CCTEMP", 353),
        (280, 16, "TNVMCAP", 64 << 20),
        (316, 2, "EDSTT", 1),
        (318, 1, "DSTO", 1),
        (320, 2, "KAS", 10),
        (328, 4, "SANICAP", 0b111 | 1 << 29 | 1 << 30),
        (340, 2, "ENDGIDMAX", 1),
        (512, 1, "SQES", 0x66),
        (513, 1, "CQES", 0x44),
        (516, 4, "NN", 128),
        (520, 2, "ONCS", 0b1_1101_1101),
        (522, 2, "FUSES", 1),
        (524, 1, "FNA", 1 << 2),
        (525, 1, "VWC", 0b111),
        (526, 2, "AWUN", 255),
        (528, 2, "AWUPF", 0),
        (531, 1, "NWPC", 1),
        (532, 2, "ACWU", 255),
        (534, 2, "CDFS", 0b1_1111),
        (536, 4, "SGLS", 1 | 1 << 16 | 1 << 18),
        (540, 4, "MNAN", 128),
        (2048, 2, "PSD0.MP", 2500),
    ];
    check(&page, &fields);
    let text = |range: std::ops::Range<usize>| std::str::from_utf8(&page[range]).unwrap();
    assert_eq!(text(4..24), "CSDRIVE0001         ");
    assert_eq!(text(24..64), format!("{:<40}", "csdrive computational storage drive"));
    assert_eq!(text(64..72), format!("{:<8}", env!("CARGO_PKG_VERSION")));
    assert_eq!(text(768..1024).trim_end_matches('\0'), "nqn.2026-11.dev.csdrive:CSDRIVE0001");
    check_rest_is_zero(&page, &fields, &[(4, 72), (768, 1024)]);
}

/// NVM Command Set 1.2, Figure 114.
#[test]
fn identify_namespace_of_blocks() {
    let mut session = session();
    session.write_blocks(0, &[1; 8192]).unwrap();
    let page = identify(&mut session, 0x00, 1, 0);
    let fields = [
        (0, 8, "NSZE", 16_384),
        (8, 8, "NCAP", 16_384),
        (16, 8, "NUSE", 2),
        (24, 1, "NSFEAT", 1 << 1 | 1 << 2 | 1 << 4),
        (25, 1, "NLBAF", 1),
        (26, 1, "FLBAS", 1),
        (33, 1, "DLFEAT", 0b1001),
        (34, 2, "NAWUN", 255),
        (36, 2, "NAWUPF", 0),
        (38, 2, "NACWU", 255),
        (44, 2, "NABSPF", 0),
        (48, 16, "NVMCAP", 64 << 20),
        (64, 2, "NPWG", 0),
        (74, 2, "MSSRL", 4096),
        (76, 4, "MCL", 4096),
        (80, 1, "MSRC", 127),
        (99, 1, "NSATTR", 0),
        (102, 2, "ENDGID", 1),
        (128, 4, "LBAF0", 9 << 16),
        (132, 4, "LBAF1", 12 << 16),
    ];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[(104, 128)]);
    assert_eq!(page[112..120], page[120..128], "NGUID ends with EUI64");
    assert_ne!(page[120..128], [0; 8]);
}

/// Base 2.1, Figures 315 (descriptors), 320 (CNS 08h), 310 (CNS 1Ch); NVM Command Set 1.2, Figure
/// 119 (CNS 06h); CNS 02h and 07h are lists of identifiers.
#[test]
fn identify_lists_and_the_rest() {
    let mut session = session();
    let s = &mut session;
    check(&identify(s, 0x02, 0, 0), &[(0, 4, "", 1), (4, 4, "", 2), (8, 4, "", 3), (12, 4, "", 0)]);
    check(&identify(s, 0x02, 2, 0), &[(0, 4, "", 3), (4, 4, "", 0)]);
    for (csi, nsid) in [(0, 1), (3, 2), (4, 3)] {
        check(&identify(s, 0x07, 0, csi), &[(0, 4, "", nsid), (4, 4, "", 0)]);
        let page = identify(s, 0x03, nsid as u32, 0);
        check(
            &page,
            &[
                (0, 4, "EUI64 header", 0x0801),
                (12, 4, "NGUID header", 0x1002),
                (32, 4, "UUID header", 0x1003),
                (52, 4, "CSI header", 0x0104),
                (56, 1, "CSI", csi.into()),
                (57, 4, "end", 0),
            ],
        );
        let page = identify(s, 0x08, nsid as u32, 0);
        // The flash is the one endurance group; device memory and programs are in none.
        let group = u128::from(nsid == 1);
        let fields = [(12, 2, "ENDGID", group), (14, 1, "NSTAT", 1), (20, 4, "RGRPID", nsid)];
        check(&page, &fields);
        check_rest_is_zero(&page, &fields, &[]);
    }
    let page = identify(s, 0x19, 0, 0);
    let fields = [(0, 2, "groups", 1), (2, 2, "group", 1)];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);
    check(&identify(s, 0x07, 0, 2), &[(0, 8, "zoned namespaces: none", 0)]);
    let page = identify(s, 0x1C, 0, 0);
    let fields = [(0, 8, "combination 0", 0b1_1001)];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);
    let page = identify(s, 0x06, 0, 0);
    let fields = [(0, 1, "VSL", 8), (1, 1, "WZSL", 8)];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);
    for csi in [3, 4] {
        check_rest_is_zero(&identify(s, 0x06, 0, csi), &[], &[]);
    }
    check_rest_is_zero(&identify(s, 0x05, 1, 0), &[], &[]);
}

/// `docs/conformance.md`: CNS 05h of SLM is ours, that of CP follows hsung-yang/spdk.
#[test]
fn identify_memory_and_programs() {
    let mut session = session();
    let page = identify(&mut session, 0x05, 2, 3);
    let fields = [(0, 8, "size", 16 << 20), (8, 4, "granularity", 4)];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);
    let page = identify(&mut session, 0x05, 3, 4);
    let fields = [
        (0, 2, "MAXACT", 256),
        (2, 2, "MAXMEMRS", 1024),
        (4, 2, "MRSG", 0),
        (6, 1, "MAXMEMR", 128),
        (8, 8, "MAXPB", 64),
        (16, 1, "LPG", 0),
    ];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);
}

/// Vendor: `docs/conformance.md`.
#[test]
fn log_of_job_groups() {
    let mut session = session();
    session.load_program(0, DOUBLE).unwrap();
    let options = GroupOptions {
        weight: 700,
        priority: 9,
        deadline_us: 1,
        bandwidth_kbps: 5_000_000,
        units_max: 2,
        unit_mask: 0b1100,
    };
    let group = session.create_group(&options).unwrap();
    assert_eq!(group, 1);
    let ranges = vec![(0, 4096), (4096, 4096)];
    for _ in 0..3 {
        let ranges = ranges.clone();
        session.execute(&client::Invocation { group, ranges, ..Default::default() }).unwrap();
    }
    let page = log(&mut session, 0xC2, 3, 0, 176);
    assert_eq!(page[..8], [2, 0, 0, 0, 72, 0, 0, 0], "two groups of 72 bytes");
    assert_eq!(page[16..24], [0, 0, 100, 0, 0, 0, 0, 0], "jobs of no group");
    assert!(page[24..52].iter().all(|byte| *byte == 0), "there were none");
    assert_eq!(page[52..64], [5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "priority 5, no limits");
    assert!(page[64..88].iter().all(|byte| *byte == 0), "any unit, never throttled");
    let group = &page[88..160];
    assert_eq!(group[..16], [1, 0, 0xBC, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert!(group[16..24].iter().any(|byte| *byte != 0), "they took time");
    assert_eq!(group[24..37], [3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9], "all missed a microsecond");
    assert_eq!(group[38..44], [2, 0, 0x40, 0x4B, 0x4C, 0], "two units, 5 GB/s");
    assert_eq!(group[48..56], [0b1100, 0, 0, 0, 0, 0, 0, 0]);
    assert!(group[64..].iter().all(|byte| *byte == 0), "none met its deadline");
    assert!(page[160..].iter().all(|byte| *byte == 0));
}

/// Base 2.1, Figures 204 to 208.
#[test]
fn logs_of_support_errors_health_and_firmware() {
    let mut session = session();
    let s = &mut session;
    let page = log(s, 0x00, 0, 0, 1024);
    let supported: Vec<usize> = (0..256).filter(|n| page[4 * n] & 1 != 0).collect();
    assert_eq!(
        supported,
        [
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x12, 0x13, 0x1A, 0x1B, 0x81, 0x82, 0x83, 0x84, 0xC0,
            0xC1, 0xC2, 0xC3, 0xC4, 0xC5
        ]
    );

    let read = commands::read_write(NvmOpcode::READ, 1 << 40, 1);
    assert!(!s.transport.driver.execute(IO, read).unwrap().status.is_success());
    let page = log(s, 0x01, 0, 0, 128);
    let status: u128 = (1 << 14 | 0x80) << 1;
    let fields = [
        (0, 8, "error count", 1),
        (8, 2, "SQID", 1),
        (10, 2, "CID", u128::from(u16::from_le_bytes([page[10], page[11]]))),
        (12, 2, "status", status),
        (14, 2, "parameter location", 0xFFFF),
        (24, 4, "NSID", 1),
        (30, 1, "CSI", 0),
        (31, 1, "opcode", 2),
        (64, 8, "no second error", 0),
    ];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);

    s.write_blocks(0, &vec![1; 1 << 20]).unwrap();
    s.read_blocks(0, 2).unwrap();
    let page = log(s, 0x02, u32::MAX, 0, 512);
    let fields = [
        (0, 1, "critical warning", 0),
        (1, 2, "temperature", 308),
        (3, 1, "available spare", 100),
        (4, 1, "threshold", 10),
        (32, 16, "data units read", 1),
        (48, 16, "data units written", 3),
        (64, 16, "host reads", 1),
        (80, 16, "host writes", 1),
        (112, 16, "power cycles", 1),
        (176, 16, "errors", 1),
    ];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);

    let page = log(s, 0x03, 0, 0, 512);
    let revision = format!("{:<8}", env!("CARGO_PKG_VERSION"));
    assert_eq!((page[0], &page[8..16]), (1, revision.as_bytes()));
    check_rest_is_zero(&page, &[], &[(0, 1), (8, 16)]);
    check_rest_is_zero(&log(s, 0x04, 0, 0, 4096), &[], &[]);
}

/// Base 2.1, Figures 209, 210 and 269. I/O commands report no scope: Linux 6.12 logs those that do as unusual.
#[test]
fn logs_of_effects() {
    let mut session = session();
    let s = &mut session;
    let (supported, changes) = (1u32, 2u32);
    for (csi, io) in [
        (
            0,
            vec![
                (0, 0),
                (1, changes),
                (2, 0),
                (5, 0),
                (8, changes),
                (9, changes),
                (0xC, 0),
                (0x19, changes),
            ],
        ),
        (3, vec![(1, changes), (2, 0), (4, changes), (5, changes)]),
        (4, vec![(1, changes), (0x81, changes), (0x82, changes)]),
    ] {
        let page = log(s, 0x05, 0, csi, 4096);
        let dword = |n: usize| u32::from_le_bytes(page[4 * n..4 * n + 4].try_into().unwrap());
        let admin: Vec<usize> = (0..256).filter(|n| dword(*n) & supported != 0).collect();
        let expected = [
            0, 1, 2, 4, 5, 6, 8, 9, 0xA, 0xC, 0xD, 0x14, 0x15, 0x18, 0x7C, 0x80, 0x84, 0x85, 0x88,
            0x89, 0xC0, 0xC1,
        ];
        assert_eq!(admin, expected);
        for opcode in [0xD, 0x15] {
            assert_eq!(dword(opcode) & 0xFFFF, 1 << 3 | 1, "namespaces come and go");
        }
        assert_eq!(dword(0x80) & 0x7_0006, 0x1_0006, "format: content, capabilities, exclusive");
        for opcode in 0..256 {
            let expected = io.iter().find(|(known, _)| *known == opcode);
            let expected = expected.map_or(0, |(_, effect)| supported | effect);
            assert_eq!(dword(256 + opcode), expected, "csi {csi} opcode {opcode:#x}");
        }
        check_rest_is_zero(&page[2048..], &[], &[]);
    }
    let page = log(s, 0x12, 0, 0, 1024);
    let known: Vec<usize> = (0..256).filter(|n| page[4 * n] & 1 != 0).collect();
    assert_eq!(known, [1, 2, 4, 5, 6, 7, 8, 9, 0xA, 0xB, 0xE, 0xF, 0x16, 0x19, 0x84, 0xC0]);
    check_rest_is_zero(&log(s, 0x13, 0, 0, 4096), &[], &[]);
}

/// Base 2.1, Figures 211, 277 to 280, 285.
#[test]
fn logs_of_self_tests_reachability_and_sanitize() {
    let mut session = session();
    let s = &mut session;
    let page = log(s, 0x06, 0, 0, 564);
    assert!((0..20).all(|n| page[4 + 28 * n] == 0xF), "no results");
    let groups = log(s, 0x1A, 0, 0, 124);
    check(&groups, &[(0, 8, "changes", 0), (8, 2, "NRGD", 3)]);
    for n in 0..3 {
        let id = n as u128 + 1;
        let at = 16 + 36 * n;
        check(&groups, &[(at, 4, "RGID", id), (at + 4, 4, "NNID", 1), (at + 32, 4, "NSID", id)]);
    }
    let pages = log(s, 0x1B, 0, 0, 96);
    check(&pages, &[(0, 8, "changes", 0), (8, 2, "NRAD", 2)]);
    for (n, rac, groups) in [(0, 2, [1, 2]), (1, 1, [2, 3])] {
        let at = 16 + 40 * n;
        check(
            &pages,
            &[
                (at, 4, "RASID", n as u128 + 1),
                (at + 4, 4, "NRID", 2),
                (at + 16, 1, "RAC", rac),
                (at + 32, 4, "RGID", groups[0]),
                (at + 36, 4, "RGID", groups[1]),
            ],
        );
    }
    // Groups alone.
    let mut only = commands::get_log(0x1A, 0, CommandSet::NVM, 0, 112);
    only.cdw10.set(only.cdw10.get() | 1 << 8);
    let buffer = s.transport.driver.port.ram.allocate(4096);
    s.transport.driver.execute(ADMIN, commands::with_data(only, (buffer.address, 0))).unwrap();
    let groups = s.transport.driver.port.ram.view(buffer.address, 112);
    check(groups, &[(8, 2, "NRGD", 3), (20, 4, "NNID", 0), (48, 4, "RGID", 2)]);

    let page = log(s, 0x81, 0, 0, 512);
    let fields = [
        (0, 2, "SPROG", 0xFFFF),
        (2, 2, "SSTAT", 1 << 8),
        (4, 4, "SCDW10", 0),
        (8, 4, "overwrite", 1),
        (12, 4, "block erase", 1),
        (16, 4, "crypto erase", 1),
        (20, 4, "not reported", 0xFFFF_FFFF),
        (24, 4, "not reported", 0xFFFF_FFFF),
        (28, 4, "not reported", 0xFFFF_FFFF),
    ];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);
}

/// `docs/conformance.md`: 82h as two public implementations have it, 83h as one, 84h is ours.
#[test]
fn logs_of_programs_and_ranges() {
    let mut session = session();
    let s = &mut session;
    s.load_program(2, DOUBLE).unwrap();
    s.create_range_set(&[(0, 100), (4096, 8)]).unwrap();
    let page = log(s, 0x82, 3, 0, 64 * 5);
    let fields = [
        (0, 4, "NUMD", 1024),
        (64 * 3, 1, "downloaded, activated", 0b101),
        (64 * 3 + 1, 1, "PTYPE", 1),
    ];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);
    let page = log(s, 0x83, 3, 0, 96);
    check(&page, &[(0, 4, "NUMD", 2), (32, 1, "PTYPE", 1), (64, 1, "PTYPE", 0xC0)]);
    assert_eq!(&page[40..44], b"eBPF");
    let page = log(s, 0x84, 3, 0, 16 + 16 + 64);
    let fields = [
        (0, 4, "sets", 1),
        (16, 2, "RSID", 1),
        (18, 1, "in use", 0),
        (19, 1, "NUMR", 2),
        (32, 4, "NSID", 2),
        (36, 4, "length", 100),
        (40, 8, "start", 0),
        (64, 4, "NSID", 2),
        (68, 4, "length", 8),
        (72, 8, "start", 4096),
    ];
    check(&page, &fields);
    check_rest_is_zero(&page, &fields, &[]);
    // Pages are read in pieces, and end with zeroes.
    let tail = commands::get_log(0x83, 3, CommandSet::NVM, 92, 64);
    let buffer = s.transport.driver.port.ram.allocate(4096);
    s.transport.driver.execute(ADMIN, commands::with_data(tail, (buffer.address, 0))).unwrap();
    check_rest_is_zero(s.transport.driver.port.ram.view(buffer.address, 64), &[], &[]);
}

/// Base 2.1, sections 5.1.12.1.8 and 5.1.12.1.9.
#[test]
fn telemetry_is_a_snapshot() {
    let mut session = session();
    let s = &mut session;
    let create = |s: &mut Session| {
        let mut entry = commands::get_log(0x07, 0, CommandSet::NVM, 0, 512);
        entry.cdw10.set(entry.cdw10.get() | 1 << 8);
        let host = &mut s.transport.driver;
        let buffer = host.port.ram.allocate(4096);
        let done = host.execute(ADMIN, commands::with_data(entry, (buffer.address, 0))).unwrap();
        assert!(done.status.is_success());
    };
    let page = log(s, 0x07, 0, 0, 512);
    assert_eq!((page[0], &page[5..8]), (7, &[0x02, 0xC5, 0xD1][..]));
    assert!(page[8..380].iter().all(|byte| *byte == 0), "there is no data yet");
    create(s);
    let header = log(s, 0x07, 0, 0, 512);
    let last = |n: usize| usize::from(u16::from_le_bytes([header[8 + 2 * n], header[9 + 2 * n]]));
    assert!(last(0) > 0 && last(1) > last(0) && last(2) >= last(1));
    assert_eq!(
        (header[380], header[381], header[382]),
        (2, 1, 0),
        "scope, generation, the controller's"
    );
    let all = log(s, 0x07, 0, 0, 512 * (last(2) as u64 + 1));
    // The first part is the counters, the second the SMART log.
    let number = |at: usize| u32::from_le_bytes(all[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((all[512], number(516)), (0xC3, 240));
    let smart = 512 + 8 + 240;
    assert_eq!((all[smart], number(smart + 4)), (0x02, 512));
    assert_eq!(all[smart + 8 + 5], log(s, 0x02, 0, 0, 512)[5]);
    // It stays as it was until the next.
    let write = commands::read_write(NvmOpcode::WRITE, 0, 1);
    let buffer = s.transport.driver.port.ram.allocate(4096);
    assert!(
        s.transport
            .driver
            .execute(IO, commands::with_data(write, (buffer.address, 0)))
            .unwrap()
            .status
            .is_success()
    );
    assert_eq!(log(s, 0x07, 0, 0, 512 * (last(2) as u64 + 1)), all);
    create(s);
    let next = log(s, 0x07, 0, 0, 512 * (last(2) as u64 + 1));
    assert_eq!(next[381], 2);
    assert_ne!(next[512..], all[512..]);
    // The controller has none of its own accord.
    let page = log(s, 0x08, 0, 0, 512);
    assert_eq!((page[0], page[382]), (8, 0));
    assert!(page[8..20].iter().all(|byte| *byte == 0));
}
