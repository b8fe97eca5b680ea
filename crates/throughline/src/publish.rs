//! `throughline publish` of one event.

use std::io::Read;

use throughline_client::http::data_from;
use throughline_client::{Body, Data, RealmUrl, Session};

use crate::arguments::Publish;
use crate::failure::Failure;
use crate::output;
use crate::properties;
use crate::talk::{self, Narrator};

pub(crate) async fn run(url: &RealmUrl, mut arguments: Publish) -> Result<(), Failure> {
    let bytes = match arguments.data.take() {
        Some(data) => data.into_bytes(),
        None => read_all()?,
    };
    let options = arguments.way.options(url);
    let (channel, template) = Template::of(arguments)?;
    let session = Session::connect(&url.to_string(), options).await.map_err(Failure::failed)?;
    let narrator = Narrator::start(&session, |line| talk::say(format_args!("{line}")));
    let persistent = template.persistent();
    let published = tokio::select! {
        published = session.publish(&channel, template.body(bytes.into()), persistent) => published,
        _ = tokio::signal::ctrl_c() => {
            return Err(Failure::Failed("interrupted before the answer; the event may or may not be stored".to_owned()));
        }
    };
    drop(narrator);
    let published = published.map_err(|failure| {
        let reason = talk::closed_reason(&session).map(|reason| format!(": {reason}")).unwrap_or_default();
        Failure::Failed(format!("{failure}{reason}"))
    })?;
    session.close().await;
    output::print(published.eid).map_err(Failure::output)
}

fn read_all() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(Failure::Failed(format!("standard input cannot be read: {e}"))),
    }
}

/// What is the same for all events of one call.
pub(crate) struct Template {
    body: Body,
    bytes: bool,
    persistent: bool,
}

impl Template {
    pub(crate) fn of(arguments: Publish) -> Result<(String, Template), Failure> {
        let Publish { channel, bytes, tag, ttl, properties, persistent, .. } = arguments;
        let properties = properties::dictionary(properties).map_err(Failure::usage)?;
        let body = Body { data: Data::text(""), tag: tag.map(String::into_boxed_str), properties, ttl };
        Ok((channel, Template { body, bytes, persistent }))
    }

    pub(crate) fn persistent(&self) -> Option<bool> {
        self.persistent.then_some(true)
    }

    pub(crate) fn body(&self, data: bytes::Bytes) -> Body {
        let data = if self.bytes { Data::bytes(data) } else { data_from(data) };
        Body { data, ..self.body.clone() }
    }
}
