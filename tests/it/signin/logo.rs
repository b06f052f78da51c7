//! The image on the pages.

use super::MEMBERS;
use super::browser::Browser;
use crate::world::World;

const SVG: &[u8] =
    b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and what follows";

fn settings() -> String {
    MEMBERS.replace("brand.name", "brand.logo = \"$DIR/logo.png\"\nbrand.name")
}

async fn with(world: &World, image: &[u8]) {
    std::fs::write(world.directory().join("logo.png"), image).unwrap();
    world.reload(&settings()).await.unwrap();
}

/// Where the page says its image is.
async fn address(world: &World, target: &str) -> String {
    let page = Browser::new(world).visit(target).await.says("alt=\"Example\"");
    let policy = page.response.header("content-security-policy").unwrap();
    assert!(policy.contains("; img-src 'self'; ") || policy.contains("img-src 'self';"), "{policy}");
    let text = page.text();
    let image = text.split("<img class=\"logo\" src=\"").nth(1).expect("there is an image");
    image.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_logo_stands_on_every_page_and_is_what_its_bytes_are() {
    let world = World::with(MEMBERS).await;
    with(&world, SVG).await;
    let login = address(&world, "/").await;
    for target in ["/_stytch/logout", "/_stytch/login?flow=gone"] {
        assert_eq!(address(&world, target).await, login, "{target}");
    }
    assert!(login.starts_with("/_stytch/logo?v="));
    let image = world.get(&login).expect(200).await;
    assert_eq!(image.body, SVG);
    for (name, value) in [
        ("content-type", "image/svg+xml"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "public, max-age=86400"),
    ] {
        assert_eq!(image.all(name), [value], "{name}");
    }
    let head = world.request("HEAD", &login).expect(200).await;
    assert_eq!(head.header("content-type"), Some("image/svg+xml"));
    assert!(head.body.is_empty());
    let other = world.get("/_stytch/logo?v=0000000000000000").expect(200).await;
    assert_eq!(other.header("cache-control"), Some("no-store"));
    let post = world.post(&login).refused(405, "method_not_allowed").await;
    assert_eq!(post.header("allow"), Some("GET, HEAD"));

    // Another image has another address. The file is still called as before.
    with(&world, PNG).await;
    let changed = address(&world, "/").await;
    assert_ne!(changed, login);
    let image = world.get(&changed).expect(200).await;
    assert_eq!((image.header("content-type"), image.body.as_slice()), (Some("image/png"), PNG));
}

#[tokio::test]
async fn what_is_no_image_is_a_mistake_and_the_old_one_stays() {
    let world = World::with(MEMBERS).await;
    with(&world, PNG).await;
    let before = address(&world, "/").await;
    std::fs::write(world.directory().join("logo.png"), "<html>").unwrap();
    let error = world.reload(&settings()).await.unwrap_err().to_string();
    assert!(error.contains("signin.brand.logo") && error.contains("logo.png is no SVG, PNG"), "{error}");
    assert_eq!(address(&world, "/").await, before);
}

#[tokio::test]
async fn without_a_logo_there_is_no_image() {
    let world = World::with(MEMBERS).await;
    let page = Browser::new(&world).visit("/").await;
    assert!(!page.text().contains("<img"));
    assert!(!page.response.header("content-security-policy").unwrap().contains("img-src"));
    world.get("/_stytch/logo").refused(404, "no_route").await;
}
