//! The client's end, message by message and at exact times.

mod links;
mod publishes;
mod subscriptions;

use throughline_session::{
    ClientEvent, ClientSession, ClientSettings, ClientState, Cursor, LinkCommand, LinkLoss, PublishError, PublishFault,
    SubscribeError, SubscriptionId,
};
use throughline_wire::close::{CloseCode, Reconnect, reconnect_after};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{
    ClientMessage, ErrorCode, From, Gap, GapReason, Limits, Reply, ReplyError, ServerMessage,
};

const EPOCH: Epoch = Epoch(1);

struct Client {
    session: ClientSession,
    now: u64,
}

impl Client {
    fn new() -> Client {
        Client { session: ClientSession::new(ClientSettings::default(), 1, 0), now: 0 }
    }

    /// A client whose first link is open and welcomed.
    fn welcomed() -> Client {
        let mut client = Client::new();
        client.link();
        client.welcome();
        client.drain();
        client
    }

    /// Lets time pass until a link is asked for, and opens it.
    fn link(&mut self) -> Vec<ClientMessage> {
        if let ClientState::Waiting { until } = self.session.state() {
            self.now = self.now.max(until);
            self.session.tick(self.now);
        }
        assert_eq!(self.session.poll_link(), Some(LinkCommand::Open));
        self.session.link_opened(self.now);
        self.sent()
    }

    fn give(&mut self, message: ServerMessage) {
        self.session.input(self.now, Ok(message));
    }

    fn welcome(&mut self) {
        self.welcome_as(SessionId(7));
    }

    fn welcome_as(&mut self, session: SessionId) {
        let limits = Limits { event_bytes: 1000, publishes_max: 3, subscriptions_max: 10 };
        self.give(ServerMessage::Welcome { version: 1, session, heartbeat: 10_000, limits, network: None });
    }

    fn reply(&mut self, id: u64, result: Result<Reply, ReplyError>) {
        self.give(ServerMessage::Reply { id, result });
    }

    fn subscribed(&mut self, id: u64, epoch: Epoch, eid: u64) {
        self.reply(id, Ok(Reply::Subscribed { number: 5, epoch, eid: Eid(eid) }));
    }

    fn event(&mut self, eid: u64) {
        self.give(ServerMessage::Event { channel: 5, event: event(eid) });
    }

    fn gap(&mut self, from: u64, to: u64, epoch: Epoch, reason: GapReason) {
        self.give(ServerMessage::Gap { channel: 5, gap: gap(from, to, epoch, reason) });
    }

    fn publish(&mut self) -> u64 {
        self.session.publish("c", body(1), None).expect("there is room")
    }

    fn sent(&mut self) -> Vec<ClientMessage> {
        std::iter::from_fn(|| self.session.poll_transmit()).collect()
    }

    fn drain(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// EIDs of events and ranges of gaps that were handed out, in order.
    fn given(&mut self) -> Vec<(u64, u64)> {
        let range = |e| match e {
            ClientEvent::Event { event, .. } => Some((event.eid.0, event.eid.0)),
            ClientEvent::Gap { gap, .. } => Some((gap.from.0, gap.to.0)),
            _ => None,
        };
        self.drain().into_iter().filter_map(range).collect()
    }

    fn break_link(&mut self) {
        self.session.link_lost(self.now, LinkLoss::Broken("cut".into()));
    }

    fn close_link(&mut self, code: u16) {
        self.session.link_lost(self.now, LinkLoss::Closed { code, reason: "so".into() });
    }

    fn wait(&self) -> u64 {
        self.session.poll_timeout().expect("the session is not over") - self.now
    }
}

fn body(bytes: usize) -> Body {
    Body::new(Data::text("x".repeat(bytes)))
}

fn event(eid: u64) -> Event {
    Event { eid: Eid(eid), time: 0, body: body(1) }
}

fn gap(from: u64, to: u64, epoch: Epoch, reason: GapReason) -> Gap {
    Gap { from: Eid(from), to: Eid(to), epoch, reason }
}

fn subscribe(id: u64, from: From) -> ClientMessage {
    ClientMessage::Subscribe { id, channel: "c".into(), from }
}

fn after(eid: u64) -> From {
    From::After { after: Eid(eid), epoch: EPOCH }
}

fn publish_ids(messages: &[ClientMessage]) -> Vec<u64> {
    let id = |m: &ClientMessage| if let ClientMessage::Publish { id, .. } = m { Some(*id) } else { None };
    messages.iter().filter_map(id).collect()
}

fn refusal(code: ErrorCode) -> Result<Reply, ReplyError> {
    Err(ReplyError::new(code, "no"))
}

fn connect(session: Option<SessionId>) -> ClientMessage {
    ClientMessage::Connect { versions: vec![1], session, client: None, heartbeat: None }
}

/// A client with a subscription that stands at `eid`.
fn subscribed(from: From, eid: u64) -> (Client, SubscriptionId) {
    let mut client = Client::welcomed();
    let id = client.session.subscribe("c", from).expect("a good name");
    client.sent();
    client.subscribed(1, EPOCH, eid);
    client.drain();
    (client, id)
}
