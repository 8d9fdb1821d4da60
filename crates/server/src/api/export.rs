//! The manifest of an export. Its rows are asked for by SQL.

use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use onrecord_proof::manifest::{Contents, Manifest};

use super::extract::Json;
use super::{Api, ApiError, Reader};

/// Bytes of everything but the leaves: some hundred thousand files.
const FILES_MAX: usize = 16 << 20;
/// Bytes of the leaves, for each leaf of the log. There are as many runs as every second leaf makes at most, and such a run
/// takes 16 with an index of 11 digits: `[10000000000,1],`.
const RUNS_MAX: u64 = 8;

/// Bytes of the contents of an export from a log of that size.
fn most(size: u64) -> usize {
    usize::try_from(size.saturating_mul(RUNS_MAX)).unwrap_or(usize::MAX).saturating_add(FILES_MAX)
}

/// Puts an export on record and answers with its manifest.
pub(super) async fn record(
    State(api): State<Api>,
    Reader(reading): Reader,
    mut request: Request,
) -> Result<Json<Manifest>, ApiError> {
    DefaultBodyLimit::max(most(api.engine.reader().size())).apply(&mut request);
    let Json(contents) = Json::<Contents>::from_request(request, &()).await?;
    Ok(Json(api.engine.exported(&reading, contents).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_scattered_export_fits() {
        for (size, before) in [(10, 0), (4_000_000, 10_000_000_000_u64)] {
            let leaves: Vec<_> = (0..size / 2).map(|run| (before + 2 * run, 1)).collect();
            let (view, condition, rows) = (String::new(), None, String::new());
            let contents = Contents { view, condition, rows, files: Vec::new(), leaves };
            let bytes = serde_json::to_vec(&contents).unwrap().len();
            assert!(bytes <= most(size), "{size}: {bytes}");
        }
        assert_eq!(most(u64::MAX), usize::MAX);
    }
}
