//! Builds the peers, and knows their paths.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// What a peer is written in, and how it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Rust, for speed.
    Release,
    /// Rust, at opt-level "z".
    Z,
    C,
    Python,
}

impl Program {
    /// The first words of its command line.
    pub(crate) fn command(self) -> Outcome<Vec<PathBuf>> {
        let folder = target_folder()?;
        Ok(match self {
            Self::Release => vec![folder.join("release/peer")],
            Self::Z => vec![folder.join("z/peer")],
            Self::C => vec![folder.join("release/peer-c")],
            Self::Python => vec!["python3".into(), here().join("peers/python/peer.py")],
        })
    }
}

/// Builds all peers that need to be built.
pub(crate) fn build() -> Outcome<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for profile in ["release", "z"] {
        let mut command = Command::new(&cargo);
        command.args(["build", "--locked", "--quiet", "--bin", "peer", "--profile", profile, "--manifest-path"]);
        succeed(command.arg(here().join("Cargo.toml")).arg("--target-dir").arg(target_folder()?))?;
    }
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(here().join("peers/c"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-Wall", "-Wextra", "-o"]).arg(target_folder()?.join("release/peer-c")).args(sources);
    succeed(&mut gcc)
}

/// Runs a command to its end.
pub(crate) fn succeed(command: &mut Command) -> Outcome<()> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// The folder of this crate.
pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The target folder of this program, which is `release/bench` in it.
fn target_folder() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().and_then(Path::parent).ok_or("bench: not in a target folder")?;
    Ok(folder.to_owned())
}
