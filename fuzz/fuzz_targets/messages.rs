//! A vfio-user client that sends anything: the server answers or ends the connection.
#![no_main]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use vfio_user::wire::{Header, Version, command};
use vfio_user::{Connection, Device, Errno, Map, Mappable};

/// Checks what the contract of [`Device`] promises.
struct Checked {
    registers: [u8; 256],
}

impl Device for Checked {
    fn region_size(&self, region: u32) -> u64 {
        if region == 0 { self.registers.len() as u64 } else { 0 }
    }

    fn mappable(&self, _: u32) -> Option<Mappable> {
        None
    }

    fn region_read(&mut self, region: u32, offset: u64, into: &mut [u8]) {
        assert_eq!(region, 0);
        into.copy_from_slice(&self.registers[offset as usize..][..into.len()]);
    }

    fn region_write(&mut self, region: u32, offset: u64, from: &[u8]) {
        assert_eq!(region, 0);
        self.registers[offset as usize..][..from.len()].copy_from_slice(from);
    }

    fn interrupts(&self, kind: u32) -> u32 {
        if kind == 2 { 4 } else { 0 }
    }

    fn set_interrupt(&mut self, kind: u32, number: u32, _: Option<OwnedFd>) {
        assert!(kind == 2 && number < 4);
    }

    fn map(&mut self, map: Map) -> Result<(), Errno> {
        assert!(map.size > 0 && map.address.checked_add(map.size).is_some());
        Ok(())
    }

    fn unmap(&mut self, _: u64, _: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn unmap_all(&mut self) {}

    fn reset(&mut self) {}
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut connection = Connection::new(theirs).unwrap();
    let mut device = Checked { registers: [0; 256] };
    // The first byte decides whether the version is negotiated already.
    let Some((first, bytes)) = bytes.split_first() else { return };
    if first % 2 == 0 {
        let mut hello = [0; 20];
        hello[2..4].copy_from_slice(&command::VERSION.to_le_bytes());
        hello[4..8].copy_from_slice(&20u32.to_le_bytes());
        assert_eq!(size_of::<Header>() + size_of::<Version>(), hello.len());
        ours.write_all(&hello).unwrap();
    }
    let mut replies = [0; 4096];
    // Pieces as long as the byte before them says, so that messages come in halves.
    for piece in bytes.chunks(usize::from(*first).max(1)) {
        if ours.write_all(piece).is_err() || connection.serve(&mut device, 64).is_err() {
            return;
        }
        while ours.read(&mut replies).is_ok_and(|n| n > 0) {}
    }
});
