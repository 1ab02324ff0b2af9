//! The bench: measures Flexgate's speed and memory. Use `tests/bench/run` to build and start it. `docs/performance.md`
//! explains the results.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may panic like tests, and prints its results"
)]

mod abuse;
mod against;
mod aws;
mod bare;
mod functions;
mod gateway;
mod growth;
mod instructions;
mod lambda;
mod report;
mod subjects;
mod tls;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use functions::{Seen, Share, Times, measure, table};
use report::{Report, median, quantile, row, rule, section, short};
use subjects::{Places, Subject};
use upstream::Upstream;

struct Asked {
    quick: bool,
    places: Places,
    folder: tempfile::TempDir,
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let ["upstream", folder] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        upstream::serve(Path::new(folder)).await;
        return ExitCode::SUCCESS;
    }
    let option = |name: &str| words.iter().position(|word| word == name).map(|at| PathBuf::from(&words[at + 1]));
    let bench = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let places = Places {
        binaries: option("--binaries").unwrap(),
        python: option("--python").unwrap_or_default(),
        bundle: option("--bundle").unwrap_or_default(),
        bench,
    };
    let quick = words.iter().any(|word| word == "--quick");
    let only: Vec<&String> = words.iter().filter(|word| word.bytes().all(|b| b.is_ascii_lowercase())).collect();
    let wants = |name: &str| only.is_empty() || only.iter().any(|word| *word == name);
    if let Some(record) = ["--check", "--record"].into_iter().find(|name| words.iter().any(|word| word == name)) {
        return check(&places, record == "--record").await;
    }
    let at: Vec<_> = words.iter().filter_map(|word| word.split_once('=')).collect();
    if !at.is_empty() {
        against::compare(&places, &at, quick).await;
        return ExitCode::SUCCESS;
    }
    let asked = Asked { quick, places, folder: tempfile::tempdir().unwrap() };
    let report = Report::default();
    if wants("functions") {
        compare(&asked, &report).await;
    }
    if wants("gateway") {
        section("The gateway under load, beside the Node peer");
        gateway::compare(&asked.places, asked.folder.path(), quick, &report).await;
    }
    if wants("abuse") {
        section("Sign-ins beside a client that sends garbage");
        abuse::measure(&asked.places, quick, &report).await;
    }
    let grows = |part: &str| wants("growth") || wants(part);
    growth::measure(&asked.places, asked.folder.path(), quick, grows, &report).await;
    if wants("memory") {
        section("Memory over many requests");
        let count = if quick { 20_000 } else { 1_000_000 };
        gateway::memory(&asked.places, asked.folder.path(), count, &report).await;
    }
    if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks that a warm mint needs at most 5 % more instructions than the recorded number. If `record` is true, first
