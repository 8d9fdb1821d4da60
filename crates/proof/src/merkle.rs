//! RFC 6962 hashing, the growing tree's frontier, and inclusion and consistency proofs (RFC 9162 §2.1).

use sha2::{Digest, Sha256};

use crate::Malformed;

/// A SHA-256 of a leaf or of a node of the tree.
pub type Hash = [u8; 32];

/// Levels of the binary tree between two stored levels: a tile has 2^8 hashes.
pub const TILE_HEIGHT: u32 = 8;

/// `SHA-256(0x00 ‖ leaf)`.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into()
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without leaves, `SHA-256("")`.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// Stored hashes: those of complete subtrees of 256^`level` leaves.
pub trait HashReader {
    /// Why a hash could not be read.
    type Error;

    /// `count` hashes of tile level `level` from index `start` on, in order.
    fn hashes(&self, level: u32, start: u64, count: usize) -> Result<Vec<Hash>, Self::Error>;
}

/// The roots of the perfect subtrees that a tree of some size is made of, largest first. What appending needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the tree of `size` leaves that `reader` holds.
    pub fn read<R: HashReader>(reader: &R, size: u64) -> Result<Self, R::Error> {
        let roots = perfect_subtrees(0, size).into_iter().map(|(level, at)| node(reader, level, at));
        Ok(Self { size, roots: roots.collect::<Result<_, _>>()? })
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf. `store` is given each hash that completes a stored level: its tile level and itself.
    pub fn push(&mut self, leaf: Hash, mut store: impl FnMut(u32, Hash)) {
        store(0, leaf);
        let mut hash = leaf;
        for level in 1..=self.size.trailing_ones() {
            // The size's trailing ones are subtrees that this leaf completes, so there is one root for each.
            let Some(left) = self.roots.pop() else { break };
            hash = node_hash(&left, &hash);
            if level % TILE_HEIGHT == 0 {
                store(level / TILE_HEIGHT, hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root hash of the tree.
    pub fn root(&self) -> Hash {
        fold(&self.roots).unwrap_or_else(empty_root)
    }
}

/// Joins perfect subtrees, largest first, into the root above them.
fn fold(roots: &[Hash]) -> Option<Hash> {
    roots.iter().rev().copied().reduce(|right, left| node_hash(&left, &right))
}

/// The perfect subtrees that leaves `start..end` are made of, as (level, index at that level), left to right.
/// `start` is a multiple of the largest power of two that fits, as it always is for the right side of a split.
fn perfect_subtrees(start: u64, end: u64) -> Vec<(u32, u64)> {
    let mut parts = Vec::new();
    let mut at = start;
    while at < end {
        let level = (end - at).ilog2().min(if at == 0 { 63 } else { at.trailing_zeros() });
        parts.push((level, at >> level));
        at += 1 << level;
    }
    parts
}

/// The hash of the perfect subtree of 2^`level` leaves at index `at`, from the stored level below it.
fn node<R: HashReader>(reader: &R, level: u32, at: u64) -> Result<Hash, R::Error> {
    let above = level % TILE_HEIGHT;
    let mut hashes = reader.hashes(level / TILE_HEIGHT, at << above, 1 << above)?;
    while hashes.len() > 1 {
        hashes = hashes.chunks(2).map(|pair| node_hash(&pair[0], &pair[pair.len() - 1])).collect();
    }
    Ok(hashes.first().copied().unwrap_or_else(empty_root))
}

pub(crate) fn subtree<R: HashReader>(reader: &R, start: u64, end: u64) -> Result<Hash, R::Error> {
    let roots = perfect_subtrees(start, end).into_iter().map(|(level, at)| node(reader, level, at));
    Ok(fold(&roots.collect::<Result<Vec<_>, _>>()?).unwrap_or_else(empty_root))
}

/// The root hash of the first `size` leaves.
pub fn root<R: HashReader>(reader: &R, size: u64) -> Result<Hash, R::Error> {
    subtree(reader, 0, size)
}

/// The largest power of two below `n`, for `n` > 1.
pub(crate) const fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The hashes that lead from leaf `index` to the root of the first `size` leaves, from the bottom up (RFC 9162 §2.1.3).
/// Empty unless `index < size`.
pub fn inclusion_proof<R: HashReader>(reader: &R, index: u64, size: u64) -> Result<Vec<Hash>, R::Error> {
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while index < size && end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(subtree(reader, middle, end)?);
            end = middle;
        } else {
            proof.push(subtree(reader, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that show that the tree of `new` leaves begins with the tree of `old` (RFC 9162 §2.1.4).
/// Empty unless `0 < old < new`.
pub fn consistency_proof<R: HashReader>(reader: &R, old: u64, new: u64) -> Result<Vec<Hash>, R::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    while end > old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(subtree(reader, middle, end)?);
            end = middle;
        } else {
            proof.push(subtree(reader, start, middle)?);
            start = middle;
        }
    }
    if start > 0 {
        proof.push(subtree(reader, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is at `index` of the tree of `size` leaves with `root` (RFC 9162 §2.1.3.2).
pub fn check_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), Malformed> {
    let fail = |problem: &str| Err(Malformed::new("inclusion proof", problem));
    if index >= size {
        return fail("the index is beyond the tree");
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for step in proof {
        if last == 0 {
            return fail("there are too many hashes");
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(step, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, step);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => fail("it leads to another root"),
        _ => fail("there are too few hashes"),
    }
}

/// Checks that the tree of `new` leaves with `new_root` begins with that of `old` leaves with `old_root`
/// (RFC 9162 §2.1.4.2).
pub fn check_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), Malformed> {
    let fail = |problem: &str| Err(Malformed::new("consistency proof", problem));
    if old > new {
        return fail("the newer tree is smaller");
    }
    if old == new || old == 0 {
        let same = old == 0 || old_root == new_root;
        return if proof.is_empty() && same { Ok(()) } else { fail("the two trees differ") };
    }
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (first, steps) = if at == 0 {
        (old_root, proof)
    } else {
        let Some((first, steps)) = proof.split_first() else { return fail("it is empty") };
        (first, steps)
    };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for step in steps {
        if last == 0 {
            return fail("there are too many hashes");
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last, old_hash == *old_root, new_hash == *new_root) {
        (0, true, true) => Ok(()),
        (0, false, _) => fail("it leads to another old root"),
        (0, _, false) => fail("it leads to another new root"),
        _ => fail("there are too few hashes"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::convert::Infallible;

    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use ct_merkle::{ConsistencyProof, InclusionProof};
    use proptest::prelude::*;

    use super::*;

    /// Stored levels in memory.
    #[derive(Default)]
    pub(crate) struct Levels(Vec<Vec<Hash>>);

    impl Levels {
        pub(crate) fn push(&mut self, frontier: &mut Frontier, leaf: Hash) {
            frontier.push(leaf, |level, hash| {
                self.0.resize(self.0.len().max(level as usize + 1), Vec::new());
                self.0[level as usize].push(hash);
            });
        }
    }

    impl HashReader for Levels {
        type Error = Infallible;

        fn hashes(&self, level: u32, start: u64, count: usize) -> Result<Vec<Hash>, Infallible> {
            Ok(self.0[level as usize][start as usize..start as usize + count].to_vec())
        }
    }

    fn tree(size: u64) -> (Levels, Frontier, MemoryBackedTree<Sha256, Vec<u8>>) {
        let (mut levels, mut frontier, mut oracle) = (Levels::default(), Frontier::default(), MemoryBackedTree::new());
        for i in 0..size {
            levels.push(&mut frontier, leaf_hash(&i.to_be_bytes()));
            oracle.push(i.to_be_bytes().to_vec());
        }
        (levels, frontier, oracle)
    }

    fn bytes(proof: &[Hash]) -> Vec<u8> {
        proof.concat()
    }

    #[test]
    fn the_empty_tree_and_the_first_roots() {
        assert_eq!(Frontier::default().root(), empty_root());
        for size in 1..=300 {
            let (levels, frontier, oracle) = tree(size);
            assert_eq!(frontier.root()[..], oracle.root().as_bytes()[..], "size {size}");
            assert_eq!(root(&levels, size).unwrap(), frontier.root());
            assert_eq!(Frontier::read(&levels, size).unwrap(), frontier);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn inclusion_proofs_are_the_oracles(size in 1u64..1500, at in any::<prop::sample::Index>()) {
            let (levels, frontier, oracle) = tree(size);
            let index = at.index(size as usize) as u64;
            let proof = inclusion_proof(&levels, index, size).unwrap();
            let expected: InclusionProof<Sha256> = oracle.prove_inclusion(index as usize);
            prop_assert_eq!(bytes(&proof), expected.as_bytes());
            let leaf = leaf_hash(&index.to_be_bytes());
            prop_assert!(check_inclusion(&leaf, index, size, &proof, &frontier.root()).is_ok());
            prop_assert!(check_inclusion(&leaf, (index + 1) % size.max(2), size, &proof, &frontier.root()).is_err());
            prop_assert!(check_inclusion(&leaf_hash(b"other"), index, size, &proof, &frontier.root()).is_err());
            for i in 0..proof.len() {
                let mut bad = proof.clone();
                bad[i][7] ^= 1;
                prop_assert!(check_inclusion(&leaf, index, size, &bad, &frontier.root()).is_err());
                prop_assert!(check_inclusion(&leaf, index, size, &proof[..i], &frontier.root()).is_err());
            }
            let long = [proof.clone(), vec![[0; 32]]].concat();
            prop_assert!(check_inclusion(&leaf, index, size, &long, &frontier.root()).is_err());
        }

        #[test]
        fn consistency_proofs_are_the_oracles(new in 2u64..1500, at in any::<prop::sample::Index>()) {
            let old = 1 + at.index(new as usize - 1) as u64;
            let (levels, frontier, oracle) = tree(new);
            let proof = consistency_proof(&levels, old, new).unwrap();
            let expected: ConsistencyProof<Sha256> = oracle.prove_consistency((new - old) as usize);
            prop_assert_eq!(bytes(&proof), expected.as_bytes());
            let (old_root, new_root) = (root(&levels, old).unwrap(), frontier.root());
            prop_assert!(check_consistency(old, new, &proof, &old_root, &new_root).is_ok());
            prop_assert!(check_consistency(old, new, &proof, &[0; 32], &new_root).is_err());
            prop_assert!(check_consistency(old, new, &proof, &old_root, &[0; 32]).is_err());
            for i in 0..proof.len() {
                let mut bad = proof.clone();
                bad[i][31] ^= 0x80;
                prop_assert!(check_consistency(old, new, &bad, &old_root, &new_root).is_err());
                prop_assert!(check_consistency(old, new, &proof[..i], &old_root, &new_root).is_err());
            }
        }
    }

    #[test]
    fn the_edges_of_consistency() {
        let (levels, frontier, _) = tree(7);
        let root = frontier.root();
        assert!(check_consistency(7, 7, &[], &root, &root).is_ok());
        assert!(check_consistency(0, 7, &[], &empty_root(), &root).is_ok());
        assert!(check_consistency(7, 7, &[], &root, &[0; 32]).is_err());
        assert!(check_consistency(8, 7, &[], &root, &root).is_err());
        assert!(consistency_proof(&levels, 7, 7).unwrap().is_empty());
        assert!(inclusion_proof(&levels, 7, 7).unwrap().is_empty());
    }
}
