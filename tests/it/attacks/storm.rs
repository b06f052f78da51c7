//! Class L: more events than anybody wants to hear of.

use crate::webhook::{Delivery, event, settings};
use crate::world::World;

/// The storm costs Stytch no call, nobody is signed out by it, and what one of its events is about is
/// asked once more. What happens when there is no more room for another is tested beside `changes`.
#[tokio::test]
async fn l21_a_storm_of_events() {
    let world = World::with(&settings()).await;
    let (ana, ben) =
        (world.session_of("ana@acme.example", "acme"), world.session_of("ben@acme.example", "acme"));
    for session in [&ana, &ben] {
        world.get("/x").jwt(session).expect(200).await;
    }
    let mut connection = world.connect().await;
    for batch in 0..100 {
        let deliveries = (0..100).map(|number| {
            let number = batch * 100 + number;
            let member = if number == 5000 {
                world.claims(&ana)["sub"].as_str().unwrap().to_owned()
            } else {
                format!("member-test-{number}")
            };
            let event = event(&world, "member", ["UPDATE", "DELETE"][number % 2], &member);
            Delivery::of(&format!("msg_{number}"), &event).to(&world).bytes()
        });
        connection.send(deliveries.collect::<Vec<_>>().concat()).await;
        for _ in 0..100 {
            assert_eq!(connection.response().await.map(|response| response.status), Some(204));
        }
    }
    assert_eq!(world.stytch_calls(), 0);
    for _ in 0..2 {
        world.get("/x").jwt(&ben).expect(200).await;
    }
    assert_eq!(world.stytch_calls(), 0);
    for _ in 0..2 {
        world.get("/x").jwt(&ana).expect(200).await;
    }
    assert_eq!(world.stytch_calls(), 1);
    assert_eq!(world.metric("stytch_gateway_webhook_events_total{outcome=\"taken\"}").await, 10_000.0);
}
