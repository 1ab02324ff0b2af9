//! A TCP proxy. A test can cut and restore its connections, and can make it lose an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The proxy. While it is cut, it closes every connection at once.
pub struct Proxy {
    port: u16,
    whole: watch::Sender<bool>,
    lose: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy in front of the server at `url`.
    pub async fn to(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (whole, seen) = watch::channel(true);
        let lose = Arc::new(AtomicBool::new(false));
        let losing = lose.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *seen.borrow() {
                    tokio::spawn(carry(client, upstream.clone(), seen.clone(), losing.clone()));
                }
            }
        });
        Self { port, whole, lose }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Breaks every connection and accepts no new connections.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }

    /// Breaks the connection instead of returning the next answer.
    pub fn lose_next_answer(&self) {
        self.lose.store(true, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, upstream: String, mut whole: watch::Receiver<bool>, lose: Arc<AtomicBool>) {
    let mut server = TcpStream::connect(upstream).await.unwrap();
    let (mut asked, mut answered) = ([0; 65536], [0; 65536]);
    loop {
        let done = tokio::select! {
            () = broken(&mut whole) => true,
            read = client.read(&mut asked) => match read {
                Ok(read) if read > 0 => server.write_all(&asked[..read]).await.is_err(),
                _ => true,
            },
            read = server.read(&mut answered) => match read {
                Ok(_) if lose.swap(false, Ordering::SeqCst) => true,
                Ok(read) if read > 0 => client.write_all(&answered[..read]).await.is_err(),
                _ => true,
            },
        };
        if done {
            return;
        }
    }
}

async fn broken(whole: &mut watch::Receiver<bool>) {
    let _either_way_it_is_over = whole.wait_for(|whole| !whole).await;
}