/// records the current number.
async fn check(places: &Places, record: bool) -> ExitCode {
    let (folder, file) = (tempfile::tempdir().unwrap(), places.bench.join("instructions"));
    let upstream = Upstream::start(&folder.path().join("upstream"));
    let tokens = upstream.people().await;
    let mut ours = subjects::functions(places, &upstream, &tokens);
    let at = position(&ours, "mint");
    let Some(count) = instructions::count(&mut ours[at], folder.path()).await else {
        eprintln!("valgrind is not installed");
        return ExitCode::FAILURE;
    };
    if record {
        std::fs::write(file, format!("{count:.0}\n")).unwrap();
    }
    let recorded: f64 = std::fs::read_to_string(places.bench.join("instructions")).unwrap().trim().parse().unwrap();
    let report = Report::default();
    println!("a warm mint: {count:.0} instructions, {recorded:.0} recorded");
    report.at_most("instructions of a warm mint over those recorded", count / recorded, 1.05, " x");
    if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares Flexgate's functions with a function that does nothing (the floor), and with mint functions written in
/// other languages (the peers).
async fn compare(asked: &Asked, report: &Report) {
    let upstream = Upstream::start(&asked.folder.path().join("upstream"));
    let tokens = upstream.people().await;
    let mut ours = subjects::functions(&asked.places, &upstream, &tokens);
    let mut alone = subjects::functions(&asked.places, &upstream, &tokens);
    for subject in &mut alone {
        subject.start.variables.push(("FLEXGATE_PREWARM_MILLISECONDS", "0".to_owned()));
    }
    let mut peers = subjects::peers(&asked.places, &upstream, &tokens);
    let times = if asked.quick { Times { starts: 9, answers: 300 } } else { Times { starts: 41, answers: 3_000 } };
    let few = Times { starts: times.starts.div_ceil(3), ..times };

    section("Functions beside the floor");
    let seen = measure(&mut ours, times, None).await;
    table(&ours, &seen);
    println!("\nThe same with nothing fetched ahead:\n");
    let own = measure(&mut alone, Times { answers: 0, ..times }, None).await;
    table(&alone, &own);
    println!();
    inits("", &ours, &seen, report);
    inits(", nothing fetched ahead,", &alone, &own, report);
    sizes(&ours, report);

    section("The mint beside its peers");
    let others = measure(&mut peers, few, None).await;
    table(&peers, &others);
    let mint = &seen[position(&ours, "mint")];
    println!();
    ratios("", mint, &peers, &others, report);
    rss(mint, &peers, &others, report);

    section("The same at a 256 MB function's share of a processor, cold");
    match Share::of_memory(256) {
        None => println!("not measured: no control group can be made here"),
        Some(share) => {
            let few = Times { starts: few.starts.min(7), answers: 0 };
            let at = position(&ours, "mint");
            let throttled = measure(&mut ours[at..=at], few, Some(share.group())).await;
            let others = measure(&mut peers, few, Some(share.group())).await;
            table(&ours[at..=at], &throttled);
            table(&peers, &others);
            println!();
            ratios(" at 256 MB", &throttled[0], &peers, &others, report);
        }
    }

    section("The warm mint beside the upstream calls it cannot avoid");
    let bare = bare::measure(&upstream, times.answers).await;
    row(["", "p50 ms", "p99 ms"]);
    rule(3);
    for (name, values) in [
        ("Twilio's mint, bare", &bare.twilio),
        ("with a count and a read in DynamoDB, bare", &bare.all),
        ("Twilio's mint over a fresh connection, bare", &bare.fresh),
        ("Flexgate's mint, warm", &mint.warm),
    ] {
        row([name, &short(median(values)), &short(quantile(values, 0.99))]);
    }
    println!();
    report.at_most("warm mint over the bare calls, p50", median(&mint.warm) - median(&bare.all), 0.4, " ms");
    let tail = quantile(&mint.warm, 0.99) - quantile(&bare.all, 0.99);
    report.at_most("warm mint over the bare calls, p99", tail, 1.5, " ms");

    instructions::table(&mut ours, asked.folder.path()).await;
}

fn position(subjects: &[Subject], name: &str) -> usize {
    subjects.iter().position(|subject| subject.name == name).unwrap()
}

fn inits(how: &str, ours: &[Subject], seen: &[Seen], report: &Report) {
    let floor = median(&seen[0].init);
    for (subject, seen) in ours.iter().zip(seen).skip(1) {
        let bound = if matches!(&*subject.name, "provision" | "apply") { 4.0 } else { 3.0 };
        report.at_most(
            &format!("init of {}{how} over the floor's", subject.name),
            median(&seen.init) / floor,
            bound,
            " x",
        );
    }
}

fn sizes(ours: &[Subject], report: &Report) {
    let all = ours.iter().filter_map(|subject| subject.artifact.as_ref()).map(|path| functions::sizes(path));
    let (raw, zipped) = all.fold((0.0_f64, 0.0_f64), |(raw, zipped), (r, z)| (raw.max(r), zipped.max(z)));
    report.at_most("the largest bootstrap", raw, 8.0, " MB");
    report.at_most("the largest bootstrap, zipped", zipped, 3.5, " MB");
}

fn ratios(when: &str, mint: &Seen, peers: &[Subject], others: &[Seen], report: &Report) {
    for (peer, seen) in peers.iter().zip(others) {
        let ratio = median(&seen.cold) / median(&mint.cold);
        report.at_least(&format!("cold mint{when}, faster than {}", peer.name), ratio, 15.0, " x");
    }
}

fn rss(mint: &Seen, peers: &[Subject], others: &[Seen], report: &Report) {
    let node = position(peers, "Node 20");
    let share = median(&mint.rss) / median(&others[node].rss);
    report.at_most("peak RSS of the mint over Node's", share, 1.0 / 6.0, " x");
}
