//! The shared parts of all routers: problem documents, request ids, deadlines, bodies, security headers, CORS, and
//! limits on failed requests.
//!
//! A function's router contains only routes. [`Edge::assemble`] adds the rest.

mod body;
mod budget;
mod cdn;
mod client;
mod context;
mod cors;
mod edge;
pub mod openapi;
mod page;
mod page_words;
mod path;
mod problem;
mod query;

pub use body::{Fields, MAX_BODY, form, raw_body, raw_json};
pub use cdn::CdnSettings;
pub use client::{ClientNetwork, ClientSettings, Networks, Peer, network_prefix};
pub use context::Context;
pub use cors::Origins;
pub use edge::{Edge, refuse_method};
pub use page::PageSettings;
pub use page_words::PageWords;
pub use path::Path;
pub use problem::{FieldError, Kind, LoggedProblem, Problem, kinds};
pub use query::Query;
