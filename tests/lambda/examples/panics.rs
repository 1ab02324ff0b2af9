//! A function with a route that panics. It is otherwise built like Flexgate's functions.

use axum::Router;
use axum::routing::get;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::settings::Reader;
use flexgate::platform::Common;
use flexgate::web::Edge;
use flexgate::{lambda, telemetry};

fn main() -> Result<(), lambda_http::Error> {
    lambda::run(serve())
}

async fn serve() -> Result<(), lambda_http::Error> {
    let mut reader = Reader::of_process();
    let settings = Common::read(&mut reader);
    let settings = reader.finish(settings)?;
    telemetry::start(&settings.log);
    let edge = Edge::new("panics", &settings, ClockRng::system());
    lambda::serve(edge.assemble(Router::new().route("/panic", get(panics)))).await
}

async fn panics() -> &'static str {
    // A typical panic: index out of bounds.
    let nothing: &[&str] = &[];
    nothing[std::hint::black_box(0)]
}
