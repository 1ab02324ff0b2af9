use time::Duration;
use time::macros::datetime;

use super::*;
use crate::{Identity, ObservedRoles, Unused};

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

fn policy(just_in_time: JustInTime) -> Policy {
    Policy {
        allowed_roles: [Role::Agent, Role::Supervisor].into(),
        default_roles: [Role::Agent].into(),
        just_in_time,
        max_ttl: TokenTtl::DEFAULT,
    }
}

fn caller(scopes: &str, roles: &[Role]) -> Caller {
    Caller {
        identity: Identity { issuer: "https://idp.example".into(), subject: "1".into() },
        scopes: scopes.split(' ').collect(),
        username: Some("ada".parse().unwrap()),
        verified_email: Some("ada@example.com".parse().unwrap()),
        full_name: Some("Ada Lovelace".parse().unwrap()),
        roles: roles.iter().copied().collect(),
        acts: None,
        unused: Unused::default(),
        limits: IssuerLimits::default(),
        issued_at: Some(NOW),
        expires_at: NOW + Duration::hours(2),
    }
}

fn named(username: &str) -> MintRequest {
    MintRequest { username: Some(username.parse().unwrap()), ..MintRequest::default() }
}

fn roles(roles: &[Role]) -> MintRequest {
    MintRequest { roles: Some(roles.iter().copied().collect()), ..MintRequest::default() }
}

fn user(roles: &[&str]) -> FlexUser {
    FlexUser {
        flex_user_sid: format!("FU{}", "0".repeat(32)).parse().unwrap(),
        username: "ada".parse().unwrap(),
        email: Some("ada@example.com".into()),
        full_name: Some("Ada Lovelace".into()),
        roles: Some(ObservedRoles::from_iter(roles)),
        locale: None,
        deactivated: Some(false),
        worker_sid: None,
        created_date: None,
        updated_date: None,
        version: Some(1),
    }
}

fn granted(policy: &Policy, caller: &Caller, asked: MintRequest) -> MintGrant {
    policy.mint(caller, asked, NOW).unwrap()
}

#[test]
fn who_may_mint_for_whom() {
    const REFUSED: MintRefusal = MintRefusal::ScopeMissing(Scope::Token);
    let (nobody, ada, grace) = (MintRequest::default(), named("ada"), named("grace"));
    let cases = [
        ("openid", &nobody, Err(REFUSED)),
        ("", &ada, Err(REFUSED)),
        ("flexgate.users.write flexgate.users.read", &grace, Err(REFUSED)),
        ("flexgate.token", &nobody, Ok(true)),
        ("flexgate.token", &ada, Ok(true)),
        ("flexgate.token", &grace, Err(MintRefusal::OtherUser)),
        ("flexgate.token", &named("Ada"), Err(MintRefusal::OtherUser)),
        ("flexgate.token.any", &nobody, Ok(true)),
        ("flexgate.token.any", &ada, Ok(true)),
        ("flexgate.token.any", &grace, Ok(false)),
        ("flexgate.token flexgate.token.any", &grace, Ok(false)),
    ];
    for (scopes, asked, expected) in cases {
        let decided = policy(JustInTime::Off).mint(&caller(scopes, &[]), asked.clone(), NOW);
        assert_eq!(decided.map(|grant| grant.for_self), expected, "{scopes} {asked:?}");
    }
    let service = Caller { username: None, ..caller("flexgate.token.any", &[]) };
    let refused = policy(JustInTime::Off).mint(&service, nobody, NOW);
    assert_eq!(refused.unwrap_err(), MintRefusal::UsernameMissing);
    assert!(!granted(&policy(JustInTime::Off), &service, named("ada")).for_self);
}

