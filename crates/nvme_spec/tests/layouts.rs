//! Layouts of the wire structures against those of libnvme (Debian's libnvme-dev 1.3, types.h), which
//! shares nothing with us: sizes and field offsets, printed by a C program over its header. Fields
//! that are newer than it have their offset from the specification (Base 2.1).

use core::mem::offset_of;

use nvme_spec::*;

macro_rules! layout {
    ($type:ident, $size:literal: $($field:ident @ $offset:literal),* $(,)?) => {
        assert_eq!(size_of::<$type>(), $size, stringify!($type));
        $(assert_eq!(offset_of!($type, $field), $offset, concat!(stringify!($type), ".", stringify!($field)));)*
    };
}

#[test]
fn structures_have_the_sizes_and_offsets_of_libnvme() {
    // struct nvme_id_ctrl
    layout!(IdentifyController, 4096: vid @ 0, ssvid @ 2, sn @ 4, mn @ 24, fr @ 64, rab @ 72, ieee @ 73, cmic @ 76, mdts @ 77, cntlid @ 78, ver @ 80, rtd3r @ 84, rtd3e @ 88, oaes @ 92, ctratt @ 96, rrls @ 100, cntrltype @ 111, fguid @ 112, crdt @ 128, nvmsr @ 253, vwci @ 254, mec @ 255, oacs @ 256, acl_z @ 258, aerl_z @ 259, frmw @ 260, lpa @ 261, elpe_z @ 262, npss_z @ 263, avscc @ 264, apsta @ 265, wctemp @ 266, cctemp @ 268, mtfa @ 270, hmpre @ 272, hmmin @ 276, tnvmcap @ 280, unvmcap @ 296, rpmbs @ 312, edstt @ 316, dsto @ 318, fwug @ 319, kas @ 320, hctma @ 322, mntmt @ 324, mxtmt @ 326, sanicap @ 328, hmminds @ 332, hmmaxd @ 336, nsetidmax @ 338, endgidmax @ 340, anatt @ 342, anacap @ 343, anagrpmax @ 344, nanagrpid @ 348, pels @ 352, domainid @ 356, sqes @ 512, cqes @ 513, maxcmd @ 514, nn @ 516, oncs @ 520, fuses @ 522, fna @ 524, vwc @ 525, awun_z @ 526, awupf_z @ 528, icsvscc @ 530, nwpc @ 531, acwu_z @ 532, cdfs @ 534, sgls @ 536, mnan @ 540, subnqn @ 768, psd @ 2048, vendor @ 3072);
    // struct nvme_id_psd
    layout!(PowerState, 32: mp @ 0, flags @ 3, enlat @ 4, exlat @ 8, rrt @ 12, rrl @ 13, rwt @ 14, rwl @ 15, idlp @ 16, ips @ 18, actp @ 20, apws @ 22);
    // struct nvme_id_ctrl_nvm
    layout!(IdentifyControllerNvm, 4096: vsl @ 0, wzsl @ 1, wusl @ 2, dmrl @ 3, dmrsl @ 4, dmsl @ 8);
    // struct nvme_id_ns; it has LBSTM before the vendor area, which NVM Command Set 1.2 has in CNS 05h
    layout!(IdentifyNamespaceNvm, 4096: nsze @ 0, ncap @ 8, nuse @ 16, nsfeat @ 24, nlbaf_z @ 25, flbas @ 26, mc @ 27, dpc @ 28, dps @ 29, nmic @ 30, rescap @ 31, fpi @ 32, dlfeat @ 33, nawun_z @ 34, nawupf_z @ 36, nacwu_z @ 38, nabsn_z @ 40, nabo @ 42, nabspf_z @ 44, noiob @ 46, nvmcap @ 48, npwg_z @ 64, npwa_z @ 66, npdg_z @ 68, npda_z @ 70, nows_z @ 72, mssrl @ 74, mcl @ 76, msrc_z @ 80, anagrpid @ 92, nsattr @ 99, nvmsetid @ 100, endgid @ 102, nguid @ 104, eui64 @ 120, lbaf @ 128);
    // struct nvme_lbaf
    layout!(LbaFormat, 4: ms @ 0, lbads @ 2, rp @ 3);
    // struct nvme_id_independent_id_ns
    layout!(IdentifyNamespaceIndependent, 4096: nsfeat @ 0, nmic @ 1, rescap @ 2, fpi @ 3, anagrpid @ 4, nsattr @ 8, nvmsetid @ 10, endgid @ 12, nstat @ 14);
    // struct nvme_smart_log
    layout!(SmartLog, 512: critical_warning @ 0, temperature_k @ 1, available_spare @ 3, available_spare_threshold @ 4, percentage_used @ 5, endurance_group_warning @ 6, data_units_read @ 32, data_units_written @ 48, host_reads @ 64, host_writes @ 80, controller_busy_minutes @ 96, power_cycles @ 112, power_on_hours @ 128, unsafe_shutdowns @ 144, media_errors @ 160, error_log_entries @ 176, warning_temperature_minutes @ 192, critical_temperature_minutes @ 196);
    // struct nvme_error_log_page
    layout!(ErrorLogEntry, 64: error_count @ 0, sqid @ 8, cid @ 10, status_phase @ 12, lba @ 16, nsid @ 24, vendor_log @ 28, trtype @ 29, command_specific @ 32);
    // struct nvme_cmd_effects_log
    layout!(EffectsLog, 4096: admin @ 0, io @ 1024);
    // struct nvme_firmware_slot
    layout!(FirmwareSlotLog, 512: afi @ 0, frs @ 8);
    // struct nvme_self_test_log
    layout!(SelfTestLog, 564: current_operation @ 0, completion @ 1, results @ 4);
    // struct nvme_st_result
    layout!(SelfTestResult, 28: status @ 0, segment @ 1, valid @ 2, power_on_hours @ 4, nsid @ 12, failing_lba @ 16, sct @ 24, sc @ 25, vendor @ 26);
    // struct nvme_sanitize_log_page
    layout!(SanitizeLog, 512: sprog @ 0, sstat @ 2, scdw10 @ 4, estimates @ 8);
    // struct nvme_zns_id_ns, nvme_zns_lbafe, nvme_zns_id_ctrl, nvme_zone_report, nvme_zns_desc
    layout!(IdentifyNamespaceZoned, 4096: zoc @ 0, ozcs @ 2, mar_z @ 4, mor_z @ 8, rrl @ 12, frl @ 16, rrl_more @ 20, frl_more @ 32, numzrwa @ 44, zrwafg @ 48, zrwasz @ 50, zrwacap @ 52, lbafe @ 2816, vendor @ 3840);
    layout!(ZoneFormat, 16: blocks @ 0, extension @ 8);
    layout!(IdentifyControllerZoned, 4096: zasl @ 0);
    layout!(ZoneReportHeader, 64: count @ 0);
    layout!(ZoneDescriptor, 64: kind @ 0, state @ 1, attributes @ 2, information @ 3, capacity @ 8, start @ 16, write_pointer @ 24);
    // struct nvme_timestamp
    layout!(Timestamp, 8: low @ 0, attributes @ 6);
    // struct nvme_feat_host_behavior
    layout!(HostBehavior, 512: acre @ 0);
}

