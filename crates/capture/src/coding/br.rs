//! Brotli.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::Step;
use crate::problem::Problem;

pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    has_ended: bool,
}

impl Default for Brotli {
    fn default() -> Self {
        let alloc = StandardAlloc::default;
        // Windows of more than 16 MiB are none of RFC 7932.
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), has_ended: false }
    }
}

impl Brotli {
    pub(super) fn step(&mut self, piece: &[u8], out: &mut [u8]) -> Result<Step, Problem> {
        if self.has_ended {
            return Ok(Step::NONE);
        }
        let (mut left, mut taken) = (piece.len(), 0);
        let (mut room, mut made, mut total) = (out.len(), 0, 0);
        let state = &mut self.state;
        let done = BrotliDecompressStream(&mut left, &mut taken, piece, &mut room, &mut made, out, &mut total, state);
        match done {
            BrotliResult::ResultFailure => return Err(Problem::Damaged),
            BrotliResult::ResultSuccess => self.has_ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { taken, made })
    }
}
