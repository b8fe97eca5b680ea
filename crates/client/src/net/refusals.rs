//! Credentials that proxies did not take: who shows them again and again locks their owner out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::route::Proxy;

/// For so long credentials are not shown again to a proxy that did not take them.
const QUIET: Duration = Duration::from_mins(10);

/// Whom the proxies of a route did not let in, and when.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Vec<Refusal>>);

struct Refusal {
    proxy: String,
    credentials: Option<(String, String)>,
    at: Instant,
    fault: String,
}

impl Refusals {
    /// A proxy did not take its credentials, for this reason.
    pub(super) fn add(&self, proxy: &Proxy, fault: &str) {
        let (credentials, at, fault) = (proxy.credentials.clone(), Instant::now(), fault.to_owned());
        self.recent().push(Refusal { proxy: proxy.authority(), credentials, at, fault });
    }

    /// Why these credentials are not to be shown to this proxy now.
    pub(super) fn of(&self, proxy: &Proxy) -> Option<String> {
        let authority = proxy.authority();
        let recent = self.recent();
        let found = recent.iter().find(|r| r.proxy == authority && r.credentials == proxy.credentials)?;
        let minutes = QUIET.as_secs() / 60;
        Some(format!("{} (for {minutes} minutes it is not asked again, lest it lock the user out)", found.fault))
    }

    fn recent(&self) -> MutexGuard<'_, Vec<Refusal>> {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.retain(|refusal| refusal.at.elapsed() < QUIET);
        refusals
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_for_its_proxy_and_credentials_and_for_a_while() {
        let proxy = |text: &str| Proxy::parse(text).unwrap();
        let refused = proxy("http://user:wrong@p:1");
        let refusals = Refusals::default();
        refusals.add(&refused, "no");
        for other in ["http://user:wrong@p:2", "http://user:right@p:1", "http://other:wrong@p:1"] {
            assert_eq!(refusals.of(&proxy(other)), None, "{other}");
        }
        advance(QUIET.saturating_sub(Duration::from_millis(1))).await;
        let said = refusals.of(&refused).unwrap();
        assert!(said.starts_with("no (for 10 minutes") && !said.contains("wrong"), "{said}");
        advance(Duration::from_millis(1)).await;
        assert_eq!(refusals.of(&refused), None);
    }
}
