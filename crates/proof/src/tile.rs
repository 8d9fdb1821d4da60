//! Tiles and entry bundles of C2SP tlog-tiles: coordinates, paths, and the bytes of a bundle.

use std::ops::Range;

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

/// The coordinates of an entry bundle: the leaves of a tile of level 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryBundle {
    /// Index among the tiles of level 0.
    pub index: u64,
    /// Leaves in it, 1 to 256.
    pub width: u16,
}

impl Tile {
    /// The path of the tile below the log's prefix, e.g. `tile/0/x001/x234/067.p/8`.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, place_path(self.index, self.width))
    }

    /// Reads a path as [`path`](Self::path) writes it.
    pub fn from_path(path: &str) -> Result<Self, Malformed> {
        let parse = || {
            let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
            let (index, width) = parse_place(place)?;
            Some(Self { level: level.parse().ok().filter(|level| *level < 64)?, index, width })
        };
        the_only_spelling(path, parse(), Self::path)
    }

    /// The leaves that a tree must have for the tile to be complete.
    pub fn needs(&self) -> u64 {
        let hashes = self.index.saturating_mul(TILE_WIDTH).saturating_add(self.width.into());
        let leaves_each = 1_u64.checked_shl(8 * u32::from(self.level));
        leaves_each.map_or(u64::MAX, |leaves| leaves.saturating_mul(hashes))
    }
}

impl EntryBundle {
    /// The path of the bundle below the log's prefix, e.g. `tile/entries/x001/x234/067.p/8`.
    pub fn path(&self) -> String {
        format!("tile/entries/{}", place_path(self.index, self.width))
    }

    /// Reads a path as [`path`](Self::path) writes it.
    pub fn from_path(path: &str) -> Result<Self, Malformed> {
        let place = path.strip_prefix("tile/entries/").and_then(parse_place);
        the_only_spelling(path, place.map(|(index, width)| Self { index, width }), Self::path)
    }

    /// The leaf indexes of its entries.
    pub fn leaves(&self) -> Range<u64> {
        let start = self.index.saturating_mul(TILE_WIDTH);
        start..start.saturating_add(self.width.into())
    }

    /// The bytes of a bundle: each leaf behind its length, 16 bits, big-endian.
    pub fn bytes<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for leaf in leaves {
            // A leaf has at most LEAF_MAX bytes.
            bytes.extend_from_slice(&(leaf.len() as u16).to_be_bytes());
            bytes.extend_from_slice(leaf);
        }
        bytes
    }
}

/// One resource has one path: a second spelling such as a leading zero would be a second cache entry.
fn the_only_spelling<T>(path: &str, parsed: Option<T>, spell: impl Fn(&T) -> String) -> Result<T, Malformed> {
    parsed.filter(|parsed| spell(parsed) == path).ok_or_else(|| Malformed::new("tile path", format!("{path:?}")))
}

/// Groups of three digits, all but the last with an `x` before them; of a partial tile the width behind them.
fn place_path(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if u64::from(width) < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

fn parse_place(place: &str) -> Option<(u64, u16)> {
    let (index, width) = match place.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok().filter(|width| (1..256).contains(width))?),
        None => (place, 256),
    };
    let mut number = 0_u64;
    for part in index.split('/') {
        let digits = part.strip_prefix('x').unwrap_or(part);
        let digits = (digits.len() == 3).then_some(digits)?;
        number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some((number, width))
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
            let bundle = EntryBundle { index, width };
            prop_assert_eq!(EntryBundle::from_path(&bundle.path()).unwrap(), bundle);
        }
    }

    #[test]
    fn the_example_of_the_specification() {
        let tile = Tile { level: 0, index: 1_234_067, width: 256 };
        assert_eq!(tile.path(), "tile/0/x001/x234/067");
        assert_eq!(Tile { width: 8, ..tile }.path(), "tile/0/x001/x234/067.p/8");
    }

    #[test]
    fn a_bundle_has_the_leaves_of_a_tile() {
        let bundle = EntryBundle::from_path("tile/entries/x001/x234/067.p/8").unwrap();
        assert_eq!(bundle.leaves(), 1_234_067 * 256..1_234_067 * 256 + 8);
        assert_eq!(EntryBundle::bytes([&b"ab"[..], b""]), [0, 2, b'a', b'b', 0, 0]);
        assert!(EntryBundle::from_path("tile/0/067").is_err());
    }

    #[test]
    fn a_tile_needs_the_leaves_below_it() {
        for (level, index, width, needs) in [
            (0, 0, 1, 1),
            (0, 3, 256, 1024),
            (1, 0, 1, 256),
            (1, 1, 2, 66_048),
            (7, 1, 1, u64::MAX),
            (8, 0, 1, u64::MAX),
            (63, 9, 9, u64::MAX),
        ] {
            assert_eq!(Tile { level, index, width }.needs(), needs, "{level} {index} {width}");
        }
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
