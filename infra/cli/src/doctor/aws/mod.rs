//! `flexgate doctor --aws`: asks AWS for the account's limits and the table's protection, and checks them. Changes
//! nothing.

mod signed;
mod table;

use std::error::Error;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::error_chain::with_causes;
use flexgate::base::outbound::http_client;
use flexgate::base::settings::Reader;
use flexgate::lambda::Aws;
use flexgate::store::StoreAt;

use super::finding::Finding;
use super::parameters::Parameters;
use signed::AwsError;

const CHECK: &str = "aws";

/// The number of concurrent executions that Lambda keeps for the functions that reserve none.
const KEPT_UNRESERVED: u64 = 100;

/// What to do about missing credentials or a missing region.
const SIGN_IN: &str = "sign in (aws sso login), or set AWS_PROFILE or AWS's other variables";

/// Checks the account. `parameters` are the parameters of the next deployment.
pub(super) async fn check(parameters: Option<&Parameters>, clock: &ClockRng) -> Result<Vec<Finding>, Box<dyn Error>> {
    let http = http_client(&[])?;
    let aws = Aws::new(http.clone());
    let config = aws.config().await;
    let Some(region) = config.region().map(ToString::to_string).filter(|name| !name.is_empty()) else {
        return Ok(vec![Finding::failure(CHECK, "no region is set", format!("set AWS_REGION, or {SIGN_IN}"))]);
    };
    let path = "/2016-08-19/account-settings";
    let mut findings = match signed::get_lambda(&http, config, path, clock.now().into()).await {
        Ok(answer) => {
            let number = |name: &str| answer["AccountLimit"][name].as_u64();
            match number("ConcurrentExecutions").zip(number("UnreservedConcurrentExecutions")) {
                Some((limit, unreserved)) => concurrency(&region, limit, unreserved, parameters),
                None => vec![Finding::warning(CHECK, "Lambda's answer about the account has no limits", "try again")],
            }
        }
        Err(error) => vec![unanswered("lambda:GetAccountSettings", &error)],
    };
    let mut reader = Reader::of_process();
    let store = reader.optional("FLEXGATE_STORE", str::parse::<StoreAt>);
    match store {
        Some(Some(StoreAt::DynamoDb(table))) => findings.extend(table::check(config, &table).await),
        _ => findings.push(Finding::ok(CHECK, "no table was looked at; FLEXGATE_STORE=dynamodb:TABLE names one")),
    }
    Ok(findings)
}

/// A finding for a question that AWS did not answer.
fn unanswered(action: &str, error: &AwsError) -> Finding {
    match error {
        AwsError::NoCredentials => Finding::failure(CHECK, with_causes(error), SIGN_IN),
        AwsError::Refused(_) => {
            let text = format!("{action} was not looked at: {}", with_causes(error));
            Finding::warning(CHECK, text, format!("use credentials that are valid and allow {action}"))
        }
        _ => {
            let remedy = "check the network, AWS_REGION and AWS_ENDPOINT_URL";
            Finding::failure(CHECK, format!("{action} failed: {}", with_causes(error)), remedy)
        }
    }
}

/// Compares the account's limit on concurrent executions with what the functions need and with what `parameters`
/// reserve.
fn concurrency(region: &str, limit: u64, unreserved: u64, parameters: Option<&Parameters>) -> Vec<Finding> {
    let raise = "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 \
                 --desired-value 1000";
    let mut findings = Vec::new();
    findings.push(if limit < KEPT_UNRESERVED {
        let text = format!(
            "Lambda runs at most {limit} requests at once for the whole account in {region}: when a shift starts, more \
             people sign in together, and are refused"
        );
        Finding::warning(CHECK, text, format!("ask AWS for 1000, which takes minutes to days: {raise}"))
    } else {
        let text = format!("Lambda runs at most {limit} requests at once in {region}; {unreserved} are unreserved");
        Finding::ok(CHECK, text)
    });
    let (names, reserved) = parameters.map(Parameters::reserved).unwrap_or_default();
    let names = names.join(", ");
    if reserved > limit.saturating_sub(KEPT_UNRESERVED) {
        let most = limit.saturating_sub(KEPT_UNRESERVED);
        let text = format!(
            "the parameters reserve {reserved} of {limit} concurrent executions, and Lambda keeps {KEPT_UNRESERVED} \
             unreserved: the deployment would fail"
        );
        let remedy = if most == 0 {
            format!("leave out {names}, or raise the limit first: {raise}")
        } else {
            format!("lower {names} to {most} together, or raise the limit first: {raise}")
        };
        findings.push(Finding::failure(CHECK, text, remedy));
    } else if reserved > unreserved.saturating_sub(KEPT_UNRESERVED) {
        let text = format!(
            "the parameters reserve {reserved} concurrent executions, and only {unreserved} of {limit} are unreserved, \
             of which Lambda keeps {KEPT_UNRESERVED}"
        );
        let remedy = format!("no mistake if this stack has reserved them already; otherwise lower {names}");
        findings.push(Finding::warning(CHECK, text, remedy));
    } else if reserved == 0 && limit > unreserved && unreserved <= KEPT_UNRESERVED {
        let text = format!(
            "functions have reserved {} of {limit} concurrent executions, and all others share {unreserved}",
            limit - unreserved
        );
        findings.push(Finding::warning(CHECK, text, format!("reserve less, or raise the limit: {raise}")));
    }
    findings
}
