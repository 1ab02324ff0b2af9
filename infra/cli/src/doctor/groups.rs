//! Reads the settings in groups, so that a mistake in one group does not hide the others.

use flexgate::authn::CallerSettings;
use flexgate::base::settings::{Reader, VariableError};
use flexgate::platform::Common;
use flexgate::twilio::CredentialSettings;
use flexgate::users::PolicySettings;
use flexgate_provision::ScimSettings;
use flexgate_sso::SignInSettings;
use flexgate_webhooks::WebhookSettings;

use crate::variables::unknown_here;

/// The groups of settings. A group with a mistake is `None`, and its checks are skipped.
pub(super) struct Groups {
    pub(super) common: Option<Common>,
    pub(super) credential: Option<CredentialSettings>,
    pub(super) sign_in: Option<SignInSettings>,
    pub(super) caller: Option<CallerSettings>,
    pub(super) webhooks: Option<WebhookSettings>,
    /// Also `None` if SCIM is not served.
    pub(super) scim: Option<ScimSettings>,
    pub(super) mistakes: Vec<VariableError>,
    /// Variables with an old name: the old name and the new one.
    pub(super) old_names: Vec<(&'static str, &'static str)>,
    /// Unknown variables, each with the most similar known name.
    pub(super) unknown: Vec<(String, Option<&'static str>)>,
}

impl Groups {
    pub(super) fn read(mut reader: Reader) -> Self {
        let (common, credential) = (Common::read(&mut reader), CredentialSettings::read(&mut reader));
        let sign_in = SignInSettings::read(&mut reader, common.as_ref());
        let caller = CallerSettings::read(&mut reader);
        let (webhooks, scim) = (WebhookSettings::read(&mut reader), ScimSettings::read(&mut reader).flatten());
        let (_policy, _tries) = (PolicySettings::read(&mut reader), flexgate_apply::tries(&mut reader));
        let _graph = flexgate_apply::GraphSettings::read(&mut reader);
        let old_names = reader.old_names();
        let mistakes = reader.finish(Some(())).err().map(|error| error.variables().to_vec()).unwrap_or_default();
        Self { common, credential, sign_in, caller, webhooks, scim, mistakes, old_names, unknown: unknown_here() }
    }
}
