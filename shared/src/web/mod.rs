//! What the routers of all functions share: problem documents, the id and deadline of a request, bodies, security
//! headers and CORS.
//!
//! A function's router has only routes. [`Edge::assemble`] puts the same layer around the router of every function,
//! both on Lambda and on a local machine.

mod body;
mod context;
mod cors;
mod edge;
pub mod openapi;
mod page;
mod path;
mod problem;
mod query;

pub use body::{Fields, MAX_BODY, raw_json};
pub use context::Context;
pub use cors::Origins;
pub use edge::{Edge, refuse_method};
pub use path::Path;
pub use problem::{FieldError, Kind, LoggedProblem, Problem, kinds};
pub use query::Query;
