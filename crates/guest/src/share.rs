//! Folders of this machine in the guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::parts::{Parts, absolute};
use crate::qemu::{tail, with_parent};

/// A folder of this machine, served by Debian's virtiofsd.
pub struct Share {
    server: Child,
    /// Where it is served.
    pub socket: PathBuf,
}

impl Share {
    /// Serves it; files of the server's are in another folder.
    ///
    /// # Errors
    /// If the server does not start.
    pub fn start(parts: &Parts, shared: &Path, folder: &Path) -> Result<Self> {
        let socket = folder.join("share");
        let log = fs::File::create(folder.join("virtiofsd"))?;
        let server = with_parent(&parts.tools().command("usr/libexec/virtiofsd"))
            .arg("--socket-path")
            .arg(&socket)
            .arg("--shared-dir")
            .arg(absolute(shared)?)
            // It does what the user may do, and needs no root.
            .args(["--sandbox", "none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("virtiofsd")?;
        let mut share = Self { server, socket };
        let start = Instant::now();
        while !share.socket.exists() {
            let has_ended = share.server.try_wait()?.is_some();
            if has_ended || start.elapsed() > Duration::from_secs(10) {
                bail!("virtiofsd does not serve: {}", tail(&folder.join("virtiofsd")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // It ends by itself when QEMU does; if not, it is ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
