//! The webhooks function on Lambda.

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::settings::Reader;
use flexgate::platform::Platform;
use flexgate::web::Edge;
use flexgate::{lambda, telemetry};
use flexgate_webhooks::{App, Settings, router};

fn main() -> Result<(), lambda_http::Error> {
    lambda::run(serve())
}

async fn serve() -> Result<(), lambda_http::Error> {
    let mut reader = Reader::of_process();
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings)?;
    telemetry::start(&settings.common.log);

    let platform = Platform::new(&settings.common, ClockRng::system())?;
    let app = App::new(&settings.webhooks, &platform);
    lambda::prewarm(settings.common.prewarm, |deadline| app.prewarm(deadline)).await;
    let edge = Edge::new("webhooks", &settings.common, platform.clock_rng.clone());
    lambda::serve(edge.assemble(router(app))).await
}
