//! Pieces of a link's uplink, on their way to the shard that has the link.

use bytes::Bytes;
use throughline_wire::http::write_taken;
use throughline_wire::message::{ErrorCode, ReplyError};
use tokio::sync::oneshot;

use super::call::Call;
use super::{LINK_WAIT, PIECE_HOLD, conflict, unknown_link};
use crate::http::Context;
use crate::http::answer::Fault;
use crate::shard::{Mail, PieceDone, PieceOutcome};

pub(super) async fn answer(context: &Context, call: &Call, piece: Option<(u64, Bytes)>) -> Result<Vec<u8>, Fault> {
    let Some((number, bytes)) = piece else {
        return Err(Fault::bad_request("the query lacks n: the number of the piece"));
    };
    let place = context.links.wait_for(call.link, LINK_WAIT).await.ok_or_else(unknown_link)?;
    let (outcome, taken) = oneshot::channel();
    let done = PieceDone::new(move |result| {
        // The client may have gone away meanwhile.
        let _ = outcome.send(result);
    });
    place.mailbox.put(Mail::Piece { link: place.link, number, bytes, done });
    match tokio::time::timeout(PIECE_HOLD, taken).await {
        Ok(Ok(PieceOutcome::Taken)) => {
            let mut text = Vec::with_capacity(40);
            write_taken(number, &mut text);
            text.push(b'\n');
            Ok(text)
        }
        Ok(Ok(PieceOutcome::Skipped { expected })) => {
            Err(conflict(format!("n={number}: piece {expected} has to come first")))
        }
        Ok(Err(_)) => Err(unknown_link()),
        Ok(Ok(PieceOutcome::Refused)) | Err(_) => {
            let text = format!("the link takes no more for now; repeat piece {number} until it is taken");
            Err(ReplyError::new(ErrorCode::Overloaded, text).into())
        }
    }
}
