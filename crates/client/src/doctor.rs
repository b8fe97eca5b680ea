//! What a path does to each transport, and what to do about it.
//!
//! [`Observations`] are judged by rules that see nothing else; the sentences are in `findings.json`, which the page reads too.
//! docs/doctor.md explains both.

pub mod catalogue;
mod judge;
mod observations;
mod observe;

pub use judge::{Finding, Judgement, Severity, judge, outcome};
pub use observations::{Answer, Certificate, Diagnosis, Observations, Seen, Trial};
pub use observe::{IDLE_S_MAX, Plan, observe};
