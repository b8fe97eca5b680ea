//! `throughline serve`.

use crate::arguments::Serve;
use crate::failure::Failure;

pub(crate) fn run(_arguments: &Serve) -> Result<(), Failure> {
    Err(Failure::Failed("this build has no server".to_owned()))
}
