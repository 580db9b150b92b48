//! A controller behind a vfio-user socket, without a virtual machine: `csdrive serve` is the other side.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::vfio_user::{Client, Error, Mapping, wire::pci};
use nvme_spec::{PAGE_SIZE, offset};
use pacer::{Limits, Pacer, Wait};
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::time::Timespec;

use client::{DmaMemory, PageAllocator, Port};

/// How long a host that polls does so before it lets the drive wake it.
const SPIN: Limits = Limits { min: Duration::from_micros(50), max: Duration::from_millis(10) };

/// After so many completions without a sleep, a host that polls wants no interrupts any more.
const QUIET: u32 = 1000;

/// Where the shared memory begins for the controller.
const BASE: u64 = 1 << 32;

/// Memory that a controller in another process reaches.
#[derive(Debug)]
pub struct SharedRam {
    map: Mapping,
    pages: PageAllocator,
}

impl DmaMemory for SharedRam {
    /// # Panics
    /// If all of it is taken.
    fn take_pages(&mut self, pages: u64) -> u64 {
        let offset = self.pages.take(pages);
        assert!(self.pages.used() <= self.map.len(), "all {} bytes are taken", self.map.len());
        BASE + offset
    }

    fn give_pages(&mut self, address: u64, pages: u64) {
        self.pages.give(address - BASE, pages);
    }

    #[inline]
    fn put(&mut self, address: u64, bytes: &[u8]) {
        let is_inside = self.map.write(address.wrapping_sub(BASE), bytes);
        assert!(is_inside, "hosts write memory they took");
    }

    #[inline]
    fn get(&self, address: u64, into: &mut [u8]) {
        let is_inside = self.map.read(address.wrapping_sub(BASE), into);
        assert!(is_inside, "hosts read memory they took");
    }
}

/// How to learn of completions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// By looking at the queues again and again: fastest, and takes a processor. If another thread wants that
    /// processor (the drive's own, perhaps), or nothing comes for long, interrupts take over for a while.
    Poll,
    /// By interrupts: sleeps meanwhile.
    Interrupts,
}

/// How to connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VfioUserOptions {
    /// Bytes of memory for queues and buffers; the machine provides what is used of it.
    pub memory_bytes: u64,
    /// I/O queue pairs that will be used, at most.
    pub queues: u16,
    /// How to learn of completions.
    pub waiting: Waiting,
    /// How long the drive may take for a command before it counts as gone.
    pub patience: Duration,
}

impl Default for VfioUserOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            queues: 1,
            waiting: Waiting::Interrupts,
            patience: Duration::from_secs(30),
        }
    }
}

/// A controller behind a vfio-user socket.
#[derive(Debug)]
pub struct VfioUser {
    client: Client,
    memory: SharedRam,
    doorbells: Option<Mapping>,
    eventfds: Vec<OwnedFd>,
    /// The server signals the eventfds.
    has_interrupts: bool,
    /// While it polls: whether it had better sleep.
    pacer: Pacer,
    /// Completions since it last slept.
    without_sleep: u32,
    options: VfioUserOptions,
    /// When it was first seen, since the last submission, that it takes long.
    waits_since: Option<Instant>,
    failed: Option<Error>,
    looks: u32,
}

impl VfioUser {
    /// Connects, shares memory and resets the controller.
    ///
    /// # Errors
    /// If nobody serves there, or this machine has no memory left.
    pub fn connect(socket: &Path, options: VfioUserOptions) -> Result<Self, Error> {
        let mut client = Client::connect(socket, options.patience)?;
        let bytes = options.memory_bytes.next_multiple_of(PAGE_SIZE);
        let (map, file) = Mapping::new("csdrive-host", bytes as usize).map_err(Error::Memory)?;
        client.map(BASE, bytes, file.as_fd())?;
        client.reset()?;
        let (_, area) = client.region(pci::BAR0)?;
        let doorbells = match area {
            Some(area) if area.offset == offset::DOORBELLS => {
                let at = area.file_offset.saturating_add(area.offset);
                Some(Mapping::of_peer(area.file, at, area.size, true).map_err(Error::Memory)?)
            }
            _ => None,
        };
        let vectors = client.interrupts(pci::MSIX)?.min(u32::from(options.queues) + 1);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let mut eventfds = Vec::new();
        for _ in 0..vectors {
            let eventfd = rustix::event::eventfd(0, flags);
            eventfds.push(eventfd.map_err(|error| Error::Memory(error.into()))?);
        }
        let mut port = Self {
            client,
            memory: SharedRam { map, pages: PageAllocator::default() },
            doorbells,
            eventfds,
            has_interrupts: false,
            pacer: Pacer::new(SPIN),
            without_sleep: 0,
            options,
            waits_since: None,
            failed: None,
            looks: 0,
        };
        if options.waiting == Waiting::Interrupts {
            port.set_interrupts(true)?;
        }
        Ok(port)
    }

    /// Has the server signal the eventfds, or not.
    fn set_interrupts(&mut self, on: bool) -> Result<(), Error> {
        self.has_interrupts = on;
        if !on {
            return self.client.clear_interrupts(pci::MSIX);
        }
        let borrowed: Vec<_> = self.eventfds.iter().map(AsFd::as_fd).collect();
        self.client.set_interrupts(pci::MSIX, &borrowed)
    }

