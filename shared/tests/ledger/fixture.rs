//! The fixture for the tests of the people ledger: a ledger with its own store, and a simulated Twilio.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::{Deadline, http_client, send};
use flexgate::domain::{DesiredUser, FlexUser, FlexUserSid, Username};
use flexgate::platform::{OwnerSettings, Platform};
use flexgate::store::scim::{Entry, Group, GroupWritten, Member};
use flexgate::users::ledger::{Ledger, LedgerError, News, Report};
use flexgate::users::{GroupRoles, Provisioning};
use flexgate_test_support::World;
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;

pub const GROUPS: [(&str, &str); 2] = [("fggrp_leads", "Leads"), ("fggrp_chiefs", "Chiefs")];

/// A ledger with its own store. Tests that share a fixture use different usernames.
pub struct Fixture {
    pub world: World,
    pub ledger: Ledger,
    pub platform: Platform,
    pub provisioning: Arc<Provisioning>,
    group_roles: GroupRoles,
}

pub fn deadline() -> Deadline {
    Deadline::after(Duration::from_mins(1))
}

impl Fixture {
    /// Uses DynamoDB if `FLEXGATE_TEST_AWS_ENDPOINT` is set (by `tests/run aws`), and otherwise SQLite.
    pub async fn start() -> Self {
        let world = World::start().await;
        let store = match std::env::var("FLEXGATE_TEST_AWS_ENDPOINT") {
            Ok(endpoint) => {
                // The emulator becomes slower as it stores more data, so empty it. These tests run one at a time, so no
                // other test loses data.
                let reset = reqwest::Request::new(Method::POST, format!("{endpoint}/moto-api/reset").parse().unwrap());
                send(&http_client(&[]).unwrap(), reset, deadline(), 1 << 16).await.unwrap();
                format!("dynamodb:{}", super::dynamodb::new_table(&endpoint).await.0)
            }
            Err(_) => format!("sqlite:{}", world.store_path().display()),
        };
        let mut reader = world.reader().with([
            ("FLEXGATE_STORE", store.as_str()),
            ("FLEXGATE_JUST_IN_TIME", "create-and-sync"),
            ("FLEXGATE_SCIM_GROUP_ROLES", r#"{"Leads": "supervisor", "Chiefs": "supervisor"}"#),
        ]);
        let settings = OwnerSettings::read(&mut reader);
        let settings = reader.finish(settings).unwrap();
        let platform = flexgate_test_support::platform(&settings.common, ClockRng::system());
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
        let ledger = Ledger::of_platform(&platform, provisioning.clone(), &settings.policy);
        let group_roles = settings.policy.group_roles.clone();
        Self { world, ledger, platform, provisioning, group_roles }
    }

    /// Returns the file of the store, or `None` if the store is DynamoDB.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        Some(self.world.store_path()).filter(|file| file.exists())
    }

    /// Sends a statement to the ledger. Retries while another process is changing the person, as a client would.
    pub async fn state(&self, news: &News) -> Result<Report, LedgerError> {
        loop {
            match self.ledger.state(news, deadline()).await {
                Err(LedgerError::Busy(_)) => {}
                done => return done,
            }
        }
    }

    pub async fn flex(&self, username: &Username) -> Option<FlexUser> {
        let flex = self.provisioning.flex();
        let found = flex.find(username, deadline()).await.unwrap()?;
        Some(flex.get(&found.flex_user_sid, deadline()).await.unwrap())
    }

    pub async fn roles_of(&self, name: &str) -> Vec<String> {
        let user = self.flex(&name.parse::<Username>().unwrap()).await.unwrap();
        user.roles.unwrap().names().into_iter().map(str::to_owned).collect()
    }

    pub async fn is_active(&self, name: &str) -> bool {
        self.flex(&name.parse::<Username>().unwrap()).await.unwrap().is_active()
    }

