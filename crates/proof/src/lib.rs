//! What an auditor must trust: records, leaves, the Merkle tree, checkpoints and evidence.
