//! `csdrive completion` and `csdrive man`: what shells and `man` want to know of the command line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap_complete::Shell;

use crate::Outcome;
use crate::input::write_all;

/// Print a script that completes commands and options in a shell
///
/// bash: csdrive completion bash > ~/.local/share/bash-completion/completions/csdrive
#[derive(Debug, clap::Args)]
pub(crate) struct Completion {
    /// Which shell
    shell: Shell,
}

/// Write man pages, one for each command, to a folder
///
/// csdrive man ~/.local/share/man/man1 && man csdrive-run
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Where to; it is made if it is not there. Without it the first page is printed
    folder: Option<PathBuf>,
}

pub(crate) fn completion(arguments: &Completion, mut command: clap::Command) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "csdrive", &mut script);
    print(&script)
}

pub(crate) fn man(arguments: &Man, command: clap::Command) -> Result<Outcome> {
    let Some(folder) = &arguments.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return print(&page);
    };
    let named = || folder.display().to_string();
    std::fs::create_dir_all(folder).with_context(named)?;
    clap_mangen::generate_to(command, folder).with_context(named)?;
    Ok(Outcome::Success)
}

fn print(text: &[u8]) -> Result<Outcome> {
    write_all("-".as_ref(), text).context("standard output")?;
    Ok(Outcome::Success)
}