    /// Creates a user at Twilio without Flexgate, as an administrator can do in the Console.
    pub async fn at_twilio(&self, username: &str, roles: &[&str]) {
        self.written_at_twilio(username, "Some One", roles).await;
    }

    /// Gives a user this full name at Twilio, without Flexgate. Creates the user if there is none.
    pub async fn named_at_twilio(&self, username: &str, full_name: &str) {
        self.written_at_twilio(username, full_name, &["agent"]).await;
    }

    async fn written_at_twilio(&self, username: &str, full_name: &str, roles: &[&str]) {
        let user = DesiredUser {
            username: username.parse().unwrap(),
            email: "some@example.com".parse().unwrap(),
            full_name: full_name.parse().unwrap(),
            roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
            worker_attributes: None,
        };
        self.provisioning.flex().provision(&user, deadline()).await.unwrap();
    }

    /// Makes Twilio answer every provision request with 503.
    pub async fn provision_fails(&self) {
        self.fault(json!({ "path_contains": "Provision", "kind": "status", "status": 503, "times": 0 })).await;
    }

    /// Injects a fault into Twilio's answers to `POST` requests.
    pub async fn fault(&self, mut fault: Value) {
        fault["service"] = "flex-api".into();
        fault["method"] = "POST".into();
        self.world.fault(&fault).await;
    }

    /// Adds the user to the group or removes the user from it, and then reconciles the user, as SCIM does.
    pub async fn member(&self, group: (&str, &str), user: &FlexUserSid, present: bool) {
        self.write_member(group, user, present).await;
        loop {
            match self.ledger.reconcile_member(user, None, deadline()).await {
                Err(LedgerError::Busy(_)) => {}
                done => break drop(done.unwrap()),
            }
        }
        let scim = self.platform.scim();
        loop {
            let group = scim.group(group.0).await.unwrap().unwrap();
            // Only this user has been reconciled. Other members of the group may still have to be reconciled, so change
            // only this user's membership.
            let mut after = group.clone();
            after.members.retain(|member| member.present || member.user != *user);
            let role = self.group_roles.of(&group.display_name);
            after.members.iter_mut().filter(|member| member.user == *user).for_each(|one| one.announced = role);
            if scim.put_group(&after).await.unwrap() == GroupWritten::Yes {
                return;
            }
        }
    }

    /// Writes the membership without reconciling the user.
    pub async fn write_member(&self, (id, name): (&str, &str), user: &FlexUserSid, present: bool) {
        let (scim, at) = (self.platform.scim(), OffsetDateTime::UNIX_EPOCH);
        loop {
            let new = || Group {
                id: id.to_owned(),
                display_name: name.to_owned(),
                external_id: None,
                members: Vec::new(),
                version: 0,
                created_at: at,
                updated_at: at,
            };
            let mut group = scim.group(id).await.unwrap().unwrap_or_else(new);
            match group.members.iter_mut().find(|member| member.user == *user) {
                Some(member) => member.present = present,
                None if present => group.members.push(Member { user: user.clone(), present, announced: None }),
                None => {}
            }
            group.members.sort_by(|a, b| a.user.cmp(&b.user));
            if scim.put_group(&group).await.unwrap() == GroupWritten::Yes {
                return;
            }
        }
    }

    /// Stores a user's SCIM entry as versions before 0.2.0 wrote it. According to this entry, SCIM gave the user the
    /// role supervisor.
    pub async fn scim_entry(&self, username: &str, user: &FlexUserSid) {
        let asserted = json!({ "roles": [{ "value": "supervisor" }], "displayName": "Some One" });
        let entry = Entry {
            id: user.clone(),
            current: user.clone(),
            username: username.parse().unwrap(),
            external_id: None,
            asserted: asserted.as_object().unwrap().clone(),
            deleted: false,
            version: 0,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        };
        assert!(self.platform.scim().put_entry(&entry, None).await.unwrap());
    }
}
