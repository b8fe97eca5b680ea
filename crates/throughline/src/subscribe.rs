//! `throughline subscribe`.

use std::time::Duration;

use throughline_client::{Delivery, Gap, GapReason, RealmUrl, Session, Subscription};
use tokio::sync::oneshot;

use crate::arguments::Subscribe;
use crate::failure::Failure;
use crate::output::Printer;
use crate::talk::{self, Guide, Narrator};

/// Events that may wait for the output; many, so that a large replay is decoded while it is printed.
const BUFFER_EVENTS_MAX: usize = 50_000;
/// Time after Ctrl-C for an orderly end.
const END_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(url: &RealmUrl, arguments: Subscribe) -> Result<(), Failure> {
    let mut options = arguments.way.options(url);
    options.buffer_events_max = BUFFER_EVENTS_MAX;
    let session = Session::connect(&url.to_string(), options).await.map_err(Failure::failed)?;
    let narrator = Narrator::start(&session, |line| talk::say(format_args!("{line}")));
    let guide = Guide::start(&session, format!("receiving {}", arguments.channel));
    let mut subscription = session.subscribe(&arguments.channel, arguments.from).map_err(Failure::failed)?;
    let interrupted = interrupted();
    let outcome = tokio::select! {
        outcome = follow(&mut subscription, &arguments) => outcome,
        _ = interrupted => Ok(()),
    };
    drop((narrator, guide));
    drop(subscription);
    session.close().await;
    outcome
}

/// Becomes ready at Ctrl-C. When this end cannot wait for that, since nobody takes the output, the program ends.
fn interrupted() -> oneshot::Receiver<()> {
    let (to, from) = oneshot::channel();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        // Received by nobody when the subscription has just ended.
        let _ = to.send(());
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = tokio::time::sleep(END_PATIENCE) => {}
        }
        std::process::exit(0);
    });
    from
}

async fn follow(subscription: &mut Subscription, arguments: &Subscribe) -> Result<(), Failure> {
    let mut printer = Printer::new(std::io::stdout(), arguments.json);
    let mut left = arguments.count.unwrap_or(u64::MAX);
    loop {
        let mut delivery = Some(subscription.next().await);
        while let Some(next) = delivery {
            match next {
                Delivery::Event(event) => {
                    printer.event(&event).map_err(Failure::output)?;
                    left -= 1;
                    if left == 0 {
                        return printer.flush().map_err(Failure::output);
                    }
                }
                Delivery::Gap(gap) => {
                    // In place among the data, for one who sees both.
                    printer.flush().map_err(Failure::output)?;
                    talk::say(format_args!("{}", missed(&gap)));
                }
                Delivery::Standing { .. } => {}
                Delivery::Ended(why) => {
                    printer.flush().map_err(Failure::output)?;
                    return Err(Failure::failed(why));
                }
            }
            delivery = subscription.try_next();
        }
        printer.flush().map_err(Failure::output)?;
    }
}

fn missed(gap: &Gap) -> String {
    let Gap { from, to, reason, .. } = gap;
    if *reason == GapReason::Epoch {
        return format!("missed {from} and later (epoch): the channel has a new history, which follows");
    }
    format!("missed {from}..{to} ({})", reason.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use throughline_client::{Eid, Epoch};

    #[test]
    fn gaps_in_words() {
        let gap = |to, reason| Gap { from: Eid(3), to, epoch: Epoch(1), reason };
        assert_eq!(missed(&gap(Eid(7), GapReason::Capacity)), "missed 3..7 (capacity)");
        assert_eq!(missed(&gap(Eid(7), GapReason::Restart)), "missed 3..7 (restart)");
        assert!(missed(&gap(Eid::NONE, GapReason::Epoch)).starts_with("missed 3 and later (epoch)"));
    }
}
