//! The Rust client of Throughline.
//!
//! [`Session`] publishes and subscribes, and outlives connections: it reconnects, resumes subscriptions where they were and
//! repeats what was not answered, so that nothing is lost or doubled. [`Realm`] does by plain HTTP what needs no session:
//! channel administration, publishing and paging through kept events. Both need a tokio runtime with I/O and time enabled.
//!
//! ```no_run
//! use throughline_client::{Body, Data, Delivery, From, Options, Session};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Session::connect("http://127.0.0.1:9000", Options::default()).await?;
//! let mut prices = session.subscribe("prices", From::New)?;
//! let published = session.publish("prices", Body::new(Data::text("42")), None).await?;
//! println!("stored as {}", published.eid);
//! loop {
//!     match prices.next().await {
//!         Delivery::Event(event) => println!("{:?}", event.body.data),
//!         Delivery::Gap(gap) => println!("missed {}..{}", gap.from, gap.to),
//!         Delivery::Standing { .. } => {}
//!         Delivery::Ended(why) => break println!("{why}"),
//!     }
//! }
//! session.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`session`], [`subscription`]: what programs hold; [`options`]: how a session behaves
//! - [`http`]: the HTTP side; [`url`]: addresses; [`error`]: what can go wrong on the way
//! - [`websocket`]: a WebSocket connection to any server

mod core;
pub mod doctor;
mod driver;
pub mod error;
pub mod http;
mod net;
pub mod options;
pub mod session;
pub mod subscription;
mod transport;
pub mod url;
pub mod websocket;

pub use error::ConnectError;
pub use http::{Channel, ChannelSpec, ChannelType, HttpError, Page, PublishNumber, Realm};
pub use net::{BadRoute, ProxyChoice, Route};
pub use options::{Options, TRANSPORTS};
pub use session::{OpenError, PublishFailure, Published, Receipt, Session, State};
pub use subscription::{Delivery, Ended, Subscription};
pub use throughline_session::{Cursor, LinkLoss, PathSummary, PublishError, PublishFault, Report, SubscribeError};
pub use throughline_wire::event::{Body, Data, Eid, Epoch, Event};
pub use throughline_wire::message::{From, Gap, GapReason, ReplyError};
pub use throughline_wire::path::{Failure, Transport};
pub use throughline_wire::properties::{Properties, Value};
pub use url::RealmUrl;

/// The examples of docs/rust.md, which have to compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rust.md")]
struct Documented;
