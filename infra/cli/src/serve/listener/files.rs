//! The limit on the process's open files. Every connection uses one file.

/// Raises the limit on open files to the system's maximum, and returns the new limit.
///
/// Many systems start with a limit of 1,024 files, which only programs with `select` need. Flexgate does not use
/// `select`.
#[cfg(unix)]
pub fn raise_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    // If the system refuses, the process keeps its old limit.
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files.try_into().unwrap_or(usize::MAX))
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub fn raise_limit() -> usize {
    usize::MAX
}
