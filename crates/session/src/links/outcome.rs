//! What the session is told when nothing got through.

use alloc::format;
use alloc::string::String;

use throughline_wire::close::{Reconnect, reconnect_after};

use crate::client::LinkLoss;

/// What the candidates of a round came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    told: Option<LinkLoss>,
    /// One of them may succeed another time.
    hope: bool,
}

impl Outcome {
    pub(super) fn add(&mut self, loss: LinkLoss) {
        let hopeless = match &loss {
            LinkLoss::Hopeless(_) => true,
            LinkLoss::Closed { code, .. } => reconnect_after(*code) == Reconnect::Never,
            LinkLoss::Broken(_) | LinkLoss::Refused { .. } => false,
        };
        // A loss that ends the session counts only when all candidates met one.
        if !hopeless && !core::mem::replace(&mut self.hope, true) {
            self.told = None;
        }
        let telling = matches!(&loss, LinkLoss::Refused { .. } | LinkLoss::Closed { .. });
        if self.told.is_none() || (telling && hopeless != self.hope) {
            self.told = Some(loss);
        }
    }

    pub(super) fn take(&mut self) -> LinkLoss {
        let told = core::mem::take(self).told;
        told.unwrap_or_else(|| LinkLoss::Broken("no transport is left to try".into()))
    }
}

/// A loss in words.
pub(super) fn worded(loss: &LinkLoss) -> String {
    match loss {
        LinkLoss::Closed { code, reason } => format!("closed with {code} {reason}"),
        LinkLoss::Broken(text) | LinkLoss::Hopeless(text) => text.clone(),
        LinkLoss::Refused { reason, .. } => reason.clone(),
    }
}
