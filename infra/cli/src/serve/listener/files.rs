//! How many files the process may open. Every connection is a file.

/// Raises the number of files that the process may open to the highest that the system allows. Returns that number.
///
/// Many systems start a process with a limit of 1,024 files, although they let the process raise it. Programs that use
/// `select` need the low limit. Flexgate does not use `select`.
#[cfg(unix)]
pub fn raise_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    // Some systems do not accept their own highest limit. The process then keeps the limit that it has.
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files.try_into().unwrap_or(usize::MAX))
}

/// Other systems do not limit the number of connections in this way.
#[cfg(not(unix))]
pub fn raise_limit() -> usize {
    usize::MAX
}
