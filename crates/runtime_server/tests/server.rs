//! A server and its clients over loopback: those that know the secret, and those that mean harm.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ebpf::{Engine, Invocation, Outcome, Program, Range, SharedMemory, Worker};
use runtime_server::{Client, Event, Job, Options, Secret, Server, Stopper};

/// Doubles 32-bit numbers; built from examples/programs/double.bpf.c.
const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");

/// A server, until it is dropped.
struct Running {
    address: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn new(secret: Secret) -> Self {
        Self::with_memory(secret, 64 << 20)
    }

    fn with_memory(secret: Secret, memory_bytes: usize) -> Self {
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            secret,
            memory_bytes,
            runs: 2,
            run_limit: Duration::from_secs(20),
        };
        let server = Server::new(options).unwrap();
        let (address, stopper) = (server.address().unwrap(), server.stopper());
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let tell = move |event: Event| told.lock().unwrap().push(format!("{event:?}"));
        let thread = std::thread::spawn(move || server.run(tell).unwrap());
        Self { address, stopper, thread: Some(thread), events }
    }

    /// Waits until something was told.
    fn tells(&self, what: &str) {
        let start = Instant::now();
        while !self.events.lock().unwrap().iter().any(|event| event.contains(what)) {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", self.events);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn client(&self, secret: Secret) -> Client {
        Client::new(&self.address.to_string(), secret, Duration::from_secs(20))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().map(JoinHandle::join);
    }
}

fn secret(text: &str) -> Secret {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Secret::read(file.path()).unwrap()
}

fn shared() -> Secret {
    secret("a secret that both sides know\n")
}

/// A program and its memory: range 0 gets range 1 doubled.
struct Case {
    program: Program,
    invocation: Invocation,
}

impl Case {
    fn new(bytes: u64) -> Self {
        let memory = Arc::new(SharedMemory::new(2 * bytes + 8192).unwrap());
        let numbers: Vec<u8> = (0..bytes).map(|n| (n % 127) as u8).collect();
        assert!(memory.write(bytes + 4096, &numbers));
        let range = |offset| Range { memory: memory.clone(), offset, len: bytes, writable: true };
        let ranges = vec![range(0), range(bytes + 4096)];
        let invocation = Invocation { ranges, budget: 1 << 32, ..Default::default() };
        Self { program: Program::load(DOUBLE, None).unwrap(), invocation }
    }

    fn job(&self) -> Job<'_> {
        Job { object: DOUBLE, invocation: &self.invocation, samples: 3 }
    }

    fn run_here(&self) -> Outcome {
        self.program.execute(&mut Worker::new(Engine::Auto), &self.invocation)
    }

    /// There and here.
    fn run(&self, client: &mut Client) -> Result<runtime_server::Answer, String> {
        client.begin(&self.job()).map_err(|error| error.to_string())?;
        let here = self.run_here();
        client.end(&here, &self.invocation.ranges).map_err(|error| error.to_string())
    }
}

#[test]
fn programs_run_there_and_come_to_the_same() {
    let server = Running::new(shared());
    let mut client = server.client(shared());
    for bytes in [4, 4096, 3_000_000] {
        let case = Case::new(bytes);
        let answer = case.run(&mut client).unwrap();
        assert_eq!(answer.cpu_time.samples, 3);
        assert!(Duration::ZERO < answer.cpu_time.least, "{answer:?}");
        assert!(answer.cpu_time.least <= answer.cpu_time.median);
    }
    // A program that is stopped there is stopped here, for the same reason.
    let mut case = Case::new(4096);
    case.invocation.budget = 10;
    case.run(&mut client).unwrap();
    case.invocation.ranges.clear();
    case.run(&mut client).unwrap();
}

#[test]
fn another_result_here_is_found_out() {
    let server = Running::new(shared());
    let mut client = server.client(shared());
    let case = Case::new(4096);
    client.begin(&case.job()).unwrap();
    let here = case.run_here();
    // The host wrote to the memory meanwhile.
    assert!(case.invocation.ranges[0].memory.write(0, &[9]));
    let error = client.end(&here, &case.invocation.ranges).unwrap_err().to_string();
    assert!(error.contains("left other bytes in memory"), "{error}");
    client.begin(&case.job()).unwrap();
    let mut here = case.run_here();
    here.result = Ok(0xBAD);
    let error = client.end(&here, &case.invocation.ranges).unwrap_err().to_string();
    assert!(error.contains("another result"), "{error}");
    // The connection is as good as before.
    case.run(&mut client).unwrap();
}

