//! The Lambda function that runs a sweep on a schedule.

use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::base::settings::Reader;
use flexgate::lambda;
use flexgate::platform::Platform;
use flexgate::telemetry::{self, Trace, traced};
use flexgate_sweep::{App, Settings};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

fn main() -> Result<(), lambda_runtime::Error> {
    lambda::run(serve())
}

async fn serve() -> Result<(), lambda_runtime::Error> {
    let mut reader = Reader::of_process();
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings)?;
    telemetry::start(&settings.common.log);

    let platform = Platform::new(&settings.common, ClockRng::system())?;
    let app = Arc::new(App::new(&settings, &platform));
    let time = settings.common.request_time;
    let handler = move |event: LambdaEvent<Value>| {
        let app = Arc::clone(&app);
        let deadline = lambda::invocation_deadline(event.context.deadline()).unwrap_or_else(|| Deadline::after(time));
        let trace = event.context.xray_trace_id.as_deref().and_then(Trace::read);
        async move { traced(trace, Box::pin(app.sweep(deadline))).await.map_err(lambda_runtime::Error::from) }
    };
    lambda_runtime::run(service_fn(handler)).await
}
