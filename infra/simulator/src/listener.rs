//! Accepts connections. This module replaces axum's own loop, because some faults must reset a connection, and axum
//! cannot do that.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::call::Wire;
use crate::gate;
use crate::world::World;

const GRACE: Duration = Duration::from_secs(1);

/// Accepts connections until `stop` changes. Then waits up to a second for running requests.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    world: Arc<World>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(connection(stream, tls.clone(), world.clone(), stop.clone()));
                }
                // The process has probably run out of file descriptors. Wait a moment, so that other connections can
                // close.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, world: Arc<World>, stop: watch::Receiver<bool>) {
    let cut = Arc::new(AtomicBool::new(false));
    let stream = Cuttable { stream, cut: cut.clone() };
    match tls {
        None => drive(stream, Wire::default(), cut, world, stop).await,
        Some(acceptor) => {
            // The handshake fails for a client that does not trust the simulator's CA. This is not an error of the
            // simulator.
            let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await else {
                return;
            };
            let server_name = stream.get_ref().1.server_name().map(str::to_owned);
            drive(stream, Wire { tls: true, server_name }, cut, world, stop).await;
        }
    }
}

async fn drive<S>(stream: S, wire: Wire, cut: Arc<AtomicBool>, world: Arc<World>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let (world, wire, cut) = (world.clone(), wire.clone(), cut.clone());
        async move {
            let answer = gate::handle(&world, &wire, request).await;
            if answer.is_err() {
                cut.store(true, Ordering::Release);
            }
            answer
        }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, connection).await;
}

/// A service returns this error if the listener must close the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to be cut")]
pub(crate) struct Cut;

/// A TCP stream that can end with a reset instead of a normal close.
struct Cuttable {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
}

impl Drop for Cuttable {
    fn drop(&mut self) {
        if self.cut.load(Ordering::Acquire) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
