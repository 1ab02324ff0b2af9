//! The webhooks function on Lambda.

use flexgate::base::ambient::Ambient;
use flexgate::base::settings::Reader;
use flexgate::platform::Platform;
use flexgate::web::Site;
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

    let platform = Platform::new(&settings.common, Ambient::system())?;
    let site = Site::new("webhooks", &settings.common, platform.ambient.clone());
    let app = App::start_within(settings.common.ahead, &settings.webhooks, &platform).await?;
    lambda::serve(site.assemble(router(app))).await
}
