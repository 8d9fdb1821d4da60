//! One proof for many leaves of a tree: the roots of all the subtrees that have none of them, from left to right.
//!
//! The tree is that of RFC 6962 §2.1. Walking it from the root, a subtree without any of the leaves is a hash of the proof,
//! a subtree of one leaf is that leaf, and every other is split into its two halves. Neighbours share their way up, so a
//! proof of many leaves is much shorter than theirs together, and one of all leaves is empty.

use crate::merkle::{HashReader, split, subtree};
use crate::{Hash, Malformed, merkle};

/// The proof of the leaves at `indexes`, which ascend, in the tree of the first `size` leaves.
pub fn batch_proof<R: HashReader>(reader: &R, indexes: &[u64], size: u64) -> Result<Vec<Hash>, R::Error> {
    let mut proof = Vec::new();
    if size > 0 {
        prove(reader, indexes, (0, size), &mut proof)?;
    }
    Ok(proof)
}

fn prove<R: HashReader>(
    reader: &R,
    indexes: &[u64],
    (start, end): (u64, u64),
    proof: &mut Vec<Hash>,
) -> Result<(), R::Error> {
    if indexes.is_empty() {
        proof.push(subtree(reader, start, end)?);
    } else if end - start > 1 {
        let middle = start + split(end - start);
        let (left, right) = indexes.split_at(indexes.partition_point(|index| *index < middle));
        prove(reader, left, (start, middle), proof)?;
        prove(reader, right, (middle, end), proof)?;
    }
    Ok(())
}

/// Checks that `leaves`, index and hash, which ascend, are in the tree of `size` leaves with `root`.
pub fn check_batch(leaves: &[(u64, Hash)], size: u64, proof: &[Hash], root: &Hash) -> Result<(), Malformed> {
    let fail = |problem: &str| Err(Malformed::new("batch proof", problem));
    if !leaves.is_sorted_by(|one, next| one.0 < next.0) {
        return fail("the leaves do not ascend");
    }
    if leaves.last().is_none_or(|(index, _)| *index >= size) {
        return fail("there are no leaves, or they are beyond the tree");
    }
    let mut proof = proof.iter();
    match (above(leaves, (0, size), &mut proof), proof.len()) {
        (None, _) => fail("there are too few hashes"),
        (Some(_), 1..) => fail("there are too many hashes"),
        (Some(hash), 0) if hash == *root => Ok(()),
        _ => fail("it leads to another root"),
    }
}

/// The root of leaves `start..end`. It is 64 levels deep at most, and goes down only to the leaves that are there.
fn above<'p>(
    leaves: &[(u64, Hash)],
    (start, end): (u64, u64),
    proof: &mut impl Iterator<Item = &'p Hash>,
) -> Option<Hash> {
    match leaves {
        [] => proof.next().copied(),
        [(_, hash)] if end - start == 1 => Some(*hash),
        _ => {
            let middle = start + split(end - start);
            let (left, right) = leaves.split_at(leaves.partition_point(|(index, _)| *index < middle));
            let left = above(left, (start, middle), proof)?;
            Some(merkle::node_hash(&left, &above(right, (middle, end), proof)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::tests::Levels;
    use crate::merkle::{Frontier, inclusion_proof, leaf_hash};

    fn tree(size: u64) -> (Levels, Vec<Hash>, Hash) {
        let (mut levels, mut frontier) = (Levels::default(), Frontier::default());
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        for leaf in &leaves {
            levels.push(&mut frontier, *leaf);
        }
        (levels, leaves, frontier.root())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_there_is_proved_and_nothing_else(size in 1_u64..300, chosen in proptest::collection::vec(any::<prop::sample::Index>(), 1..40), wrong in any::<prop::sample::Index>()) {
            let (levels, hashes, root) = tree(size);
            let mut indexes: Vec<u64> = chosen.iter().map(|index| index.index(size as usize) as u64).collect();
            indexes.sort_unstable();
            indexes.dedup();
            let proof = batch_proof(&levels, &indexes, size).unwrap();
            let leaves: Vec<_> = indexes.iter().map(|index| (*index, hashes[*index as usize])).collect();
            prop_assert!(check_batch(&leaves, size, &proof, &root).is_ok());
            let single: usize = indexes.iter().map(|index| inclusion_proof(&levels, *index, size).unwrap().len()).sum();
            prop_assert!(proof.len() <= single);

            let mut other = leaves.clone();
            let at = wrong.index(other.len());
            other[at].1[7] ^= 1;
            prop_assert!(check_batch(&other, size, &proof, &root).is_err(), "another leaf");
            other.remove(at);
            prop_assert!(check_batch(&other, size, &proof, &root).is_err(), "a leaf too few");
            let mut longer = proof.clone();
            longer.push(root);
            prop_assert!(check_batch(&leaves, size, &longer, &root).is_err(), "a hash too many");
            prop_assert!(proof.is_empty() || check_batch(&leaves, size, &proof[1..], &root).is_err(), "a hash too few");
        }
    }

    #[test]
    fn leaves_that_do_not_ascend_or_are_not_there_are_refused() {
        let (levels, hashes, root) = tree(9);
        let proof = batch_proof(&levels, &[2, 3], 9).unwrap();
        let (two, three) = ((2, hashes[2]), (3, hashes[3]));
        assert!(check_batch(&[two, three], 9, &proof, &root).is_ok());
        assert!(check_batch(&[three, two], 9, &proof, &root).is_err());
        assert!(check_batch(&[two, two], 9, &proof, &root).is_err());
        assert!(check_batch(&[two, (9, hashes[3])], 9, &proof, &root).is_err());
        assert!(check_batch(&[], 9, &[root], &root).is_err());
        assert!(check_batch(&[(u64::MAX - 1, hashes[3])], u64::MAX, &[], &root).is_err());
        let all: Vec<_> = hashes.iter().copied().enumerate().map(|(index, hash)| (index as u64, hash)).collect();
        assert!(check_batch(&all, 9, &[], &root).is_ok(), "all leaves need no proof");
    }
}
