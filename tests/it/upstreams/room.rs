//! `max_connections`: who waits for one, and for how long.

use crate::echo::{Answer, Step};
use crate::world::{World, until};

const HELD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";

async fn waiting(world: &World) -> f64 {
    world.metric("stytch_gateway_upstream_waiting{upstream=\"app\"}").await
}

/// One request has the connection, and the next is given it as it ends.
#[tokio::test]
async fn a_request_waits_for_a_connection_in_use() {
    let world = World::with("[upstreams.app]\nmax_connections = 1\ntimeouts.connect = \"30s\"").await;
    world.upstream.on("/public/held", |_| {
        Answer::steps([
            Step::Send(HELD.into()),
            Step::Wait(std::time::Duration::from_millis(600)),
            Step::Send(b"body".to_vec()),
        ])
    });
    let mut holding = world.connect().await;
    holding.send(world.get("/public/held").bytes()).await;
    world.upstream.wait_for(1).await;
    let mut others = Vec::new();
    for path in ["/public/a", "/public/b"] {
        let mut other = world.connect().await;
        other.send(world.get(path).bytes()).await;
        others.push(other);
    }
    until("both wait", async || waiting(&world).await == 2.0).await;
    assert_eq!(world.upstream.traffic().1, 1);
    assert_eq!(holding.response().await.unwrap().text(), "body");
    for other in &mut others {
        assert_eq!(other.response().await.unwrap().status, 200);
    }
    assert_eq!(world.upstream.traffic(), (1, 3), "all on the one connection");
    assert_eq!(waiting(&world).await, 0.0);
}

/// Connections of many clients, on several workers, share what there is.
#[tokio::test]
async fn workers_give_up_idle_connections_for_one_another() {
    let world = World::with(
        "[server]\nworkers = 3\n[upstreams.app]\nmax_connections = 1\ntimeouts.connect = \"30s\"",
    )
    .await;
    for _ in 0..30 {
        let mut client = world.connect().await;
        client.send(world.get("/public/x").bytes()).await;
        assert_eq!(client.response().await.unwrap().status, 200);
    }
}

/// The instance that is next is not the one with the idle connection.
#[tokio::test]
async fn an_idle_connection_to_another_instance_makes_room() {
    let world = World::with(
        "[upstreams.pair]\nurls = [\"$APP\", \"$OTHER\"]\nmax_connections = 1\ntimeouts.connect = \"30s\"\n\
         [[routes]]\npath = \"/*\"\nupstream = \"pair\"\nauth = \"none\"",
    )
    .await;
    for _ in 0..6 {
        world.get("/x").expect(200).await;
    }
    assert_eq!(world.upstream_traffic(), [(3, 3), (3, 3)]);
}