#[test]
fn sixty_four_clients_at_once_are_served() {
    let server = Running::new(shared());
    let cases: Vec<Case> = (0..64).map(|n| Case::new(4096 + n)).collect();
    std::thread::scope(|scope| {
        for case in &cases {
            let mut client = server.client(shared());
            scope.spawn(move || {
                for _ in 0..3 {
                    case.run(&mut client).unwrap();
                }
            });
        }
    });
}

#[test]
fn who_does_not_know_the_secret_is_turned_away() {
    let server = Running::new(shared());
    for wrong in [secret("another secret, as long"), Secret::none()] {
        let error = Case::new(4).run(&mut server.client(wrong)).unwrap_err();
        assert!(error.contains("does not know the secret"), "{error}");
    }
    server.tells("Refused");
    Case::new(4).run(&mut server.client(shared())).unwrap();
    // A client does not speak with a server that does not know it, either.
    let open = Running::new(Secret::none());
    let error = Case::new(4).run(&mut open.client(shared())).unwrap_err();
    assert!(error.contains("does not know the secret"), "{error}");
    Case::new(4).run(&mut open.client(Secret::none())).unwrap();
}

#[test]
fn a_server_that_is_gone_slow_or_another_is_an_error() {
    let server = Running::new(shared());
    let address = server.address;
    let mut client = server.client(shared());
    let case = Case::new(4096);
    case.run(&mut client).unwrap();
    drop(server);
    let error = case.run(&mut client).unwrap_err();
    assert!(error.contains(&address.to_string()), "{error}");
    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = silent.local_addr().unwrap().to_string();
    let mut client = Client::new(&name, shared(), Duration::from_millis(200));
    let error = case.run(&mut client).unwrap_err();
    assert!(error.contains("in time"), "{error}");
    // A web server, and a csdrive of another version.
    for (says, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "no message of a runtime server"),
        (b"CSRT\x63\0\x01\0\0\0\0\0", "version 99"),
        (b"CSRT\x01\0\x01\0\xff\xff\xff\xff", "4294967295 bytes"),
    ] {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = other.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            stream.write_all(says).unwrap();
            stream
        });
        let error = case.run(&mut Client::new(&name, shared(), Duration::from_secs(5)));
        let error = error.unwrap_err();
        assert!(error.contains(expected), "{error}");
        thread.join().unwrap();
    }
}

#[test]
fn a_run_that_is_too_large_or_no_program_is_refused_and_says_why() {
    let server = Running::with_memory(shared(), 4 << 20);
    let mut client = server.client(shared());
    let error = Case::new(5_000_000).run(&mut client).unwrap_err();
    assert!(error.contains("larger --memory"), "{error}");
    let case = Case::new(4096);
    let job = Job { object: b"text", ..case.job() };
    client.begin(&job).unwrap();
    let error = client.end(&case.run_here(), &case.invocation.ranges).unwrap_err().to_string();
    assert!(error.contains("not an ELF file"), "{error}");
    case.run(&mut client).unwrap();
}

/// Bytes that a raw client sends after it connected; returns what came back until the server hung up.
fn raw(address: SocketAddr, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let mut back = Vec::new();
    let _ = stream.read_to_end(&mut back);
    back
}

#[test]
fn garbage_and_messages_that_are_too_long_end_the_connection() {
    let server = Running::new(shared());
    let header = |kind: u16, bytes: u32| {
        [&b"CSRT\x01\0"[..], &kind.to_le_bytes(), &bytes.to_le_bytes()].concat()
    };
    let noise: Vec<u8> = (0..100_000u32).map(|n| ((n * 7919) >> 3) as u8).collect();
    for bytes in [noise, header(2, u32::MAX), header(7, 1 << 30), header(4, 32), header(0, 0)] {
        let back = raw(server.address, &[&bytes]);
        assert!(back.len() <= 12 + 32 + 12 + 200, "{} bytes", back.len());
    }
    Case::new(4).run(&mut server.client(shared())).unwrap();
}

