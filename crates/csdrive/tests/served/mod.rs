//! A drive that `csdrive serve` serves, for the tests of what uses one.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// It is served as long as this is there.
pub(crate) struct Served {
    pub(crate) process: Child,
    output: BufReader<std::process::ChildStdout>,
    folder: tempfile::TempDir,
}

impl Served {
    /// Serves a drive with 16 MiB of memory, and these settings.
    #[allow(dead_code, reason = "not every test is content with these")]
    pub(crate) fn new(settings: &[&str]) -> Self {
        Self::with(&[], settings)
    }

    /// The same, with these arguments besides.
    pub(crate) fn with(arguments: &[&str], settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a file in it");
        let mut command = Command::new(env!("CARGO_BIN_EXE_csdrive"));
        command.args(["serve", "--json", "--set", "memory.size=16MiB"]).args(arguments);
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.arg("--socket").arg(folder.path().join("drive"));
        let process = command.stdout(Stdio::piped()).stderr(log).spawn().expect("csdrive runs");
        let mut process = process;
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut served = Self { process, output, folder };
        let mut line = String::new();
        served.output.read_line(&mut line).expect("it says that it is ready");
        assert!(line.contains("ready"), "{line}\n{}", served.log());
        served
    }

    /// What it prints after that.
    #[allow(dead_code, reason = "not every test waits for its end")]
    pub(crate) fn rest(&mut self) -> &mut impl std::io::Read {
        &mut self.output
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder().join("drive")
    }

    /// A folder for whatever the test wants.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the server said besides.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended, or been killed by the test.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
