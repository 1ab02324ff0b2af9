//! The floor: a function that does nothing. It uses the same runtime client as Flexgate's functions. So its times show
//! how much of a function's time is due to Lambda and that client.

use lambda_http::{Body, Error, Request, Response, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_http::run(service_fn(async |_: Request| Ok::<_, Error>(Response::new(Body::Empty)))).await
}
