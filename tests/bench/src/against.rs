//! Compares the speed of the current mint with that of the mint at other commits, to show the effect of a change.

use std::path::Path;

use crate::functions::{Share, Times, measure, table};
use crate::instructions;
use crate::report::section;
use crate::subjects::{Places, function, mints};
use crate::upstream::{PEOPLE, Upstream};

/// Compares the current mint with the binaries of other commits. `at` contains the name and the path of each binary.
pub async fn compare(places: &Places, at: &[(&str, &str)], quick: bool) {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(&folder.path().join("upstream"));
    let tokens = upstream.people().await;
    let now = places.binaries.join("flexgate-mint");
    let all = std::iter::once(("now", now.as_path())).chain(at.iter().map(|(name, path)| (*name, Path::new(path))));
    let mut mint: Vec<_> = all.map(|(name, path)| function(name, path.into(), &upstream, mints(&tokens))).collect();
    let times = if quick { Times { starts: 9, answers: 300 } } else { Times { starts: 41, answers: 3_000 } };

    // Bind every person's identity before measuring. Otherwise, only the mint that runs first would do that work. It
    // would then look slower than the other mints.
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
