//! Tests `/users` through the router, with a simulator instead of Twilio.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should panic")]

mod contract;
mod explain;
mod refusals;
mod sessions;
mod upstream;

use axum::Router;
use axum::body::Body;
use flexgate::web::Edge;
use flexgate_provision::{App, Settings, router};
use flexgate_test_support::{Browser, Reply, World};
use http::{Method, Request};
use serde_json::{Value, json};

/// The function with a simulated Twilio, and the token of a system that may read and write users.
pub struct Directory {
    pub world: World,
    pub router: Router,
    pub bearer: String,
}

impl Directory {
    pub async fn start() -> Self {
        let world = World::on_one_clock().await;
        let router = process(&world, &[]);
        let bearer = world.token(&json!({ "sub": "hr", "scope": "flexgate.users.read flexgate.users.write" })).await;
        Self { world, router, bearer }
    }

    /// Sends a request with that system's token.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", self.bearer));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        Browser::new(self.router.clone()).send(request.body(body).unwrap()).await
    }

    pub async fn post(&self, body: &Value) -> Reply {
        self.call(Method::POST, "/users", Some(body)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None).await
    }
}

pub fn process(world: &World, variables: &[(&str, &str)]) -> Router {
    let mut reader = world.reader().with(variables.iter().copied());
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let platform = world.platform(&settings.owner.common);
    Edge::new("provision", &settings.owner.common, world.clock_rng()).assemble(router(App::new(&settings, &platform)))
}

#[must_use]
pub fn katherine() -> Value {
    json!({
        "username": "katherine", "email": "katherine@example.com", "full_name": "Katherine Johnson",
        "roles": ["agent"], "worker": {},
    })
}
