//! Runs the simulated world with one seed: plays the script, waits until all activity has stopped, and checks the
//! result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::browser::{self, Browser};
use crate::callers;
use crate::hooks::{self, Systems};
use crate::judge;
use crate::scim::{self, Directory};
use crate::script::{self, Action, Step};
use crate::upkeep;
use crate::weather::Odds;
use crate::world::{World, cookie_key};

/// After the faults have stopped, all pending work must be finished within this time.
const CONVERGES_WITHIN: Duration = Duration::from_hours(6);
/// The number of sweeps after the faults have stopped. A sweep compares all Flex users with the ledger, as a deployment
/// does on a schedule.
const SWEEPS: usize = 3;

/// What a run found.
#[derive(Debug)]
pub struct Outcome {
    /// The forbidden things that happened in the run.
    pub complaints: Vec<String>,
    /// The number of actions in the script, or zero if the run has no script.
    pub steps: usize,
    /// What happened in the run, one line per event.
    pub trace: Vec<String>,
}

/// Runs the simulated world with this seed. `keep` contains the numbers of the script's steps to perform. `None` means
/// all steps.
///
/// # Errors
/// If the runtime cannot be built.
pub fn run(seed: u64, keep: Option<&[usize]>) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(story(seed, keep)))
}

/// Returns the number of steps in the script for this seed.
///
/// # Errors
/// If the runtime cannot be built.
pub fn steps(seed: u64) -> std::io::Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async { script::draw(&World::start(seed).chance).len() }))
}

struct Stage {
    world: Arc<World>,
    directory: Arc<Directory>,
    systems: Arc<Systems>,
    browsers: BTreeMap<&'static str, Arc<Browser>>,
    acts: JoinSet<()>,
}

async fn story(seed: u64, keep: Option<&[usize]>) -> Outcome {
    let log = crate::log::Log::start();
    let world = World::start(seed);
    let script = script::draw(&world.chance);
    let steps = keep.map_or(script.len(), <[_]>::len);
    let odds = Odds::drawn(&world.chance);
    let wfo = upkeep::seed_wfo(&world, "wes").await;
    {
        let mut model = world.model();
        let person = model.person(&wfo);
        (person.has_wfo, person.keeps_wfo) = (true, true);
    }
    world.tell(format!("seed {seed}: {} steps, {odds:?}", script.len()));
    world.weather.set(odds);

    let over = Arc::new(AtomicBool::new(false));
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let over = over.clone();
            tokio::spawn(upkeep::consume(world.clone(), move || over.load(Ordering::Relaxed)))
        })
        .collect();
    let mut stage = Stage {
        world: world.clone(),
        directory: Arc::default(),
        systems: Arc::default(),
        browsers: BTreeMap::new(),
        acts: JoinSet::new(),
    };
    let mut has_admin = false;
    for (number, step) in script.into_iter().enumerate() {
        if keep.is_none_or(|keep| keep.contains(&number)) {
            stage.play(step).await;
            judge::administrators(&world, &mut has_admin).await;
        }
    }

    world.weather.set(Odds::default());
    world.tell("no more faults, and nobody changes anything any more");
    let Stage { systems, mut acts, .. } = stage;
    let finished = async { while acts.join_next().await.is_some() {} };
    if timeout(CONVERGES_WITHIN, finished).await.is_err() {
        world.complain("a client still waits for an answer, hours after the last fault");
    }
    let queue = world.worker();
    settle(&world, &queue).await;
    judge::people(&world, &systems, &queue, false).await;
    judge::administrators(&world, &mut has_admin).await;
    for _ in 0..SWEEPS {
        settle(&world, &queue).await;
        world.jump_between_requests(3_600).await;
        upkeep::sweep(world.clone()).await;
    }
    settle(&world, &queue).await;
    over.store(true, Ordering::Relaxed);
    for consumer in consumers {
        drop(consumer.await);
    }
    judge::administrators(&world, &mut has_admin).await;
    judge::at_rest(&world, &systems, &queue, &log).await;
    let complaints = std::mem::take(&mut world.spy.seen().complaints);
    Outcome { complaints, steps, trace: world.trace() }
}

