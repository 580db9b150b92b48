//! A private configuration of apt, and downloads by it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Error;

/// How far a download is: bytes there, and bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Where apt keeps the machine's sources.
const SOURCES: &str = "/etc/apt/sources.list.d";

/// The key ring of Debian's package debian-archive-keyring, for sources that name none.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A file that a download needs.
struct Wanted {
    name: String,
    bytes: u64,
}

/// Suites of Debian, seen through a private configuration of apt in a folder.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Reads the package lists of suites, for architectures (the first is the main one).
    ///
    /// # Errors
    /// If this is no Debian, its mirror cannot be reached or the folder not be written.
    pub fn open(folder: &Path, suites: &[&str], architectures: &[&str]) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let folder = folder.canonicalize().map_err(Error::file(folder))?;
        for part in ["etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "lists/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(Error::file(path))?;
        }
        let (uri, key) = mirror()?;
        let list = architectures.join(",");
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb [arch={list} signed-by={key}] {uri} {suite} main\n"))
            .collect();
        let path = |part: &str| folder.join(part).display().to_string();
        let quoted: String = architectures.iter().map(|a| format!("\"{a}\"; ")).collect();
        let configuration = format!(
            "Dir::Etc \"{etc}\";\nDir::State \"{state}\";\nDir::State::status \"{status}\";\n\
             Dir::State::lists \"{lists}\";\nDir::Cache \"{state}\";\n\
             APT::Architecture \"{main}\";\nAPT::Architectures {{ {quoted}}};\n\
             APT::Install-Recommends \"false\";\nAPT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\nAcquire::Check-Valid-Until \"false\";\n\
             Acquire::Retries \"3\";\nAPT::Update::Error-Mode \"any\";\n",
            etc = path("etc"),
            state = folder.display(),
            status = path("status"),
            lists = path("lists"),
            main = architectures[0],
        );
        // No package is installed there, so every dependency is fetched.
        for (name, text) in
            [("etc/sources.list", &*sources), ("status", ""), ("apt.conf", &*configuration)]
        {
            let file = folder.join(name);
            fs::write(&file, text).map_err(Error::file(file))?;
        }
        let archive = Self { folder };
        archive.run("apt-get", &["-qq", "update"])?;
        Ok(archive)
    }

    /// Downloads packages and all they depend on into a folder, from a suite as far as it has them; gives
    /// the files.
    ///
    /// # Errors
    /// If there is no such package or it cannot be fetched.
    pub fn download(
        &self,
        (suite, packages): (&str, &[&str]),
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Vec<PathBuf>, Error> {
        let partial = into.join("partial");
        fs::create_dir_all(&partial).map_err(Error::file(&partial))?;
        // Asked with an empty cache, apt names every file.
        let empty = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
        let wanted = self.wanted(&install((suite, packages), empty.path()))?;
        let total = wanted.iter().map(|file| file.bytes).sum();
        let there = || -> u64 {
            let size = |path: PathBuf| fs::metadata(path).map_or(0, |m| m.len());
            let sizes = wanted.iter().map(|file| {
                size(into.join(&file.name)).max(size(partial.join(&file.name))).min(file.bytes)
            });
            sizes.sum()
        };
        let mut child = self
            .command("apt-get")
            .args(install((suite, packages), into))
            .args(["-qq", "--download-only"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| Error::Program { program: "apt-get", cause })?;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(Error::file("apt-get"))? {
                break status;
            }
            progress(there(), total);
            std::thread::sleep(Duration::from_millis(100));
        };
        if !status.success() {
            let mut message = String::new();
            if let Some(mut errors) = child.stderr.take() {
                // What cannot be read cannot be shown.
                let _ = errors.read_to_string(&mut message);
            }
            return Err(Error::of_apt("apt-get", &message));
        }
        progress(total, total);
        Ok(wanted.into_iter().map(|file| into.join(file.name)).collect())
    }

    /// The name of the package that a package depends on whose name begins so.
    ///
    /// # Errors
    /// If it depends on none.
    pub fn dependency(&self, package: &str, prefix: &str) -> Result<String, Error> {
        let text = self.run("apt-cache", &["depends", package])?;
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        names.into_iter().find(|name| name.starts_with(prefix)).map(str::to_owned).ok_or_else(
            || {
                let message = format!("{package} depends on no package {prefix}...");
                Error::Failed { program: "apt-cache", message }
            },
        )
    }

    /// The files that an installation asked for so would fetch.
    fn wanted(&self, install: &[String]) -> Result<Vec<Wanted>, Error> {
        let mut arguments: Vec<&str> = install.iter().map(String::as_str).collect();
        arguments.extend(["-qq", "--print-uris"]);
        let text = self.run("apt-get", &arguments)?;
        // 'URI' NAME BYTES HASH
        let file = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            Some(Wanted { name: words.next()?.to_owned(), bytes: words.next()?.parse().ok()? })
        };
        Ok(text.lines().filter(|line| line.starts_with('\'')).filter_map(file).collect())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C");
        command
    }

    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<String, Error> {
        run(program, self.command(program).args(arguments))
    }
}

