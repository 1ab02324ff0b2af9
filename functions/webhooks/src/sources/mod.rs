//! The kinds of source, one file each.

mod auth0;
mod fusionauth;
mod generic;
mod graph;
mod okta;
mod standard;
mod workos;
mod zitadel;

use secrecy::SecretString;

use crate::settings::{Kind, SourceSettings};
use crate::source::Source;

/// A configured source.
#[derive(Debug)]
pub(crate) struct ConfiguredSource {
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) source: Box<dyn Source>,
}

impl ConfiguredSource {
    /// The source that the settings describe.
    pub(crate) fn of(settings: &SourceSettings) -> Self {
        Self { issuer: settings.issuer.clone(), source: of_kind(settings) }
    }

    /// Whether this source can use a secret.
    pub(crate) fn takes(&self, secret: &SecretString) -> Result<(), &'static str> {
        self.source.takes(secret)
    }
}

fn of_kind(settings: &SourceSettings) -> Box<dyn Source> {
    match settings.kind {
        Kind::Standard => Box::new(standard::Standard::new(settings)),
        Kind::Okta => Box::new(okta::Okta::new(settings)),
        Kind::Auth0 => Box::new(auth0::Auth0::new(settings)),
        Kind::Workos => Box::new(workos::WorkOs::new(settings)),
        Kind::Fusionauth => Box::new(fusionauth::FusionAuth::new(settings)),
        Kind::Zitadel => Box::new(zitadel::Zitadel::new(settings)),
        Kind::Graph => Box::new(graph::Graph),
        Kind::Generic => Box::new(generic::source(settings)),
    }
}
