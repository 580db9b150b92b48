//! What has an inode number.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::memory::FileId;

/// Inode numbers that are always there.
pub(crate) mod fixed {
    pub(crate) const ROOT: u64 = 1;
    pub(crate) const MEMORY: u64 = 2;
    pub(crate) const PROGRAMS: u64 = 3;
    pub(crate) const STORAGE: u64 = 4;
    pub(crate) const RUN: u64 = 5;
    pub(crate) const STATISTICS: u64 = 6;
    pub(crate) const GROUPS: u64 = 7;
    /// Beyond: other numbers of RUN.
    pub(crate) const RUNS: u64 = 1 << 63;
    /// True for all numbers of `run`.
    pub(crate) fn is_run(ino: u64) -> bool {
        ino == RUN || ino > RUNS
    }
    /// The first that is given to a file.
    pub(crate) const FIRST: u64 = 16;
}

/// A program that was copied in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ProgramFile {
    /// It is being written.
    Written(Vec<u8>),
    /// It is on the drive, active: copied in here.
    Loaded { index: u16, bytes: usize },
    /// It is on the drive, and was not copied in here.
    Found { index: u16, is_active: bool },
    /// The drive did not want it.
    Refused(String),
}

impl ProgramFile {
    /// Its index on the drive, if it is there.
    pub(crate) fn index(&self) -> Option<u16> {
        match self {
            Self::Loaded { index, .. } | Self::Found { index, .. } => Some(*index),
            Self::Written(_) | Self::Refused(_) => None,
        }
    }
}

/// A folder below `memory/`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Folder {
    pub(crate) parent: u64,
    pub(crate) names: Names,
}

/// What an inode number stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Memory(FileId),
    /// A folder below `memory/`.
    Folder(Folder),
    /// A symbolic link below `memory/`.
    Link(PathBuf),
    Program(ProgramFile),
    /// A path in the storage folder.
    Storage(PathBuf),
    /// Something of the storage folder that has no name any more.
    Gone,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) owner: (u32, u32),
    pub(crate) changed: SystemTime,
    /// How often it is open.
    pub(crate) opened: u32,
    /// It has a name.
    pub(crate) is_linked: bool,
    /// How often the kernel was told of it and did not forget it again, if it is in the storage folder.
    pub(crate) lookups: u64,
}

impl Node {
    /// Something of ours with a name, not open.
    pub(crate) fn new(kind: Kind, mode: u32, owner: (u32, u32)) -> Self {
        Self {
            kind,
            mode: (mode & 0o7777) as u16,
            owner,
            changed: SystemTime::now(),
            opened: 0,
            is_linked: true,
            lookups: 0,
        }
    }
}

/// Names in a folder.
pub(crate) type Names = BTreeMap<OsString, u64>;

