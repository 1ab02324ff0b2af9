//! The settings of the simulated deployment.

use flexgate::authn::CallerSettings;
use flexgate::base::settings::Reader;
use flexgate::platform::{Common, OwnerSettings};
use flexgate::twilio::CredentialSettings;
use flexgate::users::PolicySettings;
use flexgate_provision::ScimSettings;
use flexgate_simulator::{ACCOUNT_SID, AUDIENCE, INSTANCE_SID, SSO_PROFILE_SID};
use flexgate_sso::SignInSettings;
use flexgate_webhooks::WebhookSettings;
use serde_json::json;

pub(crate) const GATEWAY: &str = "http://localhost:9000";
/// The address of Twilio and the identity provider. Nothing listens there, because the requests stay within the
/// process.
pub(crate) const TWILIO: &str = "http://localhost:9010";

/// The settings of every function.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) sso: flexgate_sso::Settings,
    pub(crate) mint: OwnerSettings,
    pub(crate) provision: flexgate_provision::Settings,
    pub(crate) webhooks: flexgate_webhooks::Settings,
    pub(crate) apply: flexgate_apply::Settings,
    pub(crate) sweep: flexgate_sweep::Settings,
}

fn variables() -> Vec<(&'static str, String)> {
    let issuers = json!([{ "issuer": format!("{TWILIO}/idp"), "audiences": [AUDIENCE], "roles_claim": "roles" }]);
    let webhooks = json!({
        "okta": { "members_of": ["group-a", "group-b"], "map": { "username": "/login" } },
        "hr": { "kind": "generic", "events": { "hired": "upsert", "changed": "refresh", "left": "deactivate" },
                "role_map": { "lead": "supervisor" },
                "map": { "type": "/what", "subject": "/who/number", "occurred_at": "/when", "username": "/who/login",
                         "email": "/who/mail", "full_name": "/who/name", "roles": "/who/job" } },
    });
    vec![
        ("TWILIO_ACCOUNT_SID", ACCOUNT_SID.into()),
        ("TWILIO_INSTANCE_SID", INSTANCE_SID.into()),
        ("TWILIO_SECRET_ID", "twilio".into()),
        ("COOKIE_KEYS_SECRET_ID", "cookie-keys".into()),
        ("SCIM_TOKENS_SECRET_ID", "scim-tokens".into()),
        ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets".into()),
        ("FLEXGATE_TWILIO_URL", TWILIO.into()),
        ("FLEXGATE_PUBLIC_URL", GATEWAY.into()),
        ("FLEXGATE_SECRETS", "files:unused".into()),
        ("FLEXGATE_STORE", "sqlite:unused".into()),
        ("FLEXGATE_SSO_PROFILES", format!("default={SSO_PROFILE_SID}")),
        ("FLEXGATE_ISSUERS", issuers.to_string()),
        ("FLEXGATE_WEBHOOKS", webhooks.to_string()),
        ("FLEXGATE_JUST_IN_TIME", "create-and-sync".into()),
        ("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin".into()),
        (
            "FLEXGATE_SCIM_GROUP_ROLES",
            json!({ "Leads": "supervisor", "Chiefs": "supervisor", "Bosses": "admin" }).to_string(),
        ),
    ]
}

impl Settings {
    pub(crate) fn read() -> Self {
        let mut reader = Reader::empty().with(variables());
        let common = Common::read(&mut reader);
        let sign_in = SignInSettings::read(&mut reader, common.as_ref());
        let credential = CredentialSettings::read(&mut reader);
        let (caller, policy) = (CallerSettings::read(&mut reader), PolicySettings::read(&mut reader));
        let (webhooks, tries) = (WebhookSettings::read(&mut reader), flexgate_apply::tries(&mut reader));
        let scim = ScimSettings::read(&mut reader);
        let settings = || {
            let (common, credential, policy) = (common?, credential?, policy?);
            let mint = OwnerSettings {
                common: common.clone(),
                credential: credential.clone(),
                caller: caller?,
                policy: policy.clone(),
            };
            Some(Self {
                sso: flexgate_sso::Settings { common: common.clone(), sign_in: sign_in? },
                provision: flexgate_provision::Settings { owner: mint.clone(), scim: scim? },
                mint,
                webhooks: flexgate_webhooks::Settings { common: common.clone(), webhooks: webhooks? },
                apply: flexgate_apply::Settings {
                    common: common.clone(),
                    credential: credential.clone(),
                    policy: policy.clone(),
                    tries: tries?,
                    graph: None,
                },
                sweep: flexgate_sweep::Settings { common, credential, policy, orphans_after: None, idle_after: None },
            })
        };
        let settings = settings();
        reader.finish(settings).unwrap()
    }
}
