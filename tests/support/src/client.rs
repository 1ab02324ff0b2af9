//! An HTTP client that chooses the address from which it connects, so that one test can act as several clients. A
//! gateway on the loopback address treats 127.0.0.1 and 127.0.0.2 as two clients. Only Linux lets a program use
//! 127.0.0.2 without further set-up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::HOST;
use http::{HeaderValue, Request};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::{GATEWAY_HOST, Reply};

/// The time within which an answer must arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a gateway on this machine.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Body>,
}

impl Client {
    /// Connects from `source`.
    pub async fn connect(source: IpAddr, port: u16) -> std::io::Result<Self> {
        let stream = stream_from(source, port).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            // Ignore the result, because `sender` also reports a broken connection.
            let _ended = connection.await;
        });
        Ok(Self { sender })
    }

    /// Sends a request. Fails if the gateway closes the connection without an answer.
    pub async fn send(&mut self, mut request: Request<Body>) -> Result<Reply, hyper::Error> {
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static(GATEWAY_HOST));
        self.sender.ready().await?;
        let answer = timeout(PATIENCE, self.sender.send_request(request)).await.unwrap()?;
        Ok(Reply::read(answer.map(Body::new)).await)
    }
}

/// Opens a TCP connection from `source` to a port of this machine.
pub async fn stream_from(source: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Returns a router that forwards every request to the gateway. It opens a new connection from `source` for each
/// request.
pub fn router_from(source: IpAddr, port: u16) -> Router {
    Router::new().fallback(move |mut request: Request<Body>| async move {
        // The URL may be absolute, but the request line may contain only the path and the query.
        let path = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
        *request.uri_mut() = path;
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static(GATEWAY_HOST));
        let stream = timeout(PATIENCE, stream_from(source, port)).await.unwrap().unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move {
            let _ended = connection.await;
        });
        timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap().map(Body::new)
    })
}
