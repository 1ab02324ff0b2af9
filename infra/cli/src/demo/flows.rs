//! The flows of the demo, in the order in which a newcomer would use them.

use std::error::Error;
use std::time::Duration;

use flexgate::base::outbound::{Answer, Deadline, send};
use flexgate_simulator::{SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Request;
use serde_json::{Value, json};

use super::browser::Browser;
use super::stage::{Stage, report};

type Outcome = Result<String, Box<dyn Error>>;

/// Runs every flow. Returns how many failed. A flow that cannot run because an earlier one failed counts as failed too.
pub(super) async fn play(stage: &Stage) -> Result<usize, Box<dyn Error>> {
    let mut failed = 0;
    let mut note = |step: &str, outcome: Outcome| -> Result<Option<String>, Box<dyn Error>> {
        report(step, &outcome)?;
        failed += usize::from(outcome.is_err());
        Ok(outcome.ok())
    };
    let mut browser = Browser::new(stage);
    note("sso", sso(&mut browser).await)?;
    note("validate", validate(stage, &mut browser).await)?;
    note("refresh", refresh(stage).await)?;

    let bearer = service_token(stage).await?;
    note("provision", provision(stage, &bearer).await)?;
    note("find", find(stage, &bearer).await)?;
    note("mint", mint(stage, &bearer).await)?;
    note("deprovision", deprovision(stage, &bearer).await)?;
    note("sign out", sign_out(&mut browser).await)?;
    Ok(failed)
}

async fn sso(browser: &mut Browser<'_>) -> Outcome {
    let at = browser.sign_in("ada").await?;
    let answer = browser.call("/sso/token").await?;
    let token = expect(&answer, StatusCode::OK)?;
    Ok(format!("signed in as {}, roles {}, back at {}", text(&token, "username")?, token["roles"], at.path()))
}

async fn validate(stage: &Stage, browser: &mut Browser<'_>) -> Outcome {
    let token = expect(&browser.call("/sso/token").await?, StatusCode::OK)?;
    let body = json!({ "token": text(&token, "access_token")? });
    let info = expect(&call(stage, Method::POST, "/sso/validate", None, Some(&body)).await?, StatusCode::OK)?;
    Ok(format!("the token is {}'s, good until {}", text(&info, "flex_user_sid")?, text(&info, "expiration")?))
}

async fn refresh(stage: &Stage) -> Outcome {
    // Before Flexgate returns a token, it refreshes the token if less than five minutes are left. This token is valid
    // for only four minutes, so Flexgate must refresh it.
    switch(stage, &json!({ "sso_token_ttl_seconds": 240 })).await?;
    let mut browser = Browser::new(stage);
    browser.sign_in("grace").await?;
    switch(stage, &json!({ "sso_token_ttl_seconds": 3600 })).await?;
    let first = expect(&browser.call("/sso/token").await?, StatusCode::OK)?;
    let second = expect(&browser.call("/sso/token").await?, StatusCode::OK)?;
    if first["access_token"] != second["access_token"] {
        return Err("a token that was fresh was refreshed again".into());
    }
    let journal = call_at(stage, &format!("{}/__sim/requests?path_contains=OAuth/Tokens", stage.simulator)).await?;
    let grants = journal["requests"].as_array().ok_or("the simulator keeps no journal")?;
    let refreshed = grants.iter().filter(|request| request["body"].to_string().contains("RefreshToken")).count();
    if refreshed != 1 {
        return Err(format!("expected one refresh at Twilio, the journal has {refreshed}").into());
    }
    Ok(format!("a token with four minutes left became one good until {}", text(&first, "expires_at")?))
}

async fn provision(stage: &Stage, bearer: &str) -> Outcome {
    let body = json!({
        "username": "katherine", "email": "katherine@example.com", "full_name": "Katherine Johnson",
        "roles": ["agent"], "worker": {},
    });
    let user = expect(&call(stage, Method::POST, "/users", Some(bearer), Some(&body)).await?, StatusCode::CREATED)?;
    Ok(format!("katherine is {}, worker {}", text(&user, "flex_user_sid")?, text(&user, "worker_sid")?))
}

async fn find(stage: &Stage, bearer: &str) -> Outcome {
    let user = katherine(stage, bearer).await?;
    Ok(format!("found {} by username", text(&user, "flex_user_sid")?))
}

async fn mint(stage: &Stage, bearer: &str) -> Outcome {
    let body = json!({ "username": "katherine", "ttl": 3600 });
    let minted = expect(&call(stage, Method::POST, "/token", Some(bearer), Some(&body)).await?, StatusCode::CREATED)?;
    let body = json!({ "token": text(&minted, "access_token")? });
    let info = expect(&call(stage, Method::POST, "/sso/validate", None, Some(&body)).await?, StatusCode::OK)?;
    Ok(format!("a token for {}, good until {}", text(&info, "flex_user_sid")?, text(&minted, "expires_at")?))
}

async fn deprovision(stage: &Stage, bearer: &str) -> Outcome {
    let user = katherine(stage, bearer).await?;
    let path = format!("/users/{}", text(&user, "flex_user_sid")?);
    expect(&call(stage, Method::DELETE, &path, Some(bearer), None).await?, StatusCode::NO_CONTENT)?;
    let body = json!({ "username": "katherine" });
    expect(&call(stage, Method::POST, "/token", Some(bearer), Some(&body)).await?, StatusCode::FORBIDDEN)?;
    Ok("katherine is deactivated and gets no more tokens".to_owned())
}

async fn sign_out(browser: &mut Browser<'_>) -> Outcome {
    expect(&browser.call("/sso/logout").await?, StatusCode::NO_CONTENT)?;
    expect(&browser.call("/sso/token").await?, StatusCode::UNAUTHORIZED)?;
    Ok("the session is over".to_owned())
}

async fn katherine(stage: &Stage, bearer: &str) -> Result<Value, Box<dyn Error>> {
    let found = call(stage, Method::GET, "/users?username=katherine", Some(bearer), None).await?;
    let found = expect(&found, StatusCode::OK)?;
    Ok(found["users"].get(0).cloned().ok_or("katherine is not found")?)
}

/// Returns an access token for the demo's service, which may mint tokens for others and manage users. The access token
/// comes from the simulated identity provider.
async fn service_token(stage: &Stage) -> Result<String, Box<dyn Error>> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", SERVICE_CLIENT_ID)
        .append_pair("client_secret", SERVICE_CLIENT_SECRET)
        .append_pair("scope", "flexgate.token.any flexgate.users.read flexgate.users.write")
        .finish();
    let mut request = Request::new(Method::POST, format!("{}/token", stage.issuer).parse()?);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    *request.body_mut() = Some(body.into());
    let answer = expect(&sent(stage, request).await?, StatusCode::OK)?;
    Ok(text(&answer, "access_token")?.to_owned())
}

