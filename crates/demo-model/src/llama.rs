//! The forward pass of a Llama-architecture transformer on f32 CPU tensors.
//!
//! Shapes in comments are `[time, channels]` and `[1, heads, time, head channels]`. Query, key and value weights are
//! stacked into one matrix, as are gate and up: at one token a step a matrix product costs less than starting it.

use candle_core::{D, Device, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::{rms_norm, softmax_last_dim, swiglu};
use candle_nn::rotary_emb::rope_i;

use crate::Result;
use crate::checkpoint::Checkpoint;

/// Prompt tokens computed at a time. Attention scores take chunk × context × heads × 4 bytes, 5 MB here; the whole
/// context at once would take 84 MB.
const PREFILL_CHUNK: usize = 128;

pub(crate) struct Llama {
    shape: Shape,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: Tensor,
    /// The embedding seen as `[channels, vocabulary]`: input and output embeddings are tied.
    head: Tensor,
    cos: Tensor,
    sin: Tensor,
}

struct Shape {
    context: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    epsilon: f32,
}

struct Block {
    attention_norm: Tensor,
    qkv: Tensor,
    attention_out: Tensor,
    ffn_norm: Tensor,
    gate_up: Tensor,
    down: Tensor,
}

/// The keys and values of what one generation has read so far. Allocated once for the length it may reach.
pub(crate) struct Context {
    blocks: Vec<KvCache>,
    position: usize,
}

impl Llama {
    pub(crate) fn load(file: &Checkpoint) -> Result<Self> {
        let shape = Shape::load(file)?;
        let blocks =
            (0..file.usize("llama.block_count")?).map(|i| Block::load(file, &shape, i)).collect::<Result<_>>()?;
        let embedding = file.tensor("token_embd.weight")?;
        let (cos, sin) = rotations(&shape, file.f32("llama.rope.freq_base")?)?;
        let head = embedding.t()?;
        Ok(Self { embedding, blocks, norm: file.tensor("output_norm.weight")?, head, cos, sin, shape })
    }

    /// The most tokens that prompt and answer may have together.
    pub(crate) fn context_length(&self) -> usize {
        self.shape.context
    }

    pub(crate) fn parameters(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(Block::parameters).sum();
        self.embedding.elem_count() + self.norm.elem_count() + blocks
    }

    /// An empty context with room for `tokens`.
    pub(crate) fn context(&self, tokens: usize) -> Context {
        let blocks = self.blocks.iter().map(|_| KvCache::new(2, tokens)).collect();
        Context { blocks, position: 0 }
    }

    /// Reads `ids`, at least one, and returns the logits of the token to follow them.
    pub(crate) fn forward(&self, ids: &[u32], context: &mut Context) -> Result<Vec<f32>> {
        let last_chunk = ids.len().saturating_sub(1) / PREFILL_CHUNK * PREFILL_CHUNK;
        for chunk in ids[..last_chunk].chunks(PREFILL_CHUNK) {
            self.read(chunk, context)?;
        }
        let hidden = self.read(&ids[last_chunk..], context)?;
        let hidden = rms_norm(&hidden, &self.norm, self.shape.epsilon)?;
        Ok(hidden.matmul(&self.head)?.squeeze(0)?.to_vec1()?)
    }

    /// Runs the blocks over one chunk and returns the hidden state of its last token, `[1, channels]`.
    fn read(&self, ids: &[u32], context: &mut Context) -> Result<Tensor> {
        let time = ids.len();
        let rotation = (self.cos.narrow(0, context.position, time)?, self.sin.narrow(0, context.position, time)?);
        let mask = (time > 1).then(|| causal_mask(time, context.position)).transpose()?;
        let mut hidden = self.embedding.index_select(&Tensor::new(ids, &Device::Cpu)?, 0)?;
        for (block, cache) in self.blocks.iter().zip(&mut context.blocks) {
            hidden = block.forward(&self.shape, &hidden, &rotation, mask.as_ref(), cache)?;
        }
        context.position += time;
        Ok(hidden.narrow(0, time - 1, 1)?.contiguous()?)
    }
}

impl Shape {
    fn load(file: &Checkpoint) -> Result<Self> {
        let heads = file.usize("llama.attention.head_count")?;
        Ok(Self {
            context: file.usize("llama.context_length")?,
            heads,
            kv_heads: file.usize("llama.attention.head_count_kv")?,
            head_dim: file.usize("llama.embedding_length")? / heads,
            epsilon: file.f32("llama.attention.layer_norm_rms_epsilon")?,
        })
    }
}

impl Block {
    fn load(file: &Checkpoint, shape: &Shape, index: usize) -> Result<Self> {
        let tensor = |name: &str| file.tensor(&format!("blk.{index}.{name}.weight"));
        // The attention scale is folded into the query weights once instead of being applied to every score.
        let query = (tensor("attn_q")? * (shape.head_dim as f64).sqrt().recip())?;
        Ok(Self {
            attention_norm: tensor("attn_norm")?,
            qkv: stacked(&[query, tensor("attn_k")?, tensor("attn_v")?])?,
            attention_out: tensor("attn_output")?.t()?,
            ffn_norm: tensor("ffn_norm")?,
            gate_up: stacked(&[tensor("ffn_gate")?, tensor("ffn_up")?])?,
            down: tensor("ffn_down")?.t()?,
        })
    }

    fn parameters(&self) -> usize {
        let tensors = [&self.attention_norm, &self.qkv, &self.attention_out, &self.ffn_norm, &self.gate_up, &self.down];
        tensors.iter().map(|tensor| tensor.elem_count()).sum()
    }

    fn forward(
        &self,
        shape: &Shape,
        hidden: &Tensor,
        rotation: &(Tensor, Tensor),
        mask: Option<&Tensor>,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        let normed = rms_norm(hidden, &self.attention_norm, shape.epsilon)?;
        let hidden = (hidden + self.attend(shape, &normed, rotation, mask, cache)?)?;
        let normed = rms_norm(&hidden, &self.ffn_norm, shape.epsilon)?;
        let ffn = swiglu(&normed.matmul(&self.gate_up)?)?.matmul(&self.down)?;
        Ok((hidden + ffn)?)
    }

    fn attend(
        &self,
        shape: &Shape,
        normed: &Tensor,
        (cos, sin): &(Tensor, Tensor),
        mask: Option<&Tensor>,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        let time = normed.dim(0)?;
        let rotated = shape.heads + shape.kv_heads;
        let qkv = normed.matmul(&self.qkv)?.reshape((1, time, rotated + shape.kv_heads, shape.head_dim))?;
        let qkv = qkv.transpose(1, 2)?.contiguous()?;
        // llama.cpp stores query and key weights for interleaved rotation.
        let qk = rope_i(&qkv.narrow(1, 0, rotated)?, cos, sin)?;
        let (k, v) =
            cache.append(&qk.narrow(1, shape.heads, shape.kv_heads)?, &qkv.narrow(1, rotated, shape.kv_heads)?)?;
        let q = qk.narrow(1, 0, shape.heads)?;
        let scores = q.matmul(&k.transpose(D::Minus2, D::Minus1)?)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let mixed = softmax_last_dim(&scores)?.matmul(&v)?;
        let mixed = mixed.transpose(1, 2)?.reshape((time, shape.heads * shape.head_dim))?;
        Ok(mixed.matmul(&self.attention_out)?)
    }
}

/// Weights `[out, in]` on top of each other, as the right side of a product.
fn stacked(weights: &[Tensor]) -> Result<Tensor> {
    Ok(Tensor::cat(weights, 0)?.t()?)
}

/// Cosine and sine for every position and frequency, `[context, head channels / 2]`.
fn rotations(shape: &Shape, base: f32) -> Result<(Tensor, Tensor)> {
    let half = shape.head_dim / 2;
    let frequencies: Vec<f32> = (0..half).map(|i| base.powf(-(i as f32) / half as f32)).collect();
    let frequencies = Tensor::from_vec(frequencies, (1, half), &Device::Cpu)?;
    let positions: Vec<f32> = (0..shape.context).map(|position| position as f32).collect();
    let angles = Tensor::from_vec(positions, (shape.context, 1), &Device::Cpu)?.matmul(&frequencies)?;
    Ok((angles.cos()?, angles.sin()?))
}

/// Zero where a token may look, minus infinity where it would see the future. `[time, past + time]`
fn causal_mask(time: usize, past: usize) -> Result<Tensor> {
    let visible = |row: usize, column: usize| if column <= past + row { 0.0 } else { f32::NEG_INFINITY };
    let mask = (0..time).flat_map(|row| (0..past + time).map(move |column| visible(row, column)));
    Ok(Tensor::from_vec(mask.collect::<Vec<f32>>(), (time, past + time), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama() -> Llama {
        Llama::load(&Checkpoint::open().unwrap()).unwrap()
    }

    #[test]
    fn counts_its_parameters() {
        assert_eq!(llama().parameters(), 1_926_560);
    }

    #[test]
    fn reading_in_steps_equals_reading_at_once() {
        let llama = llama();
        let ids: Vec<u32> = (0..PREFILL_CHUNK as u32 * 2 + 7).map(|i| i * 31 % 4096).collect();
        let at_once = llama.forward(&ids, &mut llama.context(ids.len())).unwrap();
        let mut context = llama.context(ids.len());
        let mut stepped = Vec::new();
        for id in &ids {
            stepped = llama.forward(&[*id], &mut context).unwrap();
        }
        let furthest = at_once.iter().zip(&stepped).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-3, "logits differ by {furthest}");
    }
}