#[test]
fn a_client_that_drips_is_let_go() {
    let server = Running::new(shared());
    let start = Instant::now();
    let mut streams: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    // A byte now and then of a message that would be right.
    let mut message = b"CSRT\x01\0\x02\0\x40\0\0\0".to_vec();
    message.extend([0; 64]);
    let mut is_gone = false;
    for byte in message {
        is_gone = streams.iter_mut().all(|stream| stream.write_all(&[byte]).is_err());
        if is_gone || start.elapsed() > Duration::from_secs(15) {
            break;
        }
        // Others are served meanwhile.
        Case::new(4).run(&mut server.client(shared())).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(is_gone, "after {:?}", start.elapsed());
    server.tells("did not send or take a whole message in time");
}

/// Passes bytes on between a client and the server, and keeps those of the client; `change` may do something to each piece.
fn relay(
    server: SocketAddr,
    change: impl Fn(usize, &mut Vec<u8>) + Send + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut there = TcpStream::connect(server).unwrap();
        let (mut back, mut client_back) = (there.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back, &mut client_back));
        let mut buffer = vec![0; 65536];
        let mut number = 0;
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let mut piece = buffer[..count].to_vec();
            keep.lock().unwrap().extend(&piece);
            change(number, &mut piece);
            number += 1;
            if there.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = there.shutdown(std::net::Shutdown::Both);
    });
    (address, kept)
}

#[test]
fn messages_that_are_replayed_or_changed_are_found_out() {
    let server = Running::new(shared());
    let case = Case::new(4096);
    let (address, kept) = relay(server.address, |_, _| {});
    case.run(&mut Client::new(&address.to_string(), shared(), Duration::from_secs(20))).unwrap();
    // All that the client sent, again: the server's nonce is another.
    let said = kept.lock().unwrap().clone();
    let back = raw(server.address, &[&said]);
    assert!(String::from_utf8_lossy(&back).contains("does not know the secret"));
    // The last message twice, within a session: it is counted.
    let (address, _) = relay(server.address, |number, piece| {
        if number > 0 && piece.len() > 60 {
            piece.extend(piece.clone());
        }
    });
    let mut client = Client::new(&address.to_string(), shared(), Duration::from_secs(5));
    assert!(case.run(&mut client).and_then(|_| case.run(&mut client)).is_err());
    // One bit of the messages after the greeting.
    let (address, _) = relay(server.address, |number, piece| {
        if number > 0 {
            piece[20] ^= 1;
        }
    });
    let mut client = Client::new(&address.to_string(), shared(), Duration::from_secs(5));
    assert!(case.run(&mut client).is_err());
    server.tells("changed or replayed");
}

#[test]
fn strangers_do_not_keep_out_who_knows_the_secret_for_long() {
    let server = Running::new(shared());
    let strangers: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    server.tells("have not greeted: try again");
    let error = Case::new(4).run(&mut server.client(shared())).unwrap_err();
    assert!(error.contains("the server refuses"), "{error}");
    drop(strangers);
    let start = Instant::now();
    while Case::new(4).run(&mut server.client(shared())).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A server that reads slowly: the time for an answer is the time for sending, too.
#[test]
fn a_server_that_takes_its_time_to_read_is_slow() {
    let server = Running::new(shared());
    let (address, _) = relay(server.address, |_, _| std::thread::sleep(Duration::from_millis(100)));
    let case = Case::new(16_000_000);
    let start = Instant::now();
    let mut client = Client::new(&address.to_string(), shared(), Duration::from_secs(1));
    let error = case.run(&mut client).unwrap_err();
    assert!(error.contains("in time"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn secrets_have_a_length() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "short\n").unwrap();
    let error = Secret::read(file.path()).unwrap_err().to_string();
    assert!(error.contains("5 bytes") && error.contains("/dev/urandom"), "{error}");
    assert!(Secret::read(std::path::Path::new("/nowhere")).is_err());
}
