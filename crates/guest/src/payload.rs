//! What one guest is to do: a tar archive that it finds as its second disk. `init.sh` reads it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::{Builder, Header};

/// What one guest is to do.
#[derive(Default)]
pub struct Payload<'a> {
    /// A shell script.
    pub command: &'a str,
    /// The command talks to a terminal, which the guest then looks after.
    pub is_terminal: bool,
    /// Drives to wait for.
    pub drives: usize,
    /// Files of the host, to be found in the folder where the command starts.
    pub files: &'a [PathBuf],
    /// There is a network.
    pub has_network: bool,
    /// Public keys that may log in; none = nobody can.
    pub keys: &'a str,
    /// A folder of the host is there to be mounted.
    pub has_share: bool,
}

impl Payload<'_> {
    /// Writes the archive.
    pub fn write(&self, to: &Path) -> Result<()> {
        let file = File::create(to).with_context(|| to.display().to_string())?;
        let mut archive = Builder::new(std::io::BufWriter::new(file));
        // A serial line has no end of input: a command that is not typed gets none.
        let (terminal, input) =
            if self.is_terminal { ("sane", "/dev/ttyS0") } else { ("raw -echo", "/dev/null") };
        let yes = |is: bool| if is { "yes" } else { "no" };
        let settings = format!(
            "TERMINAL='{terminal}' INPUT={input} DRIVES={} NETWORK={} SSH={} SHARE={}\n",
            self.drives,
            yes(self.has_network),
            yes(!self.keys.is_empty()),
            yes(self.has_share),
        );
        add(&mut archive, "settings", 0o644, settings.as_bytes())?;
        add(&mut archive, "command", 0o644, self.command.as_bytes())?;
        add(&mut archive, "keys", 0o600, self.keys.as_bytes())?;
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        let own = std::env::current_exe().context("where csdrive is")?;
        add(&mut archive, "bin/csdrive", 0o755, &read(&own)?)?;
        // So that the folder is there without any.
        add(&mut archive, "files/.hushlogin", 0o644, &[])?;
        let mut names = BTreeSet::new();
        for file in self.files {
            let name = file.file_name().with_context(|| format!("{}: no file", file.display()))?;
            let name = name.to_string_lossy();
            if !names.insert(name.to_string()) {
                bail!("two files are named {name}: rename one, or use --share DIR");
            }
            let mode = if is_executable(file) { 0o755 } else { 0o644 };
            add(&mut archive, &format!("files/{name}"), mode, &read(file)?)?;
        }
        archive.into_inner()?.into_inner().map_err(|e| e.into_error())?;
        Ok(())
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o100 != 0)
}

fn add<W: std::io::Write>(
    archive: &mut Builder<W>,
    path: &str,
    mode: u32,
    bytes: &[u8],
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    Ok(archive.append_data(&mut header, path, bytes)?)
}
