//! Pages of other origins.

use super::*;

#[tokio::test]
async fn a_page_can_read_that_nothing_is_below_a_prefix_which_nobody_took_away() {
    let realm = Realm::new("origins.allowed = [\"https://app.example\"]");
    for (path, origin, read) in [
        ("/live/throughline/v1/poll", "https://app.example", true),
        ("/live/throughline/v1/poll", "https://evil.example", false),
        ("/live/healthz", "https://app.example", false),
    ] {
        let answer = realm.send("GET", path, &[("Origin", origin)], b"").await;
        assert_eq!(answer.status, 404, "{path} {origin}");
        assert_eq!(answer.head.contains_key("access-control-allow-origin"), read, "{path} {origin}");
        assert_eq!(answer.head.contains_key("access-control-expose-headers"), read, "{path} {origin}");
    }
}
