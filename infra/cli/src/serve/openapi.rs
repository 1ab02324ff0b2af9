//! The OpenAPI document, merged from the descriptions of all functions.
//!
//! A test compares it with `docs/openapi.json`. `UPDATE=1 cargo test -p flexgate-cli openapi` updates that file.

use axum::routing::get;
use axum::{Json, Router};
use flexgate::web::openapi;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

pub fn router() -> Router {
    Router::new().route("/openapi.json", get(|| async { Json(document()) }))
}

/// Every function's routes.
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Flexgate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Signs people in to the Twilio Flex SDK. Errors are problem documents (RFC 9457)."))
        .build();
    let mut api = OpenApiBuilder::new().info(info).build();
    let parts = [
        flexgate_sso::openapi(),
        flexgate_mint::openapi(),
        flexgate_provision::openapi(),
        flexgate_webhooks::openapi(),
    ];
    for part in parts {
        api.merge(part);
    }
    openapi::complete(&mut api);
    api
}

#[cfg(test)]
mod tests {
    use flexgate::web::kinds;
    use serde_json::{Map, Value};

    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        let served = document().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
            std::fs::write(COMMITTED, &served).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            served == committed,
            "docs/openapi.json is not what the code says: UPDATE=1 cargo test -p flexgate-cli openapi"
        );
    }

    #[test]
    fn every_kind_of_problem_a_route_can_answer_with_is_an_answer_of_some_route() {
        let text = serde_json::to_string(&document().paths).unwrap();
        for kind in kinds::ALL {
            // The documented routes do not answer with these codes. The gateway uses these codes when it refuses an
            // unknown route, a wrong method, an unsupported SCIM path, or a request that did not come through the CDN.
            let of_no_route =
                ["route_unknown", "method_not_allowed", "scim_unsupported", "cdn_required"].contains(&kind.code);
            // SCIM errors have no member for the code, so the descriptions of the SCIM routes contain the codes as
            // text.
            let named = text.contains(&format!("{:?}", kind.uri())) || text.contains(&format!("`{}`", kind.code));
            assert_eq!(named, !of_no_route, "{}", kind.code);
        }
    }

    #[test]
    fn every_operation_has_a_name_a_summary_and_at_least_one_answer_that_is_no_problem() {
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() >= 21, "{:?}", paths.keys());
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
                let responses: &Map<String, Value> = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|status| status.as_str() < "400"), "{method} {path}");
            }
        }
    }
}
