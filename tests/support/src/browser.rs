//! A browser for sign-in tests. It stores cookies and follows the redirects through the identity provider.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use flexgate::web::Peer;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, USER_AGENT};
use http::{HeaderValue, Method, Request};
use tower::ServiceExt;
use url::Url;

use crate::{GATEWAY, Reply, World};

/// A browser that talks to one gateway.
#[derive(Clone)]
pub struct Browser {
    router: Router,
    /// The browser's cookies for the gateway.
    pub cookies: BTreeMap<String, String>,
    /// The address from which the browser connects, or `None` if the gateway does not know the address.
    pub address: Option<IpAddr>,
    /// The header `user-agent` of every request.
    pub agent: Option<&'static str>,
    /// The header `accept` of every request.
    accept: Option<HeaderValue>,
}

impl Browser {
    /// A browser without cookies.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self { router, cookies: BTreeMap::new(), address: None, agent: None, accept: None }
    }

    /// Returns a browser that has the same cookies, but talks to another gateway process.
    #[must_use]
    pub fn at(&self, router: Router) -> Self {
        Self { router, ..self.clone() }
    }

    /// From now on, sends the header `accept` with these types in every request.
    pub fn accept(&mut self, types: &'static str) {
        self.accept = Some(HeaderValue::from_static(types));
    }

    /// Sends a request with the browser's cookies. Stores the answer's cookies.
    pub async fn send(&mut self, mut request: Request<Body>) -> Reply {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.headers_mut().insert(COOKIE, HeaderValue::from_str(&pairs.join("; ")).unwrap());
        }
        if let Some(types) = &self.accept {
            request.headers_mut().insert(ACCEPT, types.clone());
        }
        if let Some(agent) = self.agent {
            request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        }
        if let Some(address) = self.address {
            request.extensions_mut().insert(Peer::of_connection(address));
        }
        let reply = Reply::read(self.router.clone().oneshot(request).await.unwrap()).await;
        for line in reply.set_cookies() {
            let set = cookie::Cookie::parse(line).unwrap();
            if set.max_age() == Some(cookie::time::Duration::ZERO) {
                self.cookies.remove(set.name());
            } else {
                self.cookies.insert(set.name().to_owned(), set.value().to_owned());
            }
        }
        reply
    }

    /// Navigates to `path`.
    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a `POST` with the headers that a page on the gateway's own origin sends: `Origin` and `x-flexgate`.
    pub async fn call(&mut self, path: &str) -> Reply {
        let request = Request::post(path).header(ORIGIN, GATEWAY).header("x-flexgate", "1");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Begins a login. Returns the URL at Twilio to which the gateway redirects.
    pub async fn begin(&mut self, login: &str) -> Url {
        let reply = self.get(login).await;
        assert_eq!(reply.status, 303, "{}", reply.text);
        reply.header("location").parse().unwrap()
    }

    /// Signs in at the identity provider as `person`, or declines if `person` is `None`. Returns the path and query of
    /// the gateway's callback.
    pub async fn authenticate(&self, world: &World, authorize: &Url, person: Option<&str>) -> String {
        let mut at = authorize.clone();
        let mut form = None;
        for _ in 0..10 {
            let method = if form.is_some() { Method::POST } else { Method::GET };
            let mut request = reqwest::Request::new(method, at.clone());
            if let Some(form) = form.take() {
                let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(CONTENT_TYPE, content_type);
                *request.body_mut() = Some(String::into(form));
            }
            let answer = world.exchange(request).await;
            if let Some(location) = answer.headers.get(LOCATION) {
                at = at.join(location.to_str().unwrap()).unwrap();
                if at.as_str().starts_with(GATEWAY) {
                    return format!("{}?{}", at.path(), at.query().unwrap());
                }
                continue;
            }
            let page = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(answer.status.is_success(), "{at}: {page}");
            let field = page.split("name=\"request\"").nth(1).unwrap().split("value=\"").nth(1).unwrap();
            let mut fields = url::form_urlencoded::Serializer::new(String::new());
            fields.append_pair("request", field.split('"').next().unwrap());
            match person {
                Some(person) => fields.append_pair("username", person),
                None => fields.append_pair("deny", "1"),
            };
            form = Some(fields.finish());
            at = at.join("/idp/authorize/decision").unwrap();
        }
        unreachable!("sign-in does not end")
    }

    /// Signs in as `person`. Returns the answer to the callback.
    pub async fn sign_in(&mut self, world: &World, person: &str) -> Reply {
        let authorize = self.begin("/sso/default/login?return_to=/desk").await;
        let callback = self.authenticate(world, &authorize, Some(person)).await;
        self.get(&callback).await
    }
}
