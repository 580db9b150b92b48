//! A Debian system as an archive: packages unpacked with their owners, and dpkg's records of them.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use md5::{Digest, Md5};
use tar::{Builder, EntryType, Header};

use crate::Error;

/// Folders of the root that are links into `usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Where dpkg keeps what it knows.
const DATABASE: &str = "var/lib/dpkg";

/// A root file system under way, as a tar archive.
///
/// Its packages are "unpacked" in dpkg's sense: `dpkg --configure -a` in the running system runs their scripts.
pub struct System<W: Write> {
    tar: Builder<W>,
    seen: HashSet<PathBuf>,
    status: String,
}

impl<W: Write> System<W> {
    /// An empty system with the folders that every system has.
    ///
    /// # Errors
    /// If the archive cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let mut system =
            Self { tar: Builder::new(out), seen: HashSet::new(), status: String::new() };
        for name in MERGED {
            let target = Path::new("usr").join(name);
            system.folder(&target)?;
            system.link(Path::new(name), &target)?;
        }
        for name in ["dev", "proc", "sys", "run", "tmp", "mnt", "root"] {
            system.folder(Path::new(name))?;
        }
        Ok(system)
    }

    /// Unpacks a package.
    ///
    /// # Errors
    /// If it is damaged or the archive cannot be written.
    pub fn package(&mut self, package: &Path) -> Result<(), Error> {
        let mut control = Control::read(package)?;
        let mut stream = Stream::open(package, "--fsys-tarfile")?;
        let mut list = String::from("/.\n");
        let failed = |e| Error::file(package)(e);
        for entry in stream.archive().entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let path = merged(&entry.path().map_err(failed)?);
            if path.as_os_str().is_empty() {
                continue;
            }
            list.push_str(&format!("/{}\n", path.display()));
            if let Some(parent) = path.parent() {
                self.folder(parent).map_err(failed)?;
            }
            let is_new = self.seen.insert(path.clone());
            let mut header = entry.header().clone();
            match header.entry_type() {
                // Folders that several packages have, and base-files' links to usr.
                EntryType::Directory | EntryType::Symlink if !is_new => {}
                kind @ (EntryType::Symlink | EntryType::Link) => {
                    let target = entry.link_name().map_err(failed)?.unwrap_or_default();
                    // A hard link names a path in the archive.
                    let target =
                        if kind == EntryType::Link { merged(&target) } else { target.into() };
                    self.tar.append_link(&mut header, &path, &target).map_err(failed)?;
                }
                _ if control.conffiles.contains_key(&path) => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).map_err(failed)?;
                    let hash: String =
                        Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                    control.conffiles.insert(path.clone(), hash);
                    self.tar.append_data(&mut header, &path, &*bytes).map_err(failed)?;
                }
                _ => self.tar.append_data(&mut header, &path, &mut entry).map_err(failed)?,
            }
        }
        stream.finish()?;
        self.record(&control, &list).map_err(failed)
    }

    /// Tells dpkg of a package.
    fn record(&mut self, control: &Control, list: &str) -> io::Result<()> {
        let info = Path::new(DATABASE).join("info");
        for (name, (mode, bytes)) in &control.files {
            self.file(&info.join(format!("{}.{name}", control.name)), *mode, bytes)?;
        }
        self.file(&info.join(format!("{}.list", control.name)), 0o644, list.as_bytes())?;
        self.status.push_str(&control.stanza());
        Ok(())
    }

    /// Adds a file that belongs to no package.
    ///
    /// # Errors
    /// If the archive cannot be written.
    pub fn file(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.seen.insert(path.to_owned());
        let mut header = header(EntryType::Regular, mode);
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes)
    }

    /// Adds the files of a folder of this machine, as root's.
    ///
    /// # Errors
    /// If one cannot be read, or the archive not be written.
    pub fn tree(&mut self, from: &Path, at: &Path) -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (path, inside) = (entry.path(), at.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.tree(&path, &inside)?;
            } else if kind.is_file() {
                self.file(&inside, 0o644, &fs::read(&path)?)?;
            }
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.tar.append_data(&mut header(EntryType::Directory, 0o755), path, io::empty())
    }

    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        self.seen.insert(path.to_owned());
        self.tar.append_link(&mut header(EntryType::Symlink, 0o777), path, target)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        let database = Path::new(DATABASE);
        let status = std::mem::take(&mut self.status);
        self.file(&database.join("status"), 0o644, status.as_bytes())?;
        self.file(&database.join("available"), 0o644, &[])?;
        self.file(&database.join("info/format"), 0o644, b"1\n")?;
        for folder in ["updates", "triggers", "parts", "alternatives"] {
            self.folder(&database.join(folder))?;
        }
        self.tar.into_inner()
    }
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header
}

/// A path of a package without its beginning, and with `bin` and its like below `usr`.
fn merged(path: &Path) -> PathBuf {
    let plain = path.components().filter(|c| matches!(c, Component::Normal(_)));
    let plain: PathBuf = plain.collect();
    match plain.iter().next().and_then(|first| first.to_str()) {
        Some(first) if MERGED.contains(&first) => Path::new("usr").join(plain),
        _ => plain,
    }
}

/// What dpkg keeps of a package.
struct Control {
    /// Its name in dpkg's files.
    name: String,
    text: String,
    /// Scripts and lists, with their modes.
    files: BTreeMap<String, (u32, Vec<u8>)>,
    /// Configuration files and their hashes.
    conffiles: BTreeMap<PathBuf, String>,
}