/// Arguments of apt-get that install packages, with a cache of one's own.
fn install((suite, packages): (&str, &[&str]), into: &Path) -> Vec<String> {
    let into = format!("Dir::Cache::archives={}", into.display());
    let fixed = ["-y", "-t", suite, "-o", &into, "install"];
    fixed.iter().chain(packages).map(|&word| word.to_owned()).collect()
}

/// Runs a command to its end; gives what it printed.
pub(crate) fn run(program: &'static str, command: &mut Command) -> Result<String, Error> {
    let output = command.output().map_err(|cause| Error::Program { program, cause })?;
    if !output.status.success() {
        // Why a mirror cannot be reached may stand in the one, and what follows from it in the other.
        let words = [output.stderr, output.stdout].concat();
        return Err(Error::of_apt(program, &String::from_utf8_lossy(&words)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The mirror and key of the machine's own sources.
fn mirror() -> Result<(String, String), Error> {
    let mut texts = Vec::new();
    if let Ok(entries) = fs::read_dir(SOURCES) {
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        texts.extend(paths.iter().filter_map(|path| fs::read_to_string(path).ok()));
    }
    texts.extend(fs::read_to_string(Path::new(SOURCES).with_extension("")));
    let found =
        texts.iter().find_map(|text| mirror_in_stanzas(text).or_else(|| mirror_in_lines(text)));
    found.ok_or_else(|| Error::Mirror(SOURCES.into()))
}

/// In the form of `*.sources` (deb822): the first stanza of Debian itself.
fn mirror_in_stanzas(text: &str) -> Option<(String, String)> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            let values = stanza.lines().filter_map(|line| line.strip_prefix(name));
            values.map(str::trim).next()
        };
        let uri = field("URIs:")?.split_whitespace().next()?;
        let key = field("Signed-By:").unwrap_or(KEYS);
        is_debian(uri).then(|| (uri.to_owned(), key.to_owned()))
    })
}

/// In the form of `sources.list`: `deb [options] URI suite components`.
fn mirror_in_lines(text: &str) -> Option<(String, String)> {
    let uris = text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        rest.split_whitespace().next()
    });
    uris.into_iter().find(|uri| is_debian(uri)).map(|uri| (uri.to_owned(), KEYS.to_owned()))
}

/// True for the main archive of Debian on any mirror: its path says so; that of security updates ends
/// otherwise.
fn is_debian(uri: &str) -> bool {
    uri.trim_end_matches('/').ends_with("/debian")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_says_becomes_a_line_with_the_remedy() {
        let text = "W: Failed to fetch http://m.example/debian/dists/trixie/InRelease  Could not resolve 'm.example'\n\
                    E: Some index files failed to download.\n";
        let error = Error::of_apt("apt-get", text).to_string();
        assert!(
            error.contains("no network") && error.contains("(Could not resolve 'm.example')"),
            "{error}"
        );
        let error =
            Error::of_apt("apt-get", "E: Write error - write (28: No space left on device)\n")
                .to_string();
        assert!(error.contains("disk is full"), "{error}");
        let error = Error::of_apt("apt-get", "E: one\n\nE: two\n").to_string();
        assert_eq!(error, "apt-get failed: E: one; E: two");
    }

    #[test]
    fn mirrors_are_found_in_both_forms() {
        let stanzas = "Types: deb\nURIs: http://m.example/debian-security\nSuites: x\n\n\
                       Types: deb\n# comment\nURIs: http://m.example/debian/\nSuites: y\nSigned-By: /k.gpg\n";
        let expected = ("http://m.example/debian/".to_owned(), "/k.gpg".to_owned());
        assert_eq!(mirror_in_stanzas(stanzas), Some(expected));
        let lines = "# deb http://no/debian x main\ndeb [arch=amd64] https://other.example y main\n\
                     deb [signed-by=/k] http://m.example/debian y main\n";
        let expected = ("http://m.example/debian".to_owned(), KEYS.to_owned());
        assert_eq!(mirror_in_lines(lines), Some(expected));
        assert_eq!(mirror_in_lines("deb\ndeb [open http://x/debian\n"), None);
        assert_eq!(mirror_in_stanzas("URIs:\n\nURIs"), None);
    }
}
