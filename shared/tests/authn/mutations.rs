//! Property tests with damaged tokens: the verifier refuses a token in which one bit was changed, and no input causes a
//! panic.

use std::sync::LazyLock;

use flexgate::authn::CallerError;
use flexgate::base::outbound::Deadline;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::issuer::*;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// An issuer with one key of each kind, and a verifier that has fetched these keys. All cases of a property test use
/// the same issuer and verifier.
static WORLD: LazyLock<Idp> = LazyLock::new(|| {
    RUNTIME.block_on(async {
        let idp = Idp::new().await;
        idp.publish(&[&*RS256, &*ES256, &*EDDSA].map(|signer| signer.jwk(signer.alg())).into());
        idp.verifier.prewarm(soon()).await;
        idp
    })
});

fn good(signer: &Signer) -> String {
    let header = header(&json!({"alg": signer.alg(), "kid": signer.alg()}));
    signer.token(header, WORLD.claims().to_string())
}

/// Whether the verifier accepts these bytes as a caller's token.
fn accepted(token: &[u8]) -> bool {
    let value = [b"Bearer ", token].concat();
    let Some(headers) = authorization(&[&value]) else { return false };
    RUNTIME.block_on(WORLD.verifier.verify(&headers, Deadline::after(std::time::Duration::from_secs(5)))).is_ok()
}

#[test]
fn every_flipped_bit_of_a_short_token_is_a_refusal() {
    let token = good(&EDDSA);
    assert!(accepted(token.as_bytes()));
    for bit in 0..token.len() * 8 {
        let mut flipped = token.clone().into_bytes();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepted(&flipped), "bit {bit} of {token}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_flipped_bit_is_a_refusal(which in 0..2, at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut token = good(if which == 0 { &RS256 } else { &ES256 }).into_bytes();
        prop_assert!(accepted(&token));
        let at = at.index(token.len());
        token[at] ^= 1u8 << bit;
        prop_assert!(!accepted(&token));
    }

    #[test]
    fn an_edited_token_is_a_refusal(
        from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), insert in "[A-Za-z0-9_.=-]{0,4}"
    ) {
        let token = good(&ES256);
        let (from, to) = (from.index(token.len()), to.index(token.len()));
        let edited = format!("{}{insert}{}", &token[..from.min(to)], &token[from.max(to)..]);
        prop_assume!(edited != token);
        prop_assert!(!accepted(edited.as_bytes()));
    }

    #[test]
    fn no_string_is_a_panic(token in any::<String>()) {
        prop_assert!(RUNTIME.block_on(WORLD.verify(&token)).is_err());
    }

    #[test]
    fn no_signed_claims_are_a_panic(name in "exp|nbf|iat|aud|sub|scope|email|name|typ|iss", value in json_value()) {
        let verdict = RUNTIME.block_on(WORLD.verify(&EDDSA.token(
            header(&json!({"alg": "EdDSA", "kid": "EdDSA"})),
            WORLD.claims_with(&json!({ name: value })).to_string(),
        )));
        let settled = matches!(verdict, Ok(_) | Err(CallerError::Invalid(_)));
        prop_assert!(settled);
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        proptest::collection::vec(any::<String>(), 0..3).prop_map(Into::into),
    ]
}