impl Control {
    fn read(package: &Path) -> Result<Self, Error> {
        let mut stream = Stream::open(package, "--ctrl-tarfile")?;
        let failed = |e| Error::file(package)(e);
        let mut files = BTreeMap::new();
        for entry in stream.archive().entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            if entry.header().entry_type() != EntryType::Regular {
                continue;
            }
            let path = entry.path().map_err(failed)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mode = entry.header().mode().map_err(failed)?;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(failed)?;
            files.insert(name, (mode, bytes));
        }
        stream.finish()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let control = files.remove("control").map(|(_, bytes)| text(&bytes)).unwrap_or_default();
        let field = |name: &str| {
            let mut values = control.lines().filter_map(|line| line.strip_prefix(name));
            values.next().and_then(|rest| rest.strip_prefix(": ")).map(str::trim)
        };
        let Some(mut name) = field("Package").map(str::to_owned) else {
            let message = format!("{} names no package", package.display());
            return Err(Error::Failed { program: "dpkg-deb", message });
        };
        if field("Multi-Arch") == Some("same") {
            name = format!("{name}:{}", field("Architecture").unwrap_or("amd64"));
        }
        let conffiles = files.get("conffiles").map(|(_, bytes)| text(bytes)).unwrap_or_default();
        // A line may also say "remove-on-upgrade PATH": such a file is not in the package.
        let paths = conffiles.lines().filter(|line| line.starts_with('/'));
        let conffiles = paths.map(|line| (merged(Path::new(line.trim())), String::new())).collect();
        Ok(Self { name, text: control, files, conffiles })
    }

    /// Its paragraph in dpkg's status file.
    fn stanza(&self) -> String {
        let (first, rest) = self.text.trim_end().split_once('\n').unwrap_or((&self.text, ""));
        let mut stanza = format!("{first}\nStatus: install ok unpacked\n{rest}\n");
        let there: Vec<_> = self.conffiles.iter().filter(|(_, hash)| !hash.is_empty()).collect();
        if !there.is_empty() {
            stanza.push_str("Conffiles:\n");
            for (path, hash) in there {
                stanza.push_str(&format!(" /{} {hash}\n", path.display()));
            }
        }
        stanza.push('\n');
        stanza
    }
}

/// A part of a package, read from dpkg-deb.
struct Stream {
    child: Child,
    archive: tar::Archive<ChildStdout>,
}

const UNPACKER: &str = "dpkg-deb";

impl Stream {
    fn open(package: &Path, part: &str) -> Result<Self, Error> {
        let mut child = Command::new(UNPACKER)
            .arg(part)
            .arg(package)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|cause| Error::Program { program: UNPACKER, cause })?;
        let out = child.stdout.take().expect("it was asked for");
        Ok(Self { child, archive: tar::Archive::new(out) })
    }

    fn archive(&mut self) -> &mut tar::Archive<ChildStdout> {
        &mut self.archive
    }

    /// Reads to the end, and hears whether dpkg-deb had any complaint.
    fn finish(self) -> Result<(), Error> {
        let Self { mut child, archive } = self;
        let copied = io::copy(&mut archive.into_inner(), &mut io::sink());
        let status = child.wait().and_then(|status| copied.map(|_| status));
        let status = status.map_err(Error::file(UNPACKER))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Failed { program: UNPACKER, message: status.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_usr_and_inside() {
        for (given, expected) in [
            ("./bin/sh", "usr/bin/sh"),
            ("./lib64", "usr/lib64"),
            ("usr/bin/env", "usr/bin/env"),
            ("./library/x", "library/x"),
            ("../../etc/passwd", "etc/passwd"),
            ("./", ""),
        ] {
            assert_eq!(merged(Path::new(given)), Path::new(expected));
        }
    }

    #[test]
    fn a_package_becomes_files_and_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("small");
        fs::create_dir_all(source.join("DEBIAN")).unwrap();
        fs::create_dir_all(source.join("etc")).unwrap();
        fs::create_dir_all(source.join("bin")).unwrap();
        let control = "Package: small\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: x\n y\n";
        fs::write(source.join("DEBIAN/control"), control).unwrap();
        fs::write(source.join("DEBIAN/conffiles"), "/etc/small.conf\n").unwrap();
        fs::write(source.join("etc/small.conf"), "a").unwrap();
        fs::write(source.join("bin/small"), "b").unwrap();
        let package = folder.path().join("small.deb");
        let mut build = Command::new(UNPACKER);
        build
            .args(["--root-owner-group", "--build"])
            .arg(&source)
            .arg(&package)
            .stdout(Stdio::null());
        assert!(build.status().expect("dpkg-deb runs").success());

        let mut system = System::new(Vec::new()).unwrap();
        system.package(&package).unwrap();
        let bytes = system.finish().unwrap();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(&*bytes).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), text);
        }
        assert_eq!(files["usr/bin/small"], "b");
        let mut list: Vec<&str> = files["var/lib/dpkg/info/small.list"].lines().collect();
        list.sort_unstable();
        assert_eq!(list, ["/.", "/etc", "/etc/small.conf", "/usr/bin", "/usr/bin/small"]);
        let expected = "Package: small\nStatus: install ok unpacked\nVersion: 1\nArchitecture: all\n\
                        Maintainer: A <a@b.c>\nDescription: x\n y\nConffiles:\n \
                        /etc/small.conf 0cc175b9c0f1b6a831c399e269772661\n\n";
        assert_eq!(files["var/lib/dpkg/status"], expected);

        fs::write(&package, "no package").unwrap();
        assert!(System::new(Vec::new()).unwrap().package(&package).is_err());
    }
}
