//! Zstandard.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::Step;
use crate::problem::Problem;

/// The largest window that HTTP allows, 8 MiB (RFC 9659 §3), as a power of two.
const WINDOW_LOG: u32 = 23;

/// A decoder; none where there was no memory for one.
pub(super) struct Zstd(Option<Decoder<'static>>);

impl Default for Zstd {
    fn default() -> Self {
        let decoder = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
            Ok(decoder)
        });
        Self(decoder.ok())
    }
}

impl Zstd {
    /// Frames that follow each other are one body (RFC 8878 §3.1).
    pub(super) fn step(&mut self, piece: &[u8], out: &mut [u8]) -> Result<Step, Problem> {
        let decoder = self.0.as_mut().ok_or(Problem::Damaged)?;
        let (mut input, mut output) = (InBuffer::around(piece), OutBuffer::around(out));
        decoder.run(&mut input, &mut output).map_err(|_| Problem::Damaged)?;
        Ok(Step { taken: input.pos(), made: output.pos() })
    }
}