async fn switch(stage: &Stage, switches: &Value) -> Result<(), Box<dyn Error>> {
    let request = json_request(Method::POST, &format!("{}/__sim/switches", stage.simulator), Some(switches))?;
    let answer = sent(stage, request).await?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("the simulator answered {}", answer.status).into()) }
}

async fn call(
    stage: &Stage,
    method: Method,
    path: &str,
    bearer: Option<&str>,
    body: Option<&Value>,
) -> Result<Answer, Box<dyn Error>> {
    let mut request = json_request(method, &format!("{}{path}", stage.gateway), body)?;
    if let Some(bearer) = bearer {
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {bearer}"))?);
    }
    sent(stage, request).await
}

async fn call_at(stage: &Stage, url: &str) -> Result<Value, Box<dyn Error>> {
    expect(&sent(stage, json_request(Method::GET, url, None)?).await?, StatusCode::OK)
}

fn json_request(method: Method, url: &str, body: Option<&Value>) -> Result<Request, Box<dyn Error>> {
    let mut request = Request::new(method, url.parse()?);
    if let Some(body) = body {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.to_string().into());
    }
    Ok(request)
}

async fn sent(stage: &Stage, request: Request) -> Result<Answer, Box<dyn Error>> {
    Ok(send(&stage.http, request, Deadline::after(Duration::from_secs(10)), 1 << 20).await?)
}

/// Returns the JSON body of an answer. If the answer's status is not `status`, returns an error with the problem's
/// code.
fn expect(answer: &Answer, status: StatusCode) -> Result<Value, Box<dyn Error>> {
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    if answer.status == status {
        return Ok(body);
    }
    let code = body["code"].as_str().unwrap_or("no code");
    Err(format!("expected {status}, got {} ({code})", answer.status).into())
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Box<dyn Error>> {
    value[name].as_str().ok_or_else(|| format!("the answer has no {name}").into())
}
