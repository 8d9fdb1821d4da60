//! The tree: roots, proofs and tile paths.

use std::convert::Infallible;

use onrecord_proof::merkle::{
    Frontier, HashReader, check_consistency, check_inclusion, consistency_proof, inclusion_proof, leaf_hash, root,
};
use onrecord_proof::tile::Tile;
use onrecord_proof::{Hash, Malformed};
use serde_json::{Value as Json, json};

use crate::{check, hex};

/// Stored levels in memory.
#[derive(Default)]
pub(crate) struct Levels(Vec<Vec<Hash>>);

impl Levels {
    pub(crate) fn of(leaves: impl IntoIterator<Item = Hash>) -> (Self, Frontier) {
        let (mut levels, mut frontier) = (Self::default(), Frontier::default());
        for leaf in leaves {
            frontier.push(leaf, |level, hash| {
                levels.0.resize(levels.0.len().max(level as usize + 1), Vec::new());
                levels.0[level as usize].push(hash);
            });
        }
        (levels, frontier)
    }
}

impl HashReader for Levels {
    type Error = Infallible;

    fn hashes(&self, level: u32, start: u64, count: usize) -> Result<Vec<Hash>, Infallible> {
        Ok(self.0[level as usize][start as usize..start as usize + count].to_vec())
    }
}

const SIZES: [u64; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 256, 257];
const INCLUSION: [(u64, u64); 11] =
    [(0, 1), (0, 2), (1, 2), (2, 3), (0, 7), (3, 7), (6, 7), (5, 8), (254, 255), (100, 256), (256, 257)];
const CONSISTENCY: [(u64, u64); 11] =
    [(0, 3), (1, 2), (2, 3), (3, 7), (4, 7), (4, 8), (6, 8), (7, 7), (8, 255), (255, 257), (256, 257)];

fn hashes(proof: &[Hash]) -> Json {
    proof.iter().map(hex).collect()
}

#[test]
fn roots_and_proofs() {
    let (levels, _) = Levels::of((0_u64..257).map(|i| leaf_hash(&i.to_be_bytes())));
    let root_of = |size| root(&levels, size).unwrap();
    let roots: Vec<_> = SIZES.iter().map(|size| json!({"size": size, "root": hex(root_of(*size))})).collect();
    let inclusion = INCLUSION.map(|(index, size)| {
        let proof = inclusion_proof(&levels, index, size).unwrap();
        let leaf = leaf_hash(&index.to_be_bytes());
        assert_eq!(check_inclusion(&leaf, index, size, &proof, &root_of(size)), Ok(()));
        json!({"index": index, "size": size, "leaf_hash": hex(leaf), "proof": hashes(&proof)})
    });
    let consistency = CONSISTENCY.map(|(old, new)| {
        let proof = consistency_proof(&levels, old, new).unwrap();
        assert_eq!(check_consistency(old, new, &proof, &root_of(old), &root_of(new)), Ok(()));
        json!({"old": old, "new": new, "old_root": hex(root_of(old)), "new_root": hex(root_of(new)),
            "proof": hashes(&proof)})
    });
    check("tree.json", &json!({"roots": roots, "inclusion": inclusion, "consistency": consistency}));
}

const NO_TILE: &[&str] = &[
    "tile/0/67",
    "tile/0/0067",
    "tile/00/067",
    "tile/0/x000/067",
    "tile/0/067.p/0",
    "tile/0/067.p/08",
    "tile/0/067.p/256",
    "tile/64/000",
    "tile/0/001/067",
    "tile/0/x001",
    "tile/0/+67",
    "tile/0/067/",
    "/tile/0/067",
];

#[test]
fn tile_paths() -> Result<(), Malformed> {
    let tiles = [(0, 0, 256), (0, 0, 1), (1, 999, 255), (2, 1000, 256), (0, 1_234_067, 256), (63, 1_000_000_000, 8)];
    let mut valid = Vec::new();
    for (level, index, width) in tiles {
        let tile = Tile { level, index, width };
        assert_eq!(Tile::from_path(&tile.path())?, tile);
        valid.push(json!({"level": level, "index": index, "width": width, "path": tile.path()}));
    }
    for path in NO_TILE {
        assert!(Tile::from_path(path).is_err(), "{path}");
    }
    check("tiles.json", &json!({"valid": valid, "refused": NO_TILE}));
    Ok(())
}
