//! The minting function on Lambda.

use flexgate::base::ambient::Ambient;
use flexgate::platform::Platform;
use flexgate::settings::Reader;
use flexgate::{http, process, telemetry};
use flexgate_mint::{App, Settings, router};

fn main() -> Result<(), lambda_http::Error> {
    process::run(serve())
}

async fn serve() -> Result<(), lambda_http::Error> {
    let mut reader = Reader::of_process();
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings)?;
    telemetry::start(&settings.common.log);

    let platform = Platform::new(&settings.common, Ambient::system())?;
    let app = App::new(&settings, &platform);
    process::ahead(settings.common.ahead, |deadline| app.warm(deadline)).await;
    let site = http::Site::new("mint", &settings.common, platform.ambient.clone());
    http::on_lambda(site.assemble(router(app))).await
}
