//! Limits the number of open connections. At the limit, a new connection takes the place of an open connection on which
//! no complete request is in progress.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flexgate::web::ClientNetwork;

use super::progress::Progress;

/// The maximum number of connections, regardless of the limit on open files.
const MOST: usize = 4_096;
/// The number of files reserved for the store, the log and similar uses.
const RESERVED_FILES: usize = 64;

/// The open connections, by client. Each connection has a place, and the number of places is limited.
#[derive(Debug)]
pub struct Room {
    most: usize,
    most_of_client: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    count: usize,
    clients: HashMap<ClientNetwork, BTreeMap<u64, Arc<Progress>>>,
}

/// The place of one connection. Dropping the value frees the place.
#[derive(Debug)]
pub struct ConnectionPlace {
    room: Arc<Room>,
    client: ClientNetwork,
    number: u64,
    pub progress: Arc<Progress>,
}

/// What happened when a new connection asked for a place.
#[derive(Debug)]
pub enum Entry {
    /// There was a free place.
    Free(ConnectionPlace),
    /// Another connection was closed.
    Replaced(ConnectionPlace),
    /// The new connection was refused. A complete request is in progress on every connection that it could replace.
    Full,
}

impl Room {
    /// Creates the room for a process that may open `files` files. Allows two files for each connection, because a
    /// request may need a second file for an upstream connection. If the peers are clients and not proxies
    /// (`is_of_clients`), one client can take at most half of the places.
    pub fn new(files: usize, is_of_clients: bool) -> Arc<Self> {
        let most = (files.saturating_sub(RESERVED_FILES) / 2).clamp(16, MOST);
        let most_of_client = if is_of_clients { most / 2 } else { most };
        Arc::new(Self { most, most_of_client, inside: Mutex::default() })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a place for a new connection from `address`. If necessary, closes a connection of the same client, or of
    /// the client with the most connections.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Entry {
        let client = ClientNetwork::of(address);
        let mut inside = self.inside();
        let of_client = inside.clients.get(&client).map_or(0, BTreeMap::len);
        let has_too_many = of_client >= self.most_of_client;
        let replaces = has_too_many || inside.count >= self.most;
        if replaces && !(if has_too_many { inside.close_one_of(client) } else { inside.close_one() }) {
            return Entry::Full;
        }
        let progress = Arc::new(Progress::of_new_connection());
        let number = inside.next;
        inside.next += 1;
        inside.count += 1;
        inside.clients.entry(client).or_default().insert(number, progress.clone());
        let place = ConnectionPlace { room: self.clone(), client, number, progress };
        if replaces { Entry::Replaced(place) } else { Entry::Free(place) }
    }

    /// Closes one connection on which no complete request is in progress. Prefers a connection from the client with the
    /// most connections. Returns false if a complete request is in progress on every connection.
    pub fn close_one(&self) -> bool {
        self.inside().close_one()
    }
}

impl Inside {
    fn close_one(&mut self) -> bool {
        let largest = self.clients.iter().max_by_key(|(_, connections)| connections.len()).map(|(client, _)| *client);
        largest.is_some_and(|client| self.close_one_of(client)) || {
            let others: Vec<_> = self.clients.keys().copied().collect();
            others.into_iter().any(|client| self.close_one_of(client))
        }
    }

    fn close_one_of(&mut self, client: ClientNetwork) -> bool {
        let waiting = self.clients.get(&client).into_iter().flatten();
        let waiting = waiting.filter_map(|(number, progress)| Some((progress.waiting_since()?, *number)));
        let Some((_, number)) = waiting.min() else { return false };
        if let Some(progress) = self.remove(client, number) {
            progress.give_way();
        }
        true
    }

    fn remove(&mut self, client: ClientNetwork, number: u64) -> Option<Arc<Progress>> {
        let connections = self.clients.get_mut(&client)?;
        let removed = connections.remove(&number)?;
        if connections.is_empty() {
            self.clients.remove(&client);
        }
        self.count -= 1;
        Some(removed)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let _given_away_already = self.room.inside().remove(self.client, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Returns a room with 100 places.
    fn room(is_of_clients: bool) -> Arc<Room> {
        Room::new(264, is_of_clients)
    }

    async fn enter(room: &Arc<Room>, address: IpAddr) -> (ConnectionPlace, bool) {
        advance(Duration::from_millis(1)).await;
        match room.enter(address) {
            Entry::Free(place) => (place, false),
            Entry::Replaced(place) => (place, true),
            Entry::Full => unreachable!("there is no room"),
        }
    }

    fn is_closed(place: &ConnectionPlace) -> bool {
        let gave_way = std::pin::pin!(place.progress.gave_way());
        futures_now(gave_way)
    }

    fn futures_now(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn r80_a_client_replaces_its_own_oldest_connection_and_nobody_elses() {
        let room = room(true);
        let (other, _) = enter(&room, TWO).await;
        let mut places = Vec::new();
        for _ in 0..50 {
            let (place, replaced) = enter(&room, ONE).await;
            assert!(!replaced);
            places.push(place);
        }
        // The oldest connection has a complete request.
        places[0].progress.head_arrived(false);
        for oldest in 1..10 {
            let (place, replaced) = enter(&room, ONE).await;
            assert!(replaced && is_closed(&places[oldest]) && !is_closed(&places[oldest + 1]));
            places.push(place);
        }
        assert!(!is_closed(&places[0]) && !is_closed(&other));
    }

    #[tokio::test(start_paused = true)]
    async fn r80_when_the_room_is_full_the_client_with_the_most_connections_gives_way() {
        let room = room(true);
        let mut places = Vec::new();
        for number in 0..100_u8 {
            let address = if number < 45 { ONE } else { IpAddr::from([198, 51, 100, number]) };
            places.push(enter(&room, address).await.0);
        }
        let (_two, replaced) = enter(&room, TWO).await;
        assert!(replaced && is_closed(&places[0]));
        assert_eq!(places.iter().filter(|place| is_closed(place)).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn r80_a_whole_request_never_gives_way_and_a_free_place_is_used_again() {
        let room = room(false);
        let mut places = Vec::new();
        for _ in 0..100 {
            let (place, _) = enter(&room, ONE).await;
            place.progress.head_arrived(false);
            places.push(place);
        }
        assert!(matches!(room.enter(ONE), Entry::Full) && matches!(room.enter(TWO), Entry::Full));
        assert!(!room.close_one());
        places.pop();
        assert!(matches!(room.enter(TWO), Entry::Free(_)));
    }

    #[test]
    fn r80_the_room_leaves_files_for_everything_else() {
        let most = |files| Room::new(files, true).most;
        assert_eq!((most(1_024), most(1_000_000), most(10)), (480, 4_096, 16));
    }
}
