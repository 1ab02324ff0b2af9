//! The simulator's certificate authority, and a server certificate for all Twilio host names. The server's key survives
//! restarts, because a browser may be started with the option to trust this key's hash.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::persist::Store;
use crate::simulator::StartError;
use crate::web;

/// The names in the certificate. A wildcard covers one label, so each region needs its own wildcard.
const NAMES: [&str; 13] = [
    "twilio.com",
    "*.twilio.com",
    "*.us1.twilio.com",
    "*.ie1.twilio.com",
    "*.au1.twilio.com",
    "*.ashburn.us1.twilio.com",
    "*.umatilla.us1.twilio.com",
    "*.dublin.ie1.twilio.com",
    "*.sydney.au1.twilio.com",
    "localhost",
    "*.localhost",
    "127.0.0.1",
    "::1",
];

pub(crate) struct Identity {
    pub(crate) ca_pem: String,
    pub(crate) spki_sha256_base64: String,
    pub(crate) server: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn load_or_generate(store: &Store) -> Result<Self, StartError> {
        let new_key = || Ok(KeyPair::generate()?.serialize_pem());
        let ca_key = KeyPair::from_pem(&store.read_or_make("ca-key.pem", new_key)?)?;
        let leaf_key = KeyPair::from_pem(&store.read_or_make("leaf-key.pem", new_key)?)?;
        let ca_params = authority();
        let ca_pem = store.read_or_make("ca.pem", || Ok(ca_params.self_signed(&ca_key)?.pem()))?;
        let issuer = Issuer::new(ca_params, ca_key);
        let leaf = leaf()?.signed_by(&leaf_key, &issuer)?;

        let spki = ring::digest::digest(&ring::digest::SHA256, &leaf_key.subject_public_key_info());
        let chain = vec![
            leaf.der().clone(),
            CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|_| store.corrupt("ca.pem"))?,
        ];
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, private)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { ca_pem, spki_sha256_base64: web::b64(spki), server: Arc::new(server) })
    }
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Flexgate simulator");
    name.push(DnType::CommonName, common_name);
    name
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Flexgate simulator CA (not Twilio)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2045, 1, 1);
    params
}

fn leaf() -> Result<CertificateParams, StartError> {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name = named("*.twilio.com (simulated)");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2045, 1, 1);
    Ok(params)
}
