use super::*;

fn worker(schema: &str) -> Worker {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(schema).unwrap();
    Worker::start(connection).unwrap()
}

/// Keeps the worker thread busy until the returned value is dropped. All jobs that are sent in the meantime run in
/// one round.
async fn hold(worker: &Worker) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel();
    let (tell, held) = oneshot::channel();
    let wait = move |_: &Connection| {
        let _started = tell.send(());
        let _released = released.recv();
        Ok(())
    };
    let told = oneshot::channel().0;
    worker.waiting.add(Keep::Nothing, Box::new(Asked { work: Some(wait), result: None, told }));
    held.await.unwrap();
    release
}

async fn numbers(worker: &Worker) -> Vec<i64> {
    let read = |db: &Connection| {
        db.prepare("SELECT n FROM numbers ORDER BY n")?.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>>>()
    };
    worker.ask(Keep::Nothing, read).await.unwrap()
}

#[tokio::test]
async fn what_fails_is_undone_alone() {
    let worker = worker("CREATE TABLE numbers (n INTEGER PRIMARY KEY)");
    let insert = |n: i64| worker.ask(Keep::AtOnce, move |db| db.execute("INSERT INTO numbers VALUES (?1)", [n]));
    let half = |db: &Connection| {
        db.execute("INSERT INTO numbers VALUES (3)", [])?;
        db.execute("INSERT INTO numbers VALUES (1)", [])
    };
    let broken = |db: &Connection| -> Result<()> {
        db.execute("INSERT INTO numbers VALUES (4)", [])?;
        panic!("this job is broken")
    };
    let held = hold(&worker).await;
    let (one, failed, panicked, two, ()) =
        tokio::join!(insert(1), worker.ask(Keep::AtOnce, half), worker.ask(Keep::AtOnce, broken), insert(2), async {
            drop(held);
        });
    assert!(one.is_ok() && two.is_ok());
    assert!(failed.is_err() && panicked.is_err());
    assert_eq!(numbers(&worker).await, [1, 2]);
    // A failed job leaves no changes, even if it is the only job in its transaction.
    assert!(worker.ask(Keep::Soon, half).await.is_err());
    assert!(worker.ask(Keep::AtOnce, broken).await.is_err());
    assert_eq!(numbers(&worker).await, [1, 2]);
}

/// In this test, the job itself rolls the transaction back. SQLite does the same when the disk is full or fails.
#[tokio::test]
async fn what_comes_after_the_end_of_a_transaction_is_not_kept() {
    let worker = worker("CREATE TABLE numbers (n INTEGER PRIMARY KEY)");
    let insert = |n: i64| worker.ask(Keep::Soon, move |db| db.execute("INSERT INTO numbers VALUES (?1)", [n]));
    let fault = |db: &Connection| db.execute_batch("ROLLBACK");
    for keep in [Keep::Nothing, Keep::Soon] {
        let held = hold(&worker).await;
        let (before, _, after, ()) = tokio::join!(insert(1), worker.ask(keep, fault), insert(2), async { drop(held) });
        assert!(before.is_err() && after.is_err());
        assert_eq!(numbers(&worker).await, [0; 0]);
    }
    assert!(insert(3).await.is_ok());
}

#[tokio::test]
async fn nobody_is_told_of_a_write_that_is_not_committed() {
    let worker = worker(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE numbers (n INTEGER PRIMARY KEY, of INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)",
    );
    // The foreign key is deferred. So the insert succeeds, and the commit fails because there is no row 7.
    let insert = |n: i64, of: Option<i64>| {
        worker.ask(Keep::AtOnce, move |db| db.execute("INSERT INTO numbers VALUES (?1, ?2)", (n, of)))
    };
    let held = hold(&worker).await;
    let (sound, dangling, ()) = tokio::join!(insert(1, None), insert(2, Some(7)), async { drop(held) });
    assert!(matches!(sound, Err(StoreError::Unavailable(_))) && dangling.is_err());
    assert_eq!(numbers(&worker).await, [0; 0]);
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_only_where_it_was_asked_to() {
    let worker = worker("");
    let level = |db: &Connection| db.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
    let (normal, full) = (1, 2);
    for _ in 0..2 {
        assert_eq!(worker.ask(Keep::Soon, level).await.unwrap(), normal);
        assert_eq!(worker.ask(Keep::AtOnce, level).await.unwrap(), full);
    }
}

#[tokio::test]
async fn who_only_reads_is_answered_while_another_process_writes() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let connection = Connection::open(folder.path().join("store.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_millis(1)).unwrap();
        connection
    };
    let other = open();
    other.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE numbers (n INTEGER PRIMARY KEY);").unwrap();
    let worker = Worker::start(open()).unwrap();
    let insert = |n: i64| worker.ask(Keep::Soon, move |db| db.execute("INSERT INTO numbers VALUES (?1)", [n]));
    other.execute_batch("BEGIN IMMEDIATE; INSERT INTO numbers VALUES (1);").unwrap();
    let held = hold(&worker).await;
    let (refused, read, ()) = tokio::join!(insert(2), numbers(&worker), async { drop(held) });
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    assert_eq!(read, [0; 0]);
    other.execute_batch("COMMIT").unwrap();
    let held = hold(&worker).await;
    let (written, read, ()) = tokio::join!(insert(2), numbers(&worker), async { drop(held) });
    assert!(written.is_ok());
    assert_eq!(read, [1]);
    assert_eq!(numbers(&worker).await, [1, 2]);
    // A read with several queries sees one state of the file, even if the other process writes between two of them.
    let count = |db: &Connection| db.query_row("SELECT count(*) FROM numbers", [], |row| row.get::<_, i64>(0));
    let twice = move |db: &Connection| {
        let before = count(db)?;
        other.execute("INSERT INTO numbers VALUES (3)", [])?;
        Ok((before, count(db)?))
    };
    assert_eq!(worker.ask(Keep::Nothing, twice).await.unwrap(), (2, 2));
    assert_eq!(numbers(&worker).await, [1, 2, 3]);
}

#[tokio::test]
async fn what_has_come_is_done_before_the_file_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch("CREATE TABLE numbers (n INTEGER PRIMARY KEY)").unwrap();
    let worker = Worker::start(connection).unwrap();
    let insert = |n: i64| worker.ask(Keep::AtOnce, move |db| db.execute("INSERT INTO numbers VALUES (?1)", [n]));
    let held = hold(&worker).await;
    {
        // The futures of the callers are dropped at the end of this block, before their jobs run.
        let (mut one, mut two) = (Box::pin(insert(1)), Box::pin(insert(2)));
        assert!(futures_util::poll!(&mut one).is_pending() && futures_util::poll!(&mut two).is_pending());
    }
    drop(held);
    drop(worker);
    let kept: i64 =
        Connection::open(&file).unwrap().query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn whoever_asks_when_nobody_does_it_is_told() {
    let worker = worker("");
    worker.waiting.close();
    assert!(worker.ask(Keep::Nothing, |_| Ok(())).await.is_err());
}
