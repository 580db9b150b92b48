//! Installs the C library where C programs find it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::root;

/// Builds the C library and puts it, its header and its pkg-config file below a folder (`/usr/local`, say).
pub(crate) fn install(prefix: &Path) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "-p", "libcsdrive"])
        .current_dir(root())
        .status()
        .context("cargo")?;
    ensure!(status.success(), "the library could not be built");
    let path = |part: &str| prefix.join(part);
    for folder in ["lib/pkgconfig", "include"] {
        fs::create_dir_all(path(folder)).with_context(|| path(folder).display().to_string())?;
    }
    let prefix = prefix.canonicalize()?;
    let copy = |from: &str, to: &str| {
        let (from, to) = (root().join(from), prefix.join(to));
        fs::copy(&from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))
    };
    copy("target/release/libcsdrive.so", "lib/libcsdrive.so")?;
    copy("target/release/libcsdrive.a", "lib/libcsdrive.a")?;
    copy("crates/libcsdrive/include/libcsdrive.h", "include/libcsdrive.h")?;
    let package = format!(
        "prefix={}\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\n\
         Name: csdrive\nDescription: Programs, device memory and executions of a computational storage drive\n\
         Version: {}\nLibs: -L${{libdir}} -lcsdrive\nLibs.private: -lpthread -ldl -lm\n\
         Cflags: -I${{includedir}}\n",
        prefix.display(),
        env!("CARGO_PKG_VERSION"),
    );
    let file = prefix.join("lib/pkgconfig/csdrive.pc");
    fs::write(&file, package).with_context(|| file.display().to_string())?;
    println!("{}", file.display());
    Ok(())
}
