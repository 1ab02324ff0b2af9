//! A TCP proxy. A test can cut and restore its connections, and can make it lose answers.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The proxy. Between [`Self::cut`] and [`Self::mend`], it closes every connection at once.
pub struct Proxy {
    port: u16,
    whole: watch::Sender<bool>,
    lose: Arc<Mutex<Lose>>,
}

/// Which answer the proxy loses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lose {
    None,
    /// Lose the answer to the next request that contains this text.
    To(&'static str),
    Next,
    /// Lose every answer whose number is a multiple of `every`. `so_far` is the number of the last answer.
    Every {
        every: u32,
        so_far: u32,
    },
}

impl Proxy {
    /// Starts a proxy in front of the server at `url`.
    pub async fn to(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (whole, seen) = watch::channel(true);
        let lose = Arc::new(Mutex::new(Lose::None));
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

    /// Breaks the connection instead of returning the answer to the next request that contains this text.
    pub fn lose_answer_to(&self, text: &'static str) {
        *self.lose.lock().unwrap() = Lose::To(text);
    }

    /// From now on, loses every answer whose number is a multiple of `every`, by breaking the connection.
    pub fn lose_every(&self, every: u32) {
        *self.lose.lock().unwrap() = Lose::Every { every, so_far: 0 };
    }

    /// Loses no answer from now on.
    pub fn lose_none(&self) {
        *self.lose.lock().unwrap() = Lose::None;
    }

    /// Whether the proxy has lost the answer that the last call of [`Self::lose_answer_to`] selected.
    pub fn has_lost_it(&self) -> bool {
        *self.lose.lock().unwrap() == Lose::None
    }
}

async fn carry(mut client: TcpStream, upstream: String, mut whole: watch::Receiver<bool>, lose: Arc<Mutex<Lose>>) {
    let mut server = TcpStream::connect(upstream).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let done = tokio::select! {
            () = broken(&mut whole) => true,
            read = client.read(&mut asked) => match read {
                Ok(read) if read > 0 => {
                    lose_if_asked(&lose, &asked[..read]);
                    server.write_all(&asked[..read]).await.is_err()
                }
                _ => true,
            },
            read = server.read(&mut answered) => match read {
                Ok(read) if read > 0 && loses(&lose) => true,
                Ok(read) if read > 0 => client.write_all(&answered[..read]).await.is_err(),
                _ => true,
            },
        };
        if done {
            return;
        }
    }
}

fn lose_if_asked(lose: &Mutex<Lose>, asked: &[u8]) {
    let mut lose = lose.lock().unwrap();
    if let Lose::To(text) = *lose
        && asked.windows(text.len()).any(|part| part == text.as_bytes())
    {
        *lose = Lose::Next;
    }
}

fn loses(lose: &Mutex<Lose>) -> bool {
    let mut lose = lose.lock().unwrap();
    match &mut *lose {
        Lose::Next => {
            *lose = Lose::None;
            true
        }
        Lose::Every { every, so_far } => {
            *so_far += 1;
            *so_far % *every == 0
        }
        Lose::None | Lose::To(_) => false,
    }
}

async fn broken(whole: &mut watch::Receiver<bool>) {
    let _either_way_it_is_over = whole.wait_for(|whole| !whole).await;
}
