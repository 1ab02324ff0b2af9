//! The sign-in function on Lambda.

use flexgate::base::ambient::Ambient;
use flexgate::base::settings::Reader;
use flexgate::platform::Platform;
use flexgate::web::Site;
use flexgate::{lambda, telemetry};
use flexgate_sso::{App, Settings, router};

fn main() -> Result<(), lambda_http::Error> {
    lambda::run(serve())
}

async fn serve() -> Result<(), lambda_http::Error> {
    let mut reader = Reader::of_process();
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings)?;
    telemetry::start(&settings.common.log);

    let platform = Platform::new(&settings.common, Ambient::system())?;
    let app = App::new(&settings, &platform);
    lambda::prewarm(settings.common.ahead, |deadline| app.warm(deadline)).await;
    let site = Site::new("sso", &settings.common, platform.ambient.clone());
    lambda::serve(site.assemble(router(app))).await
}