#[test]
fn m16_a_role_beyond_the_claims_or_the_allow_list_is_refused() {
    use Role::{Admin, Agent, Supervisor};
    let cases: [(&[Role], &[Role], Option<Role>); 8] = [
        (&[Agent], &[Agent], None),
        (&[Agent, Supervisor], &[Supervisor], None),
        (&[Agent], &[Supervisor], Some(Supervisor)),
        (&[Agent], &[Agent, Supervisor], Some(Supervisor)),
        // The allow-list does not contain `admin`, so a claim that names this role has no effect.
        (&[Admin], &[Admin], Some(Admin)),
        (&[Agent, Admin], &[Agent], None),
        // If the claims name no role, the caller has the default roles.
        (&[], &[Agent], None),
        (&[], &[Supervisor], Some(Supervisor)),
    ];
    for (claimed, asked, refused) in cases {
        let decided = policy(JustInTime::Off).mint(&caller("flexgate.token", claimed), roles(asked), NOW);
        let expected = refused.map(MintRefusal::RoleNotAllowed);
        assert_eq!(decided.map(drop).err(), expected, "{claimed:?} {asked:?}");
    }
    let opted_in = Policy { allowed_roles: [Agent, Admin].into(), ..policy(JustInTime::Off) };
    assert!(opted_in.mint(&caller("flexgate.token", &[Admin]), roles(&[Admin]), NOW).is_ok());
    // The allow-list also limits a caller who mints for somebody else.
    let asked = MintRequest { roles: Some([Admin].into()), ..named("grace") };
    let refused = policy(JustInTime::Off).mint(&caller("flexgate.token.any", &[]), asked, NOW);
    assert_eq!(refused.unwrap_err(), MintRefusal::RoleNotAllowed(Admin));
}

#[test]
fn a_lifetime_is_the_shortest_of_all_bounds_and_says_whose() {
    let seconds = |seconds| TokenTtl::from_seconds(seconds).unwrap();
    let cases = [
        (None, 7200, Ok((3600, TtlBy::Default))),
        (Some(600), 7200, Ok((600, TtlBy::Request))),
        (Some(3600), 3600, Ok((3600, TtlBy::Request))),
        (Some(86_400), 7200, Ok((3600, TtlBy::Policy))),
        (Some(86_400), 600, Ok((600, TtlBy::CallersToken))),
        (None, 600, Ok((600, TtlBy::CallersToken))),
        (None, 60, Ok((60, TtlBy::CallersToken))),
        (None, 59, Err(MintRefusal::ExpiresTooSoon)),
        // Verification tolerates small clock differences, so a verified caller's token may have expired already.
        (None, -20, Err(MintRefusal::ExpiresTooSoon)),
        (Some(60), i64::MAX / 4, Ok((60, TtlBy::Request))),
    ];
    for (asked, left, expected) in cases {
        let mut caller = caller("flexgate.token", &[]);
        caller.expires_at = NOW.checked_add(Duration::seconds(left)).unwrap_or(datetime!(9999-12-31 0:00 UTC));
        let asked = MintRequest { ttl: asked.map(seconds), ..MintRequest::default() };
        let decided = policy(JustInTime::Off).mint(&caller, asked, NOW);
        assert_eq!(decided.map(|grant| (grant.ttl.seconds(), grant.ttl_by)), expected, "{left}");
    }
}

#[test]
fn a_grant_says_why() {
    let asked = MintRequest { ttl: Some(TokenTtl::MAX), ..roles(&[Role::Agent]) };
    let grant = granted(&policy(JustInTime::Off), &caller("flexgate.token", &[]), asked);
    assert_eq!(grant.to_string(), "for the caller, narrowed to agent, 3600 s (the longest allowed)");
    let grant = granted(&policy(JustInTime::Off), &caller("flexgate.token.any", &[]), named("grace"));
    assert_eq!(grant.to_string(), "for a named user, by flexgate.token.any, 3600 s (the default)");
}

#[test]
fn newcomers_come_only_from_verified_claims_and_only_where_configured() {
    let someone = caller("flexgate.token flexgate.token.any", &[Role::Supervisor, Role::Admin]);
    let newcomer = |policy: &Policy, caller: &Caller, asked| granted(policy, caller, asked).newcomer;
    for mode in [JustInTime::Create, JustInTime::CreateAndSync] {
        let made = newcomer(&policy(mode), &someone, MintRequest::default()).unwrap();
        assert_eq!((made.username.as_str(), made.roles), ("ada", [Role::Supervisor].into()));
        assert_eq!(newcomer(&policy(mode), &someone, named("grace")), None);
        let unverified = Caller { verified_email: None, ..someone.clone() };
        assert_eq!(newcomer(&policy(mode), &unverified, MintRequest::default()), None);
        let nameless = Caller { full_name: None, ..someone.clone() };
        assert_eq!(newcomer(&policy(mode), &nameless, MintRequest::default()), None);
        let nobody = Policy { allowed_roles: RoleSet::new(), ..policy(mode) };
        assert_eq!(newcomer(&nobody, &someone, MintRequest::default()), None);
    }
    assert_eq!(newcomer(&policy(JustInTime::Off), &someone, MintRequest::default()), None);
}

