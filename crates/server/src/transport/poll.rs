//! Polls: each asks for the next answer of a link, and acknowledges the one before.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use throughline_wire::http::{Form, write_answer_line};
use throughline_wire::message::{ErrorCode, ReplyError};

use super::call::Call;
use super::slot::{Answer, Begin};
use super::{LINK_WAIT, Place, PollSlot, conflict, unknown_link};
use crate::http::answer::Fault;
use crate::runtime::Local;
use crate::shard::{HttpLink, Mail, Network};
use throughline_wire::path::Transport;

pub(super) async fn answer(
    local: &Rc<Local>,
    call: &Call,
    piece: Option<(u64, Bytes)>,
    network: Option<Network>,
) -> Result<Vec<u8>, Fault> {
    if call.ack > 0 && piece.is_some() {
        return Err(Fault::bad_request("only the poll that opens a link brings a piece; send others by /uplink"));
    }
    let first = Call::first(piece)?;
    let place = find(local, call, first, network).await?;
    let Some(slot) = place.slot else {
        return Err(conflict("this link is a stream, which cannot be polled"));
    };
    place.mailbox.put(Mail::Heard(place.link));
    let answer = match slot.begin(call.ack) {
        Begin::Repeated(answer) => answer,
        Begin::Wait(turn) => wait(&slot, turn, call.hold_ms).await?,
        Begin::Conflict(number) => {
            let ack = call.ack;
            return Err(conflict(format!("ack={ack}: the last answer has number {number}, and only it is kept")));
        }
    };
    let messages = answer.lines.iter().filter(|byte| **byte == b'\n').count();
    let mut text = Vec::with_capacity(answer.lines.len() + 96);
    write_answer_line(answer.number, messages as u64, &mut text);
    text.extend_from_slice(&answer.lines);
    Ok(text)
}

async fn wait(slot: &PollSlot, turn: u64, hold_ms: u64) -> Result<Answer, Fault> {
    let answer = poll_fn(|cx| slot.poll_answer(turn, cx));
    match tokio::time::timeout(Duration::from_millis(hold_ms), answer).await {
        Ok(answer) => answer.ok_or_else(unknown_link),
        Err(_) => Ok(slot.nothing()),
    }
}

/// The link, which the first poll opens. That poll may come again, when its answer was lost.
async fn find(local: &Rc<Local>, call: &Call, first: Option<Bytes>, network: Option<Network>) -> Result<Place, Fault> {
    let links = &local.http.links;
    if let Some(place) = links.find(call.link) {
        return Ok(place);
    }
    if call.ack > 0 {
        return Err(unknown_link());
    }
    match links.reserve(call.link) {
        Some(reserved) => open(local, call, first, network, reserved),
        // It is being opened by another request at this moment.
        None => links.wait_for(call.link, LINK_WAIT).await.ok_or_else(unknown_link),
    }
}

fn open(
    local: &Rc<Local>,
    call: &Call,
    first: Option<Bytes>,
    network: Option<Network>,
    mut reserved: super::Reserved,
) -> Result<Place, Fault> {
    let context = &local.http;
    let links = &context.links;
    if context.is_draining() {
        return Err(Fault::draining());
    }
    let max = context.config.limits.poll_links_max;
    if !reserved.count_poll(max) {
        let text = format!("the realm has limits.poll_links_max = {max} links on polls; come back later");
        return Err(ReplyError::limit(ErrorCode::Overloaded, text, max).into());
    }
    let transport = if call.scripted { Transport::JsonpPoll } else { Transport::LongPoll };
    let http = HttpLink { transport, form: Form::Lines, chunked: false, start: Vec::new(), network };
    Ok(local.poll_link(links.slot(), http, first, reserved))
}
