//! The forward pass of a Llama-architecture transformer.
//!
//! Buffers hold one vector a token, one behind the other. Query, key and value weights are stacked into one matrix, as
//! are gate and up.

use crate::Result;
use crate::gguf::Gguf;
use crate::math::{Matrix, add_scaled, dot, rms_norm, softmax, swiglu};

/// Prompt tokens read at a time. The widest of their buffers then takes 57 KB, which stays in the second-level cache.
const CHUNK: usize = 16;

pub(crate) struct Llama {
    shape: Shape,
    /// Input and output embeddings are tied.
    embedding: Matrix,
    blocks: Vec<Block>,
    norm: Vec<f32>,
}

struct Shape {
    context: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    ffn: usize,
    epsilon: f32,
    /// Cosine and sine of the angle by which each pair of channels turns, position by position.
    rotations: Vec<(f32, f32)>,
}

struct Block {
    attention_norm: Vec<f32>,
    qkv: Matrix,
    attention_out: Matrix,
    ffn_norm: Vec<f32>,
    gate_up: Matrix,
    down: Matrix,
}

/// What one generation has read so far, and its working memory. Allocated once, for the length it may reach.
pub(crate) struct Context {
    position: usize,
    caches: Vec<Cache>,
    buffers: Buffers,
}

/// Keys and values of one block, `[heads, room, head channels]`: a query reads those of its head from front to back.
struct Cache {
    room: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

#[derive(Default)]
struct Buffers {
    hidden: Vec<f32>,
    normed: Vec<f32>,
    /// Results of the stacked matrices.
    wide: Vec<f32>,
    /// What attention or the gates make of them.
    mixed: Vec<f32>,
    /// What a block adds to `hidden`.
    added: Vec<f32>,
    scores: Vec<f32>,
}

impl Llama {
    pub(crate) fn load(file: &Gguf) -> Result<Self> {
        let shape = Shape::load(file)?;
        let blocks = 0..file.usize("llama.block_count")?;
        Ok(Self {
            embedding: Matrix::new(shape.width(), file.tensor("token_embd.weight")?),
            blocks: blocks.map(|index| Block::load(file, &shape, index)).collect::<Result<_>>()?,
            norm: file.tensor("output_norm.weight")?,
            shape,
        })
    }

    /// The most tokens that prompt and answer may have together.
    pub(crate) fn context_length(&self) -> usize {
        self.shape.context
    }

    pub(crate) fn parameters(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(Block::parameters).sum();
        self.embedding.elements() + self.norm.len() + blocks
    }

    /// An empty context with room for `tokens`.
    pub(crate) fn context(&self, tokens: usize) -> Context {
        let caches = self.blocks.iter().map(|_| Cache::new(&self.shape, tokens)).collect();
        Context { position: 0, caches, buffers: Buffers::default() }
    }

    /// Reads `ids`, at least one, and writes the logits of the token to follow them.
    pub(crate) fn forward(&self, ids: &[u32], context: &mut Context, logits: &mut Vec<f32>) {
        for chunk in ids.chunks(CHUNK) {
            self.read(chunk, context);
        }
        let Buffers { hidden, normed, .. } = &mut context.buffers;
        let last = &hidden[hidden.len() - self.shape.width()..];
        rms_norm(last, &self.norm, self.shape.epsilon, normed);
        self.embedding.product(normed, logits);
    }

    fn read(&self, ids: &[u32], context: &mut Context) {
        let Context { position, caches, buffers } = context;
        buffers.hidden.clear();
        for id in ids {
            buffers.hidden.extend_from_slice(self.embedding.row(*id as usize));
        }
        for (block, cache) in self.blocks.iter().zip(caches) {
            block.forward(&self.shape, *position, cache, buffers);
        }
        *position += ids.len();
    }
}

impl Shape {
    fn load(file: &Gguf) -> Result<Self> {
        let heads = file.usize("llama.attention.head_count")?;
        let head_dim = file.usize("llama.embedding_length")? / heads;
        let context = file.usize("llama.context_length")?;
        Ok(Self {
            context,
            heads,
            kv_heads: file.usize("llama.attention.head_count_kv")?,
            head_dim,
            ffn: file.usize("llama.feed_forward_length")?,
            epsilon: file.f32("llama.attention.layer_norm_rms_epsilon")?,
            rotations: rotations(context, head_dim, file.f32("llama.rope.freq_base")?),
        })
    }

