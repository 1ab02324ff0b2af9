//! Compares the speed of the current mint with the speed of the mint at other commits.

use std::path::Path;

use crate::functions::{Share, Times, measure, table};
use crate::instructions;
use crate::report::section;
use crate::subjects::{Places, function, mints};
use crate::upstream::{PEOPLE, Upstream};

/// Compares the current mint with other binaries. `at` contains each binary's name and path.
pub async fn compare(places: &Places, at: &[(&str, &str)], quick: bool) {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(&folder.path().join("upstream"));
    let tokens = upstream.people().await;
    let now = places.binaries.join("flexgate-mint");
    let all = std::iter::once(("now", now.as_path())).chain(at.iter().map(|(name, path)| (*name, Path::new(path))));
    let mut mint: Vec<_> = all.map(|(name, path)| function(name, path.into(), &upstream, mints(&tokens))).collect();
    let times = if quick { Times { starts: 9, answers: 300 } } else { Times { starts: 41, answers: 3_000 } };

    // Bind every person's identity first. Otherwise the first program's times would include the bindings.
    measure(&mut mint[..1], Times { starts: 1, answers: PEOPLE }, None).await;

    section("The mint beside itself");
    let seen = measure(&mut mint, times, None).await;
    table(&mint, &seen);

    section("The same at a 256 MB function's share of a processor, cold");
    match Share::of_memory(256) {
        None => println!("not measured: no control group can be made here"),
        Some(share) => {
            let seen = measure(&mut mint, Times { answers: 0, ..times }, Some(share.group())).await;
            table(&mint, &seen);
        }
    }
    instructions::table(&mut mint, folder.path()).await;
}
