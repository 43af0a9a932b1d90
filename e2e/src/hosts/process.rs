//! Processes of a host, as this machine sees them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::Run;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number on this machine.
    pub id: u32,
    parent: u32,
    /// What it is, at most 15 letters.
    pub name: String,
    /// `R`, `S`, `T` (stopped), `Z` (ended), …
    pub state: char,
    /// The process tree that it belongs to.
    tree: Option<String>,
}

/// Whose processes: a namespace as the kernel writes it.
pub fn tree_of(id: u32) -> Option<String> {
    let link = fs::read_link(format!("/proc/{id}/ns/pid")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// All processes of a tree, with those of the trees below it: a host's, with its containers'.
pub fn within(tree: &str) -> BTreeSet<Process> {
    let mut rest = all();
    let mut found: BTreeSet<Process> = BTreeSet::new();
    // Containers have trees of their own, but somebody of the host started each.
    loop {
        let known: BTreeSet<u32> = found.iter().map(|process| process.id).collect();
        let belongs =
            |process: &Process| process.tree.as_deref() == Some(tree) || known.contains(&process.parent);
        let (more, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(belongs);
        if more.is_empty() {
            return found;
        }
        found.extend(more);
        rest = others;
    }
}

/// How many below a process have ended, and nobody has asked how.
pub fn zombies_below(id: u32) -> usize {
    let tree = tree_of(id).unwrap_or_default();
    within(&tree).iter().filter(|process| process.state == 'Z').count()
}

/// The child of a process, once it has one.
pub fn child(parent: u32) -> Option<u32> {
    all().into_iter().find(|process| process.parent == parent).map(|process| process.id)
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn of(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // `12 (its name) S 1 …`, where the name may have anything in it.
    let (head, tail) = stat.rsplit_once(") ")?;
    let mut fields = tail.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Process { id, parent, name: head.split_once('(')?.1.to_owned(), state, tree: tree_of(id) })
}

/// Sends a signal to processes, some of which may have ended.
pub fn signal(name: &str, processes: impl IntoIterator<Item = u32>) {
    let ids: Vec<_> = processes.into_iter().map(|id| id.to_string()).collect();
    if !ids.is_empty() {
        Run::of(Command::new("kill").args(["-s", name]).args(ids));
    }
}

/// Starts a command that outlives this process, with its output in a file.
pub fn start(command: &mut Command, log: &Path) -> u32 {
    use std::os::unix::process::CommandExt as _;
    let log = fs::File::options().create(true).append(true).open(log).unwrap();
    // A group of its own: Ctrl-C is for the test alone.
    command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let id = child.id();
    std::thread::spawn(move || child.wait());
    id
}
