//! A drive that is served on a thread of the test.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use client::Driver;
use client_linux::{VfioUser, VfioUserOptions};
use controller::Config;
use emulator::{Doorbells, Event, Options, RealTimeStatistics, Server, Stopper};

pub struct Served {
    pub socket: PathBuf,
    pub events: Receiver<Event>,
    stopper: Stopper,
    thread: Option<JoinHandle<std::io::Result<RealTimeStatistics>>>,
    _folder: tempfile::TempDir,
}

/// A drive whose models take no time.
pub fn immediate() -> Config {
    let mut config = Config { command_time: Default::default(), ..Config::default() };
    config.flash.capacity_bytes = 1 << 30;
    config.flash.read_time = ssd::PageTimes::uniform(simtime::Duration::ZERO);
    config.flash.program_time = ssd::PageTimes::uniform(simtime::Duration::ZERO);
    config.flash.channel_bandwidth = simtime::Bandwidth::from_bytes_per_s(1 << 50);
    for link in [&mut config.host_link, &mut config.internal_link] {
        link.latency = Default::default();
        link.bandwidth = simtime::Bandwidth::from_bytes_per_s(1 << 50);
    }
    config.memory_bytes = 1 << 20;
    config
}

impl Served {
    pub fn new(config: Config, doorbells: Doorbells) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("drive");
        let options = Options {
            config,
            socket: socket.clone(),
            doorbells,
            remote: None,
            programs: controller::ProgramLoaders::default(),
            store: None,
            freezer: None,
            neighbours: None,
            records: None,
            history: None,
        };
        let server = Server::new(options).unwrap();
        let (send, events) = channel();
        let stopper = server.stopper();
        let thread = std::thread::spawn(move || {
            // The test may have heard enough.
            server.run(|event| drop(send.send(event)))
        });
        Self { socket, events, stopper, thread: Some(thread), _folder: folder }
    }

    pub fn host(&self, options: VfioUserOptions) -> Driver<VfioUser> {
        host(&self.socket, options)
    }

    pub fn stop(mut self) -> RealTimeStatistics {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

pub fn host(socket: &Path, options: VfioUserOptions) -> Driver<VfioUser> {
    let queues = options.queues;
    Driver::new(VfioUser::connect(socket, options).unwrap(), queues, 64).unwrap()
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}
