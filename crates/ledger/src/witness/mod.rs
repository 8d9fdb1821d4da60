//! Both ends of C2SP tlog-witness, without HTTP: what a log asks its witnesses ([`Asked`]), and a witness ([`Witness`]).

mod ask;
mod keep;
mod request;

pub use ask::{Answered, Asked};
pub use keep::{Refusal, Witness};
pub use request::AddCheckpoint;