#[derive(Debug)]
pub(crate) struct Nodes {
    nodes: HashMap<u64, Node>,
    pub(crate) memory: Names,
    pub(crate) programs: Names,
    storage: HashMap<PathBuf, u64>,
    next: u64,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self {
            nodes: HashMap::new(),
            memory: Names::new(),
            programs: Names::new(),
            storage: HashMap::new(),
            next: fixed::FIRST,
        }
    }

    pub(crate) fn get(&self, ino: u64) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    pub(crate) fn get_mut(&mut self, ino: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&ino)
    }

    /// The names of a folder of ours.
    pub(crate) fn names(&mut self, folder: u64) -> Option<&mut Names> {
        match folder {
            fixed::MEMORY => Some(&mut self.memory),
            fixed::PROGRAMS => Some(&mut self.programs),
            _ => match &mut self.nodes.get_mut(&folder)?.kind {
                Kind::Folder(folder) => Some(&mut folder.names),
                _ => None,
            },
        }
    }

    /// True for `memory/` and the folders below it.
    pub(crate) fn is_memory_folder(&self, ino: u64) -> bool {
        let is_folder = |node: &Node| matches!(node.kind, Kind::Folder(_));
        ino == fixed::MEMORY || self.nodes.get(&ino).is_some_and(is_folder)
    }

    /// The folder that a folder of ours is in.
    pub(crate) fn parent(&self, folder: u64) -> u64 {
        match self.nodes.get(&folder).map(|node| &node.kind) {
            Some(Kind::Folder(folder)) => folder.parent,
            _ => fixed::ROOT,
        }
    }

    /// What a path below `memory/` leads to; links are not followed.
    pub(crate) fn memory_path(&self, path: &str) -> Option<u64> {
        path.split('/').filter(|name| !name.is_empty() && *name != ".").try_fold(
            fixed::MEMORY,
            |folder, name| {
                let names = match folder {
                    fixed::MEMORY => &self.memory,
                    _ => match &self.nodes.get(&folder)?.kind {
                        Kind::Folder(folder) => &folder.names,
                        _ => return None,
                    },
                };
                names.get(OsStr::new(name)).copied()
            },
        )
    }

    /// Gives a new file a number, and a name in one of our folders.
    pub(crate) fn add(&mut self, folder: u64, name: &OsStr, node: Node) -> u64 {
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        if let Some(names) = self.names(folder) {
            names.insert(name.to_owned(), ino);
        }
        ino
    }

    /// Forgets a number.
    pub(crate) fn remove(&mut self, ino: u64) -> Option<Node> {
        self.nodes.remove(&ino)
    }

    /// The number of a path in the storage folder, of which the kernel is told now.
    pub(crate) fn storage_looked_up(&mut self, path: PathBuf) -> u64 {
        if path.as_os_str().is_empty() {
            return fixed::STORAGE;
        }
        let known = self.storage.get(&path).copied();
        if let Some(ino) = known
            && let Some(node) = self.nodes.get_mut(&ino)
        {
            node.lookups += 1;
            return ino;
        }
        let node = Node {
            kind: Kind::Storage(path.clone()),
            mode: 0,
            owner: (0, 0),
            changed: SystemTime::UNIX_EPOCH,
            opened: 0,
            is_linked: true,
            lookups: 1,
        };
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        self.storage.insert(path, ino);
        ino
    }

    /// The kernel forgets a number of the storage folder, so many times.
    pub(crate) fn storage_forgotten(&mut self, ino: u64, count: u64) {
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        if !matches!(node.kind, Kind::Storage(_) | Kind::Gone) {
            return;
        }
        node.lookups = node.lookups.saturating_sub(count);
        if node.lookups == 0 {
            if let Kind::Storage(path) = &node.kind {
                self.storage.remove(path);
            }
            self.nodes.remove(&ino);
        }
    }

    /// The path of a number in the storage folder.
    pub(crate) fn storage_path(&self, ino: u64) -> Option<PathBuf> {
        if ino == fixed::STORAGE {
            return Some(PathBuf::new());
        }
        match &self.nodes.get(&ino)?.kind {
            Kind::Storage(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// A path in the storage folder, and all below it, has another name now.
    pub(crate) fn storage_renamed(&mut self, from: &Path, to: &Path) {
        self.storage_removed(to);
        let moved: Vec<(PathBuf, u64)> = self
            .storage
            .iter()
            .filter(|(path, _)| path.starts_with(from))
            .map(|(path, ino)| (path.clone(), *ino))
            .collect();
        for (path, ino) in moved {
            self.storage.remove(&path);
            let rest = path.strip_prefix(from).unwrap_or(Path::new(""));
            let path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.kind = Kind::Storage(path.clone());
            }
            self.storage.insert(path, ino);
        }
    }

    /// A path in the storage folder is no more; its number is until the kernel forgets it.
    pub(crate) fn storage_removed(&mut self, path: &Path) {
        if let Some(ino) = self.storage.remove(path)
            && let Some(node) = self.nodes.get_mut(&ino)
        {
            node.kind = Kind::Gone;
        }
    }
}