/// Waits until the queue contains no waiting message.
pub(crate) async fn settle(world: &Arc<World>, queue: &crate::process::Worker) {
    let empty = async {
        while upkeep::waiting(queue).await > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    if timeout(CONVERGES_WITHIN, empty).await.is_err() {
        world.complain("the queue does not become empty");
    }
}

impl Stage {
    async fn play(&mut self, step: Step) {
        if step.pause > 0 {
            tokio::time::sleep(Duration::from_millis(step.pause)).await;
        }
        let world = self.world.clone();
        let (directory, systems) = (self.directory.clone(), self.systems.clone());
        match step.action {
            Action::ScimCreates { name, supervisor } => {
                self.act(scim::create(world, directory, name.to_owned(), supervisor));
            }
            Action::ScimSays { name, says, email } => {
                let email = email.map(|number| format!("{name}.{number}@example.com"));
                self.act(scim::change(world, directory, name.to_owned(), says, email));
            }
            Action::ScimReplaces { name, active, number } => {
                self.act(scim::replace(world, directory, name.to_owned(), active, number));
            }
            Action::ScimDeletes { name } => self.act(scim::delete(world, directory, name.to_owned())),
            Action::ScimMembers { group, names, joins } => {
                let names = names.into_iter().map(str::to_owned).collect();
                self.act(scim::members(world, directory, group, names, joins));
            }
            Action::Okta { name, change } => self.act(hooks::okta(world, systems, name.to_owned(), change)),
            Action::Hr { name, change } => self.act(hooks::hr(world, systems, name.to_owned(), change)),
            Action::ApiProvisions { name, supervisor } => {
                self.act(callers::provision(world, name.to_owned(), supervisor));
            }
            Action::ApiDeprovisions { name } => self.act(callers::deprovision(world, name.to_owned())),
            Action::SignsIn { name } => {
                let browser = self.browsers.entry(name).or_default().clone();
                self.act(browser::sign_in(world, browser, name.to_owned()));
            }
            Action::AsksForToken { name, tabs } => {
                let browser = self.browsers.entry(name).or_default().clone();
                self.act(browser::tokens(world, browser, name.to_owned(), tabs));
            }
            Action::KeepsPageOpen { name, tabs } => {
                let browser = self.browsers.entry(name).or_default().clone();
                self.act(browser::keep_open(world, browser, name.to_owned(), tabs));
            }
            Action::Mints { name, supervisor } => self.act(callers::mint(world, name.to_owned(), supervisor)),
            Action::ConsolePromotes { name } => self.act(upkeep::promote_by_hand(world, name.to_owned())),
            Action::ConsoleDeactivates { name } => self.act(upkeep::deactivate_by_hand(world, name.to_owned())),
            Action::ConsoleActivates { name } => self.act(upkeep::activate_by_hand(world, name.to_owned())),
            Action::Sweep => self.act(upkeep::sweep(world)),
            Action::Deploy => {
                world.tell("a deployment replaces every process");
                world.deploy();
            }
            Action::RotateIssuerKeys => {
                world.tell("the identity provider rotates its key");
                world.ask(Method::POST, "/idp/__dev/rotate-keys", &json!({})).await;
            }
            Action::RotateCredential => {
                world.tell("an operator rotates the Twilio credential");
                world.rotate_credential().await;
            }
            Action::RotateCookieKeys { number } => {
                world.tell("an operator rotates the cookie keys");
                let name = format!("k{number}");
                let keys = json!({ "1": cookie_key(7), name.as_str(): cookie_key(number | 128) });
                world.vault.put("cookie-keys", &json!({ "current": name, "keys": keys }));
            }
            Action::Jump { seconds } => {
                world.tell(format!("{seconds} seconds pass"));
                world.clock.jump(seconds);
            }
        }
    }

    fn act(&mut self, act: impl Future<Output = ()> + Send + 'static) {
        self.acts.spawn(act);
    }
}
