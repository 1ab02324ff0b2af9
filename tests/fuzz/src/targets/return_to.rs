//! Fuzzes `return_to`, the address to which a browser goes after sign-in.

use flexgate::base::settings::Reader;
use flexgate::platform::Common;
use flexgate_sso::SignInSettings;
use http::HeaderValue;
use url::Url;

use crate::Outcome;
use crate::world::{DESK, GATEWAY, variables};

thread_local! {
    static SETTINGS: SignInSettings = {
        let mut reader = Reader::empty().with(variables());
        let common = Common::read(&mut reader);
        SignInSettings::read(&mut reader, common.as_ref()).unwrap()
    };
}

/// Checks that an accepted address leads a browser to an allowed origin, however a page uses the address.
pub(crate) fn run(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
    SETTINGS.with(|settings| {
        let Ok(address) = settings.destinations.parse(text) else { return Outcome::Refused };
        let address = address.as_str();
        assert!(HeaderValue::from_str(address).is_ok() && address.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
        // A browser resolves the header `Location` against the callback's address.
        for base in ["/sso/default/callback?code=1", "/", "/a/b/c#d"] {
            let landed = Url::parse(GATEWAY).unwrap().join(base).unwrap().join(address).unwrap();
            check(&landed, address);
        }
        // A page may also append the address to its own origin.
        if address.starts_with('/') {
            assert!(!address.starts_with("//") && !address.starts_with("/\\"), "{address:?}");
            let landed = Url::parse(&format!("{GATEWAY}{address}")).unwrap();
            assert_eq!(landed.origin().ascii_serialization(), GATEWAY, "{address:?}");
        }
        assert_eq!(settings.destinations.parse(address).unwrap().as_str(), address, "a second reading changes it");
        Outcome::Accepted
    })
}

fn check(landed: &Url, address: &str) {
    assert!([GATEWAY, DESK].contains(&landed.origin().ascii_serialization().as_str()), "{address:?} leads to {landed}");
    assert!(landed.username().is_empty() && landed.password().is_none(), "{address:?}");
}
