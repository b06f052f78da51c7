//! What the lot hears of sockets, and that it keeps nothing of those that are gone.

use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

fn park<S: Parkable, T>(lot: &Lot<T>, stream: S, beside: T) {
    assert!(lot.park(stream, beside).is_ok());
}

async fn woken<T>(lot: &Lot<T>) -> Vec<Woken<T>> {
    let mut woken = Vec::new();
    tokio::time::timeout(PATIENCE, lot.wait(&mut woken)).await.expect("somebody is woken").unwrap();
    woken
}

/// Waits until nobody but the caller has it.
async fn is_let_go<T>(lot: &Lot<T>, token: &Rc<()>) {
    let waiting = async {
        let mut woken = Vec::new();
        tokio::select! {
            _ = lot.wait(&mut woken) => panic!("somebody is woken"),
            () = async {
                while Rc::strong_count(token) > 1 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            } => {}
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it is let go");
}

#[tokio::test]
async fn what_came_is_left_in_the_socket() {
    let lot = Lot::open().unwrap();
    let (mut far, near) = pair().await;
    let (mut far_unix, near_unix) = UnixStream::pair().unwrap();
    park(&lot, near, 1);
    park(&lot, near_unix, 2);
    far.write_all(b"tcp").await.unwrap();
    let [Woken { stream: Parked::Tcp(socket), read, beside: 1 }] = &mut woken(&lot).await[..] else {
        panic!("another was woken")
    };
    assert!(read.is_empty());
    let mut came = [0; 3];
    io::Read::read_exact(socket, &mut came).unwrap();
    assert_eq!(&came, b"tcp");
    far_unix.write_all(b"unix").await.unwrap();
    let woken = woken(&lot).await;
    assert!(matches!(&woken[..], [Woken { stream: Parked::Unix(_), beside: 2, .. }]));
}

#[tokio::test]
async fn what_came_before_is_heard_too() {
    let lot = Lot::open().unwrap();
    let (mut far, near) = pair().await;
    far.write_all(b"early").await.unwrap();
    near.readable().await.unwrap();
    park(&lot, near, ());
    assert_eq!(woken(&lot).await.len(), 1);
}

#[tokio::test]
async fn last_words_count_and_an_end_alone_does_not() {
    let lot = Lot::open().unwrap();
    let (mut speaking, near) = pair().await;
    speaking.write_all(b"last").await.unwrap();
    speaking.shutdown().await.unwrap();
    park(&lot, near, Rc::new(()));
    assert_eq!(woken(&lot).await.len(), 1);
    let token = Rc::new(());
    let (mut halved, near) = pair().await;
    park(&lot, near, Rc::clone(&token));
    halved.shutdown().await.unwrap();
    is_let_go(&lot, &token).await;
    let (gone, near) = pair().await;
    park(&lot, near, Rc::clone(&token));
    SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
    drop(gone);
    is_let_go(&lot, &token).await;
    assert!(lot.parked.borrow().is_empty());
}

#[tokio::test]
async fn more_than_are_looked_at_at_once() {
    let lot = Lot::open().unwrap();
    let token = Rc::new(());
    let mut far = Vec::new();
    for number in 0..3 * AT_ONCE {
        let (end, near) = pair().await;
        park(&lot, near, (number, Rc::clone(&token)));
        far.push(end);
    }
    // Every third speaks, the others leave.
    let mut speaking = Vec::new();
    for (number, mut end) in far.into_iter().enumerate() {
        if number % 3 == 0 {
            end.write_all(b"x").await.unwrap();
            speaking.push(end);
        }
    }
    let mut heard = Vec::new();
    while heard.len() < speaking.len() {
        heard.extend(woken(&lot).await.into_iter().map(|woken| woken.beside.0));
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..3 * AT_ONCE).step_by(3).collect::<Vec<_>>());
    is_let_go(&lot, &token).await;
}

#[tokio::test]
async fn some_are_closed() {
    let lot = Lot::open().unwrap();
    let (mut first, near) = pair().await;
    park(&lot, near, 1);
    let (mut second, near) = pair().await;
    park(&lot, near, 2);
    lot.close(|number| *number == 1);
    assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
    second.write_all(b"x").await.unwrap();
    assert_eq!(woken(&lot).await[0].beside, 2);
    // Its place is another's now.
    let (mut third, near) = pair().await;
    park(&lot, near, 3);
    third.write_all(b"x").await.unwrap();
    assert_eq!(woken(&lot).await[0].beside, 3);
}

#[tokio::test]
async fn nothing_is_heard_before_something_comes() {
    let (mut far, near) = pair().await;
    let (mut far_unix, near_unix) = UnixStream::pair().unwrap();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(near.poll_heard(&mut cx).is_pending() && near_unix.poll_heard(&mut cx).is_pending());
    far.write_all(b"x").await.unwrap();
    far_unix.shutdown().await.unwrap();
    let heard = async {
        std::future::poll_fn(|cx| near.poll_heard(cx)).await;
        std::future::poll_fn(|cx| near_unix.poll_heard(cx)).await;
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("both are heard");
}
