//! A minimal browser: it stores cookies, follows redirects and submits the sign-in form.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use flexgate::base::outbound::{Answer, Deadline, send};
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderValue, Method};
use reqwest::Request;
use url::Url;

use super::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 1 << 20;
const MAX_REDIRECTS: usize = 10;

/// A browser with its cookies.
pub(super) struct Browser<'a> {
    stage: &'a Stage,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub(super) fn new(stage: &'a Stage) -> Self {
        Self { stage, cookies: BTreeMap::new() }
    }

    /// Signs in as `person`. Returns the address after all redirects.
    pub(super) async fn sign_in(&mut self, person: &str) -> Result<Url, Box<dyn Error>> {
        let login = format!("{}/sso/default/login?return_to=/", self.stage.gateway).parse()?;
        let (page, at) = self.navigate(login, None).await?;
        let form = String::from_utf8_lossy(&page.body).into_owned();
        let request = hidden(&form, "request").ok_or("the sign-in page has no form")?;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("request", &request)
            .append_pair("username", person)
            .finish();
        let action = at.join("/idp/authorize/decision")?;
        let (_, at) = self.navigate(action, Some(body)).await?;
        Ok(at)
    }

    /// Sends a `POST` with the headers that the gateway's own page sends.
    pub(super) async fn call(&mut self, path: &str) -> Result<Answer, Box<dyn Error>> {
        let mut request = Request::new(Method::POST, format!("{}{path}", self.stage.gateway).parse()?);
        request.headers_mut().insert(ORIGIN, HeaderValue::from_str(&self.stage.gateway)?);
        request.headers_mut().insert("x-flexgate", HeaderValue::from_static("1"));
        self.exchange(request).await
    }

    async fn navigate(&mut self, to: Url, form: Option<String>) -> Result<(Answer, Url), Box<dyn Error>> {
        let (mut to, mut form) = (to, form);
        for _ in 0..MAX_REDIRECTS {
            let method = if form.is_some() { Method::POST } else { Method::GET };
            let mut request = Request::new(method, to.clone());
            if let Some(form) = form.take() {
                let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(CONTENT_TYPE, content_type);
                *request.body_mut() = Some(form.into());
            }
            let answer = self.exchange(request).await?;
            match answer.headers.get(LOCATION) {
                Some(location) if answer.status.is_redirection() => to = to.join(location.to_str()?)?,
                _ if answer.status.is_success() => return Ok((answer, to)),
                _ => return Err(format!("{} answered {}", to.path(), answer.status).into()),
            }
        }
        Err("too many redirects".into())
    }

    async fn exchange(&mut self, mut request: Request) -> Result<Answer, Box<dyn Error>> {
        let to_gateway = request.url().as_str().starts_with(&self.stage.gateway);
        if to_gateway && !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.headers_mut().insert(COOKIE, HeaderValue::from_str(&pairs.join("; "))?);
        }
        let answer = send(&self.stage.http, request, Deadline::after(PATIENCE), MAX_ANSWER).await?;
        for line in answer.headers.get_all(SET_COOKIE).iter().filter(|_| to_gateway) {
            let set = cookie::Cookie::parse(line.to_str()?)?;
            if set.max_age() == Some(cookie::time::Duration::ZERO) {
                self.cookies.remove(set.name());
            } else {
                self.cookies.insert(set.name().to_owned(), set.value().to_owned());
            }
        }
        Ok(answer)
    }
}

/// Returns the value of the form field `name` in the HTML.
fn hidden(page: &str, name: &str) -> Option<String> {
    let field = page.split("<input").find(|field| field.contains(&format!("name=\"{name}\"")))?;
    let value = field.split("value=\"").nth(1)?.split('"').next()?;
    Some(value.to_owned())
}
