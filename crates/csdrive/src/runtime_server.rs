//! `csdrive runtime-server`, and connections of drives to one.

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use config::{parse_duration, parse_size};
use controller::{Config, CpuTime, Invocation, NewRemoteRuntime, Outcome, RemoteRuntime};
use runtime_server::{Client, Event, Job, Options, Secret, Server, Stopper};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::report::{say, tell};
use crate::{Outcome as Ended, usage};

/// Run programs for drives on other machines, to say how long they take here, until SIGTERM
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 = a free one
    #[arg(long, value_name = "tcp://HOST:PORT", default_value = "tcp://127.0.0.1:4231")]
    listen: String,
    /// File with the secret that drives must know (compute.runtime_server_secret)
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// Memory for what drives send, and of programs that run
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    memory: u64,
    /// A program that runs longer is stopped
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    run_limit: u64,
    /// Print one JSON document when it can be connected to
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    // Before any thread is there: they inherit who handles signals.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals")?;
    let address = usage(address(&arguments.listen))?;
    let secret = match &arguments.secret {
        Some(path) => usage(Secret::read(path).context("--secret"))?,
        None => Secret::none(),
    };
    if secret.is_none() && !address.ip().is_loopback() {
        tell!(
            "csdrive: note: without --secret everybody who reaches {address} can have programs run here (in a sandbox)"
        );
    }
    let server = start(address, secret, arguments.memory, arguments.run_limit)?;
    let address = server.address()?;
    if arguments.json {
        let pid = std::process::id();
        say!(
            "{}",
            json!({ "format_version": 1, "event": "ready", "address": format!("tcp://{address}"), "pid": pid })
        );
    } else {
        say!(
            "A drive asks this server with --set compute.run_time=remote --set compute.runtime_server=tcp://{address}"
        );
        say!("Serving until SIGTERM or Ctrl-C.");
    }
    // Whoever waits for this line reads a pipe; that it is closed is no reason to stop.
    let _ = std::io::stdout().flush();
    let stopper = server.stopper();
    std::thread::spawn(move || signals.forever().for_each(|_| stopper.stop()));
    server.run(|event| match event {
        Event::Connected(peer) => tell!("csdrive: {peer}: connected"),
        Event::Disconnected(peer, why) => tell!("csdrive: {peer}: {why}"),
        // Strangers can make as many of these as they like: these are limited.
        Event::Refused(peer, why) => tracing::warn!("{peer}: {why}"),
        Event::Ran(peer, time) => tracing::debug!("{peer}: a program ran, in {time:?}"),
    })?;
    Ok(Ended::Success)
}

fn address(text: &str) -> Result<SocketAddr> {
    let wrong = || anyhow!("--listen {text}: write it as tcp://0.0.0.0:4231");
    let address = text.strip_prefix("tcp://").unwrap_or(text);
    address.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)
}

fn start(listen: SocketAddr, secret: Secret, memory: u64, run_limit_ns: u64) -> Result<Server> {
    let options = Options {
        listen,
        secret,
        memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
        runs: std::thread::available_parallelism().map_or(1, usize::from),
        run_limit: Duration::from_nanos(run_limit_ns),
    };
    let server = Server::new(options);
    usage(server.with_context(|| format!("--listen {listen}: choose another address or port")))
}

/// A server of this process's own, until it is dropped.
pub(crate) struct Own {
    stopper: Stopper,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Own {
    pub(crate) fn new() -> Result<Self> {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = start(loopback, Secret::none(), 1 << 30, 60_000_000_000)?;
        let own = Self { stopper: server.stopper(), address: server.address()? };
        std::thread::spawn(move || server.run(|_| {}));
        Ok(own)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

/// Connections to the server that a drive's configuration names, if it names one.
pub(crate) fn connections(config: &Config) -> Result<Option<NewRemoteRuntime>> {
    let server = config.runtime_server.clone();
    if server.address.is_empty() {
        return Ok(None);
    }
    let secret = match &*server.secret {
        "" => Secret::none(),
        path => Secret::read(Path::new(path)).context("compute.runtime_server_secret")?,
    };
    let patience = Duration::from_nanos(server.timeout.as_ns());
    Ok(Some(NewRemoteRuntime::new(move || {
        Box::new(Remote(Client::new(&server.address, secret.clone(), patience)))
    })))
}

/// A worker's connection.
#[derive(Debug)]
struct Remote(Client);

impl RemoteRuntime for Remote {
    fn begin(
        &mut self,
        object: &[u8],
        invocation: &Invocation,
        samples: u32,
    ) -> Result<(), String> {
        self.0.begin(&Job { object, invocation, samples }).map_err(|error| error.to_string())
    }

    fn end(&mut self, here: &Outcome, invocation: &Invocation) -> Result<CpuTime, String> {
        let answer = self.0.end(here, &invocation.ranges);
        answer.map(|answer| answer.cpu_time).map_err(|error| error.to_string())
    }
}