#[test]
fn only_an_active_user_with_allowed_roles_is_admitted() {
    let any = granted(&policy(JustInTime::Off), &caller("flexgate.token", &[]), MintRequest::default());
    let agent = granted(&policy(JustInTime::Off), &caller("flexgate.token", &[]), roles(&[Role::Agent]));
    let silent = |worker: bool| FlexUser {
        deactivated: None,
        worker_sid: worker.then(|| format!("WK{}", "0".repeat(32)).parse().unwrap()),
        ..user(&["agent"])
    };
    let cases = [
        (&any, user(&["agent"]), Ok(())),
        (&any, user(&["supervisor", "agent"]), Ok(())),
        (&any, user(&["agent", "wfo.full_access"]), Ok(())),
        (&agent, user(&["agent", "wfo.full_access"]), Err(NotAdmitted::BeyondAsked)),
        (&agent, user(&["agent", "supervisor"]), Err(NotAdmitted::BeyondAsked)),
        (&any, user(&["admin"]), Err(NotAdmitted::RoleNotAllowed(Role::Admin))),
        (&any, FlexUser { deactivated: Some(true), ..user(&["agent"]) }, Err(NotAdmitted::Deactivated)),
        (&any, FlexUser { roles: None, ..user(&["agent"]) }, Err(NotAdmitted::RolesUnknown)),
        (&any, silent(false), Err(NotAdmitted::Deactivated)),
        (&any, silent(true), Ok(())),
    ];
    for (grant, user, expected) in cases {
        assert_eq!(grant.admits(&user), expected, "{user:?}");
    }
}

#[test]
fn a_token_for_an_agent_alone_admits_an_agent() {
    let agent = granted(&policy(JustInTime::Off), &caller("flexgate.token", &[]), roles(&[Role::Agent]));
    assert_eq!(agent.admits(&user(&["agent"])), Ok(()));
}

#[test]
fn the_policy_names_the_role_that_it_forbids() {
    let policy = policy(JustInTime::Off);
    assert_eq!(policy.forbidden_role(&[Role::Agent, Role::Supervisor].into()), None);
    assert_eq!(policy.forbidden_role(&[Role::Agent, Role::Admin].into()), Some(Role::Admin));
}

#[test]
fn claims_count_only_for_whoever_mints_for_themselves() {
    let someone = caller("flexgate.token flexgate.token.any", &[Role::Supervisor]);
    for mode in [JustInTime::Off, JustInTime::Create, JustInTime::CreateAndSync] {
        assert_eq!(granted(&policy(mode), &someone, MintRequest::default()).just_in_time, mode);
        assert_eq!(granted(&policy(mode), &someone, named("grace")).just_in_time, JustInTime::Off);
    }
}

#[test]
fn r31_an_issuer_is_held_to_its_usernames() {
    let patterns = ["*@partner.example".parse().unwrap(), "partner-*".parse().unwrap()];
    let limits = IssuerLimits { usernames: patterns.into(), ..IssuerLimits::default() };
    let policy = policy(JustInTime::Create);
    let mint = |username: &str, scopes: &str, asked: MintRequest| {
        let own = Some(username.parse().unwrap());
        let caller = Caller { username: own, limits: limits.clone(), ..caller(scopes, &[Role::Agent]) };
        policy.mint(&caller, asked, NOW)
    };
    let outside = Some(MintRefusal::UsernameOutside);
    assert_eq!(mint("ada", "flexgate.token", MintRequest::default()).err(), outside);
    assert_eq!(mint("ada@partner.example", "flexgate.token.any", named("grace")).err(), outside);
    let grant = mint("Ada@Partner.example", "flexgate.token", MintRequest::default()).unwrap();
    // The caller's identity can be bound to a Flex user whose username differs from the username in the token. The
    // limit on usernames then applies to the Flex user's username too.
    assert_eq!(grant.admits(&user(&["agent"])), Err(NotAdmitted::UsernameOutside));
    let partner = FlexUser { username: "partner-ada".parse().unwrap(), ..user(&["agent"]) };
    assert_eq!(grant.admits(&partner), Ok(()));
    assert!(mint("x@partner.example", "flexgate.token.any", named("partner-7")).is_ok());
}