#[test]
fn fields_newer_than_libnvme_are_where_the_specification_has_them() {
    // Base 2.1, Figure 312.
    layout!(IdentifyController, 4096: crcap @ 134, nvmsr @ 253);
    // Base 2.1, Figure 320.
    layout!(IdentifyNamespaceIndependent, 4096: kpios @ 15, maxkt @ 16, rgrpid @ 20);
    // Base 2.1, Figure 205.
    layout!(ErrorLogEntry, 64: parameter_location @ 14, csi @ 30, opcode @ 31);
    // Base 2.1, Figure 413.
    layout!(HostBehavior, 512: acre @ 0, etdas @ 1, lbafee @ 2, hdisns @ 3, cdfe @ 4);
    // Base 2.1, Figure 403.
    layout!(Timestamp, 8: low @ 0, high @ 4, attributes @ 6);
    // Base 2.1, Figures 277 to 280.
    layout!(ReachabilityHeader, 16: change_count @ 0, count @ 8);
    layout!(ReachabilityGroup, 32: rgid @ 0, nnid @ 4, change_count @ 8);
    layout!(ReachabilityAssociation, 32: rasid @ 0, nrid @ 4, change_count @ 8, rac @ 16);
    // Base 2.1, Figures 92, 97 and 110.
    layout!(SubmissionEntry, 64: opcode @ 0, flags @ 1, cid @ 2, nsid @ 4, cdw2 @ 8, cdw3 @ 12,
        cdw4 @ 16, cdw5 @ 20, prp1 @ 24, prp2 @ 32, cdw10 @ 40, cdw15 @ 60);
    layout!(CompletionEntry, 16: result @ 0, sqhd @ 8, sqid @ 10, cid @ 12, status_phase @ 14);
    layout!(SglDescriptor, 16: address @ 0, length @ 8, identifier @ 15);
}

/// `docs/conformance.md` has the sources of these, where there are any.
#[test]
fn structures_of_memory_and_programs_are_as_documented() {
    use nvme_spec::command::*;
    layout!(IdentifyNamespacePrograms, 4096: maxact @ 0, maxmemrs @ 2, mrsg @ 4, maxmemr @ 6,
        maxpb @ 8, lpg @ 16);
    layout!(IdentifyNamespaceMemory, 4096: nsze_bytes @ 0, granularity_bytes @ 8);
    layout!(ProgramListHeader, 64: numd @ 0);
    layout!(ProgramDescriptor, 64: state @ 0, ptype @ 1, pid @ 8);
    layout!(ProgramTypesHeader, 32: numd @ 0);
    layout!(ProgramTypeDescriptor, 32: ptype @ 0, version @ 1, specific @ 8);
    layout!(RangeSetsHeader, 16: sets @ 0);
    layout!(RangeSetEntry, 16: rsid @ 0, state @ 2, numr @ 3);
    layout!(MemoryRangeDescriptor, 32: nsid @ 0, length @ 4, start @ 8);
    layout!(CopySourceBlocks, 32: snsid @ 0, slba @ 8, nlb_z @ 16, cetype @ 18, cev @ 20, sopt @ 22,
        elbt @ 24, elbat @ 28, elbatm @ 30);
    layout!(CopySourceMemory, 32: snsid @ 0, saddr @ 8, nbyte @ 16, sopt @ 22);
    layout!(DatasetRange, 16: cattr @ 0, nlb @ 4, slba @ 8);
}
