//! The program that `tests/fuzz/run` builds with libFuzzer. The variable `FLEXGATE_FUZZ_TARGET` names the target.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod with_libfuzzer {
    use std::sync::LazyLock;

    static RUN: LazyLock<flexgate_fuzz::Run> = LazyLock::new(|| {
        let name = std::env::var_os("FLEXGATE_FUZZ_TARGET").and_then(|name| name.into_string().ok());
        name.as_deref().and_then(flexgate_fuzz::target).unwrap_or_else(|| std::process::exit(2))
    });

    libfuzzer_sys::fuzz_target!(
        init: flexgate_fuzz::prepare(),
        |input: &[u8]| {
            RUN(input);
        }
    );
}

/// Without libFuzzer, this program does nothing, and only `tests/corpus.rs` runs the targets.
#[cfg(not(fuzzing))]
fn main() {}
