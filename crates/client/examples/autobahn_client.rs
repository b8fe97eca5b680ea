//! Runs the cases of an Autobahn-style fuzzing server against this crate's WebSocket connection.
//!
//! ```text
//! cargo run --release -p throughline-client --example autobahn_client -- ws://127.0.0.1:9001 [AGENT]
//! ```
//!
//! Every message is echoed; the server judges, and writes its report at the end.

use std::process::ExitCode;
use std::time::Duration;

use throughline_client::RealmUrl;
use throughline_client::websocket::{Connection, ConnectionOptions, Fault, Frame, Message};
use tokio::time::timeout;

/// No case takes longer than this.
const CASE_TIMEOUT: Duration = Duration::from_secs(100);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(url) = arguments.next() else {
        return fail("usage: autobahn_client ws://HOST:PORT [AGENT]");
    };
    let agent = arguments.next().unwrap_or_else(|| "throughline-client".to_owned());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&e.to_string()),
    };
    match runtime.block_on(run(&url, &agent)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e.to_string()),
    }
}

#[expect(clippy::print_stderr, reason = "a program's words to its user")]
fn fail(text: &str) -> ExitCode {
    eprintln!("autobahn_client: {text}");
    ExitCode::FAILURE
}

async fn run(url: &str, agent: &str) -> Result<(), Box<dyn std::error::Error>> {
    let url: RealmUrl = url.parse()?;
    let mut options = ConnectionOptions::default();
    let mut count = Connection::open(&url, "/getCaseCount", &options).await?;
    let Message::Text(cases) = count.recv().await? else { return Err("the case count is no text".into()) };
    count.finish(1000, "").await;
    options.deflate = true;
    // The compression cases judge what is echoed, however short.
    options.compressed_bytes_min = 0;
    for case in 1..=cases.trim().parse::<u32>()? {
        let target = format!("/runCase?case={case}&agent={agent}");
        let mut connection = Connection::open(&url, &target, &options).await?;
        if timeout(CASE_TIMEOUT, echo(&mut connection)).await.is_err() {
            let _ = fail(&format!("case {case} took longer than {CASE_TIMEOUT:?}"));
        }
    }
    options.deflate = false;
    let mut update = Connection::open(&url, &format!("/updateReports?agent={agent}"), &options).await?;
    // The server closes when the report is written.
    let _ = update.recv().await;
    update.finish(1000, "").await;
    Ok(())
}

/// Echoes until the connection is over.
async fn echo(connection: &mut Connection) {
    loop {
        let sent = match connection.recv().await {
            Ok(Message::Text(text)) => connection.send(Frame::Text(text.as_bytes())).await,
            Ok(Message::Binary(bytes)) => connection.send(Frame::Binary(&bytes)).await,
            Ok(Message::Close(..)) | Err(Fault::Violation(_)) => return connection.finish(1000, "").await,
            Err(_) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}
