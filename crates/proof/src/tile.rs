//! Tile coordinates and paths of C2SP tlog-tiles.

use crate::Malformed;

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;

/// The coordinates of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Tile level: its hashes are those of subtrees of 256^`level` leaves.
    pub level: u8,
    /// Index among the tiles of its level.
    pub index: u64,
    /// Hashes in it, 1 to 256; fewer than 256 make a partial tile.
    pub width: u16,
}

impl Tile {
    /// The path of the tile below the log's prefix, e.g. `tile/0/x001/x234/067.p/8`.
    pub fn path(&self) -> String {
        let path = format!("tile/{}/{}", self.level, index_path(self.index));
        if u64::from(self.width) < TILE_WIDTH { format!("{path}.p/{}", self.width) } else { path }
    }

    /// Reads a path as [`path`](Self::path) writes it.
    pub fn from_path(path: &str) -> Result<Self, Malformed> {
        let tile = parse(path).ok_or_else(|| Malformed::new("tile path", format!("{path:?}")))?;
        // One tile has one path: a second spelling such as a leading zero would be a second cache entry.
        if tile.path() == path { Ok(tile) } else { Err(Malformed::new("tile path", format!("{path:?}"))) }
    }
}

/// Groups of three digits, all but the last with an `x` before them.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

fn parse(path: &str) -> Option<Tile> {
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok().filter(|w| (1..256).contains(w))?),
        None => (rest, 256),
    };
    let mut number = 0_u64;
    for part in index.split('/') {
        let digits = part.strip_prefix('x').unwrap_or(part);
        let digits = (digits.len() == 3).then_some(digits)?;
        number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(Tile { level: level.parse().ok().filter(|l| *l < 64)?, index: number, width })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn paths_come_back(level in 0u8..64, index in 0u64..u64::MAX / 2000, width in 1u16..=256) {
            let tile = Tile { level, index, width };
            prop_assert_eq!(Tile::from_path(&tile.path()).unwrap(), tile);
        }
    }

    #[test]
    fn the_example_of_the_specification() {
        let tile = Tile { level: 0, index: 1_234_067, width: 256 };
        assert_eq!(tile.path(), "tile/0/x001/x234/067");
        assert_eq!(Tile { width: 8, ..tile }.path(), "tile/0/x001/x234/067.p/8");
    }

    #[test]
    fn other_spellings_are_refused() {
        for path in [
            "tile/0/67",
            "tile/00/067",
            "tile/0/x000/067",
            "tile/0/067.p/256",
            "tile/0/067.p/0",
            "tile/64/000",
            "tile/0/001/067",
            "tile/0/x001",
            "tile/0/+67",
            "tile/0/067/",
            "tile/0/",
            "/tile/0/067",
        ] {
            assert!(Tile::from_path(path).is_err(), "{path}");
        }
    }
}