    /// The length of a hidden vector.
    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Rotary position embedding of the heads in `vector`. llama.cpp stores query and key weights such that the
    /// channels of a pair are neighbours. (Su et al., <https://arxiv.org/abs/2104.09864>)
    fn rotate(&self, vector: &mut [f32], position: usize) {
        let pairs = self.head_dim / 2;
        let turns = &self.rotations[position * pairs..][..pairs];
        for head in vector.chunks_exact_mut(self.head_dim) {
            for ([x, y], (cos, sin)) in head.as_chunks_mut().0.iter_mut().zip(turns) {
                (*x, *y) = (*x * cos - *y * sin, *x * sin + *y * cos);
            }
        }
    }
}

fn rotations(context: usize, head_dim: usize, base: f32) -> Vec<(f32, f32)> {
    let frequency = move |pair: usize| base.powf(-2.0 * pair as f32 / head_dim as f32);
    let angles = (0..context).flat_map(|at| (0..head_dim / 2).map(move |pair| at as f32 * frequency(pair)));
    angles.map(|angle| (angle.cos(), angle.sin())).collect()
}

impl Block {
    fn load(file: &Gguf, shape: &Shape, index: usize) -> Result<Self> {
        let tensor = |name: &str| file.tensor(&format!("blk.{index}.{name}.weight"));
        let stacked = |names: &[&str]| -> Result<Matrix> {
            let tensors = names.iter().map(|name| tensor(name)).collect::<Result<Vec<_>>>()?;
            Ok(Matrix::new(shape.width(), tensors.concat()))
        };
        Ok(Self {
            attention_norm: tensor("attn_norm")?,
            qkv: stacked(&["attn_q", "attn_k", "attn_v"])?,
            attention_out: stacked(&["attn_output"])?,
            ffn_norm: tensor("ffn_norm")?,
            gate_up: stacked(&["ffn_gate", "ffn_up"])?,
            down: Matrix::new(shape.ffn, tensor("ffn_down")?),
        })
    }

    fn parameters(&self) -> usize {
        let matrices = [&self.qkv, &self.attention_out, &self.gate_up, &self.down];
        let norms = self.attention_norm.len() + self.ffn_norm.len();
        matrices.map(Matrix::elements).iter().sum::<usize>() + norms
    }

    fn forward(&self, shape: &Shape, position: usize, cache: &mut Cache, buffers: &mut Buffers) {
        let Buffers { hidden, normed, wide, mixed, added, scores } = buffers;
        rms_norm(hidden, &self.attention_norm, shape.epsilon, normed);
        self.qkv.product(normed, wide);
        cache.append(shape, position, wide);
        mixed.clear();
        for (query, seen) in wide.chunks_exact(self.qkv.rows()).zip(position + 1..) {
            cache.attend(shape, &query[..shape.width()], seen, scores, mixed);
        }
        self.attention_out.product(mixed, added);
        add_scaled(hidden, 1.0, added);

        rms_norm(hidden, &self.ffn_norm, shape.epsilon, normed);
        self.gate_up.product(normed, wide);
        swiglu(wide, shape.ffn, mixed);
        self.down.product(mixed, added);
        add_scaled(hidden, 1.0, added);
    }
}

impl Cache {
    fn new(shape: &Shape, room: usize) -> Self {
        let zeros = || vec![0.0; shape.kv_heads * room * shape.head_dim];
        Self { room, keys: zeros(), values: zeros() }
    }

    /// Turns queries and keys to their positions and keeps keys and values.
    fn append(&mut self, shape: &Shape, position: usize, qkv: &mut [f32]) {
        let kv_width = shape.kv_heads * shape.head_dim;
        for (vector, position) in qkv.chunks_exact_mut(shape.width() + 2 * kv_width).zip(position..) {
            let (query_key, value) = vector.split_at_mut(shape.width() + kv_width);
            shape.rotate(query_key, position);
            store(&mut self.keys, self.room, shape.head_dim, position, &query_key[shape.width()..]);
            store(&mut self.values, self.room, shape.head_dim, position, value);
        }
    }

    /// Appends to `mixed` what the heads of one query make of the first `seen` tokens.
    fn attend(&self, shape: &Shape, query: &[f32], seen: usize, scores: &mut Vec<f32>, mixed: &mut Vec<f32>) {
        let head_dim = shape.head_dim;
        let scale = (head_dim as f32).sqrt().recip();
        for (head, query) in query.chunks_exact(head_dim).enumerate() {
            let start = head * shape.kv_heads / shape.heads * self.room * head_dim;
            let keys = self.keys[start..].chunks_exact(head_dim).take(seen);
            scores.clear();
            scores.extend(keys.map(|key| dot(query, key) * scale));
            softmax(scores);
            let end = mixed.len();
            mixed.resize(end + head_dim, 0.0);
            for (weight, value) in scores.iter().zip(self.values[start..].chunks_exact(head_dim)) {
                add_scaled(&mut mixed[end..], *weight, value);
            }
        }
    }
}

/// Spreads the heads of one token over the parts of a cache.
fn store(cache: &mut [f32], room: usize, head_dim: usize, position: usize, vector: &[f32]) {
    let heads = cache.chunks_exact_mut(room * head_dim);
    for (cached, head) in heads.zip(vector.chunks_exact(head_dim)) {
        cached[position * head_dim..][..head_dim].copy_from_slice(head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GGUF;

    fn llama() -> Llama {
        Llama::load(&Gguf::parse(GGUF).unwrap()).unwrap()
    }

    #[test]
    fn counts_its_parameters() {
        assert_eq!(llama().parameters(), 1_926_560);
    }

    #[test]
    fn reading_in_steps_equals_reading_at_once() {
        let llama = llama();
        let ids: Vec<u32> = (0..CHUNK as u32 * 8 + 7).map(|i| i * 31 % 4096).collect();
        let (mut at_once, mut stepped) = (Vec::new(), Vec::new());
        llama.forward(&ids, &mut llama.context(ids.len()), &mut at_once);
        let mut context = llama.context(ids.len());
        for id in &ids {
            llama.forward(&[*id], &mut context, &mut stepped);
        }
        assert_eq!(at_once, stepped);
    }
}