    /// Why nothing works any more, if so.
    pub fn failure(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// True if the server is there and has not taken too long.
    fn is_alive(&mut self) -> bool {
        self.waits_since.get_or_insert_with(Instant::now).elapsed() < self.options.patience
            && self.client.is_connected()
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.failed.get_or_insert(error)).ok()
    }

    /// Sleeps until an interrupt, or for so long; false if there is none for too long, or the server is gone.
    fn sleep(&mut self, limit: Option<Duration>) -> bool {
        let waited = self.waits_since.get_or_insert_with(Instant::now).elapsed();
        let patience = self.options.patience.saturating_sub(waited);
        let limit = limit.filter(|limit| *limit < patience);
        // Longer than a lifetime: for ever.
        let timeout = Timespec::try_from(limit.unwrap_or(patience)).ok();
        let mut fds: Vec<PollFd<'_>> =
            self.eventfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        // Doorbells that the socket did not take yet.
        let out = if self.client.wants_to_send() { PollFlags::OUT } else { PollFlags::empty() };
        fds.push(PollFd::new(&self.client, PollFlags::IN | out));
        let began = Instant::now();
        let woken = rustix::event::poll(&mut fds, timeout.as_ref());
        let (socket, interrupts) = fds.split_last().expect("the socket is one");
        let is_interrupt = interrupts.iter().any(|fd| fd.revents().contains(PollFlags::IN));
        let is_socket = !socket.revents().is_empty();
        if is_interrupt && self.options.waiting == Waiting::Poll {
            // It looks at every queue anyway.
            self.eventfds.iter().for_each(|eventfd| {
                let _ = rustix::io::read(eventfd, &mut [0; 8]);
            });
        }
        match woken {
            Ok(0) => limit.is_some(),
            Ok(_) => {
                self.waits_since = None;
                self.pacer.was_blocked(began, Instant::now());
                is_interrupt || !is_socket || self.client.is_connected()
            }
            Err(error) => error == rustix::io::Errno::INTR,
        }
    }
}

impl Port for VfioUser {
    type Memory = SharedRam;

    /// All ones if the server is gone, as a device that was pulled out reads.
    fn register_read(&mut self, at: u64, size: usize) -> u64 {
        let mut bytes = [0xFF; 8];
        let read = self.client.region_read(pci::BAR0, at, &mut bytes[..size]);
        self.note(read);
        bytes[size..].fill(0);
        u64::from_le_bytes(bytes)
    }

    #[inline]
    fn register_write(&mut self, at: u64, size: usize, value: u64) {
        if at >= offset::DOORBELLS {
            if let Some(page) = &self.doorbells
                && let Some(word) = page.word(at - offset::DOORBELLS)
            {
                return word.store(value as u32, Ordering::Release);
            }
            let posted = self.client.region_post(pci::BAR0, at, &value.to_le_bytes()[..size]);
            self.note(posted);
            return;
        }
        let written = self.client.region_write(pci::BAR0, at, &value.to_le_bytes()[..size]);
        self.note(written);
    }

    #[inline]
    fn memory(&mut self) -> &mut SharedRam {
        &mut self.memory
    }

    /// The drive works by itself.
    #[inline]
    fn settle(&mut self) {
        self.waits_since = None;
    }

    #[inline]
    fn answered(&mut self) {
        self.waits_since = None;
        self.pacer.found_work();
        if self.has_interrupts && self.options.waiting == Waiting::Poll {
            self.without_sleep += 1;
            if self.without_sleep > QUIET {
                // Nobody sleeps: signalling is for nothing.
                let cleared = self.set_interrupts(false);
                self.note(cleared);
            }
        }
    }

    fn wait(&mut self, limit: Option<Duration>) -> bool {
        if self.failed.is_some() {
            return false;
        }
        if self.options.waiting == Waiting::Interrupts {
            return self.sleep(limit);
        }
        std::hint::spin_loop();
        self.looks = self.looks.wrapping_add(1);
        if limit == Some(Duration::ZERO) {
            // A look at clock and socket costs more than one at a queue.
            return !self.looks.is_multiple_of(64) || self.is_alive();
        }
        let now = Instant::now();
        if self.pacer.found_nothing(now) == Wait::Spin {
            return !self.looks.is_multiple_of(4096) || self.is_alive();
        }
        if !self.has_interrupts {
            let set = self.set_interrupts(true);
            // What completed meanwhile was not signalled: the queues are looked at once more before it sleeps.
            return self.note(set).is_some();
        }
        self.without_sleep = 0;
        self.sleep(limit)
    }

    #[inline]
    fn take_interrupts(&mut self, vectors: &mut Vec<u16>) {
        match self.options.waiting {
            // As if every queue had raised its own.
            Waiting::Poll => vectors.extend(0..=self.options.queues),
            Waiting::Interrupts => {
                let raised = |(_, eventfd): &(usize, &OwnedFd)| {
                    rustix::io::read(eventfd, &mut [0; 8]).is_ok()
                };
                let found = self.eventfds.iter().enumerate().filter(raised);
                vectors.extend(found.map(|(vector, _)| vector as u16));
            }
        }
    }
}
